"""Help pages of the verbs: the short one, and the whole one."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from ssl_cli.cli.help import full_page, short_page
from ssl_cli.cli.options import options
from ssl_cli.config.choices import default_choices, suitable_choices
from ssl_cli.config.verbs import VERBS
from ssl_cli.printable import Part, rendered
from tests.conftest import Cli

SCREEN_LINES, SCREEN_COLUMNS = 40, 100


def on_a_screen(page: list[Part]) -> list[str]:
    """Return the lines that a page takes on a terminal of SCREEN_COLUMNS."""
    file = io.StringIO()
    console = Console(file=file, width=SCREEN_COLUMNS, force_terminal=True, color_system=None, markup=False)
    for part in page:
        console.print(rendered(part, console))
    return file.getvalue().splitlines()


@pytest.mark.parametrize("verb", VERBS)
def test_short_page_fits_a_screen_and_shows_what_one_needs_first(verb: str) -> None:
    lines = on_a_screen(list(short_page(verb, [])))
    assert len(lines) <= SCREEN_LINES
    assert lines[-1].startswith(f"`ssl {verb} --help --all` shows every ")
    examples = [line for line in lines if line.startswith(f"  ssl {verb}")]
    assert 1 <= len(examples) <= 4
    first_words = [line.split(" ")[0] for line in lines]
    assert [word for word in first_words if word in VERBS[verb].main_options] == list(VERBS[verb].main_options)


@pytest.mark.parametrize("verb", VERBS)
def test_full_page_has_every_option_and_group(verb: str) -> None:
    page = "\n".join(map(str, full_page(verb, [])))
    names = [option.name for option in options(VERBS[verb].options)]
    assert set(VERBS[verb].main_options) <= {*names, *default_choices(verb)}
    assert all(f"\n{name} " in page for name in names)
    assert all(f"\n{group}=" in page for group in default_choices(verb) if suitable_choices(group, verb))


def test_pages_have_meaning_default_and_unit(cli: Cli) -> None:
    code, out, _ = cli("detect", "--help")
    row = next(line for line in out.splitlines() if line.startswith("fpr"))
    assert code == 0 and row.split()[:2] == ["fpr", "0.01"] and "share of normal rows" in row and "(a number" in row
    row = next(line for line in out.splitlines() if line.startswith("data "))
    assert row.split()[1] == "breast_cancer" and "creditcard" in row and "`ssl list data`" in row
    assert "trainer.precision" not in out
    assert "\noutput     (required)" in cli("score", "--help")[1]


def test_a_choice_has_a_page(cli: Cli) -> None:
    short, whole = cli("detect", "model=dae", "--help")[1], cli("detect", "model=dae", "--help", "--all")[1]
    assert "model=dae: override these as model.KEY=..." in short and "level: 0.5" in short
    assert "trainer.max_steps" not in short and "`ssl detect --help --all`" in short
    assert "level: 0.5" in whole and "trainer.max_steps" in whole and "data=creditcard" in whole


def test_the_whole_page_groups_options(cli: Cli) -> None:
    lines = cli("detect", "--help", "--all")[1].splitlines()
    titles = [line for line in lines if line.startswith("options of ")]
    assert titles == [f"options of {name}" for name in ("ssl detect", "paths", "optim", "trainer", "sweep")]
    first = {title: lines[lines.index(title) + 2].split()[0] for title in titles}
    assert first["options of trainer"] == "trainer.accelerator" and first["options of ssl detect"] == "seed"


def test_own_choices_are_marked(cli: Cli, workdir: Path) -> None:
    (workdir / "conf" / "data").mkdir(parents=True)
    (workdir / "conf" / "data" / "mine.yaml").write_text("# Mine\n_target_: ssl_cli.data.tables.datasets.Table\n")
    assert ", mine [yours], " in cli("detect", "--help")[1]


def test_all_belongs_to_help(cli: Cli) -> None:
    code, _, err = cli("detect", "--all")
    assert (code, err) == (2, "error: --all belongs to --help: `ssl detect --help --all` shows every option.\n")
