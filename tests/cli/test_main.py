"""Command line: help pages, messages, exit codes."""

import sys
from pathlib import Path

import pytest

from ssl_cli.config.choices import Choice, _suits
from ssl_cli.config.instantiate import names_where, target_of
from ssl_cli.runs.safety import CHOICE
from tests.conftest import Cli
from tests.helpers.processes import run


def test_front_page_names_every_verb(cli: Cli) -> None:
    code, out, _ = cli()
    assert code == 0
    assert "  detect  " in out and "  list    " in out


@pytest.mark.parametrize(
    "words",
    [
        *([], ["--help"], ["list"], ["list", "models", "data", "tasks", "runs"]),
        *(["detect", "--cfg", "job"], ["detect", "--help", "--all"], ["score", "--help"]),
        ["pretrain", "model=bert", "--help"],
    ],
)
def test_pages_import_neither_torch_nor_lightning(words: list[str], workdir: Path) -> None:
    code = (
        "import sys; from ssl_cli.cli.main import main; "
        f"assert main({words!r}) == 0; "
        "slow = {'torch', 'pytorch_lightning', 'sklearn', 'matplotlib', 'jinja2'} & set(sys.modules); "
        "assert not slow, slow"
    )
    done = run([sys.executable, "-c", code], cwd=workdir)
    assert done.returncode == 0, done.stderr


def test_help_of_a_verb_may_be_asked_for_in_front(cli: Cli) -> None:
    assert cli("help", "score") == cli("score", "--help")
    assert cli("help", "score", "--all") == cli("score", "--help", "--all")
    assert cli("help", "scoer")[0] == 2


def test_unknown_verb_names_the_nearest(cli: Cli) -> None:
    code, out, err = cli("detct")
    assert (code, out) == (2, "")
    assert "detct is not a verb" in err and "Did you mean detect?" in err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["model=dea"], "model=dea is not a choice. Did you mean dae? Choices: ae,"),
        (["model=dea", "data=paysin"], "data=paysin is not a choice. Did you mean paysim?"),
        (["model=ae,dae"], "add -m to sweep"),
        (["-q"], "-q is neither an option=value nor a flag"),
        (["--cfg", "jobs"], "--cfg takes job, hydra or all, not jobs."),
        (["resume=latest"], "There is no detect run in"),
        (["resume=nowhere"], "nowhere is no run folder"),
        (["resume=latest", "-m"], "leave out -m"),
        (["resume=latest", "seed=1"], "seed can't change in a resumed run"),
        (["resume=latest", "data.calibration=0.5", "model=ae"], "data.calibration, model can't change"),
        (["-m", "resume=a,b", "seed=3"], "leave out -m"),
        (["verb=foo"], "verb is not an option: ssl sets it by itself"),
        (["facts.shape=[3]"], "facts.shape is not an option"),
        (["hydra.mode=MULTIRUN"], "hydra.mode can't be set: use -m for a sweep."),
        (["-m", "hydra.sweep.dir=x"], "sweeps go to paths.outputs"),
        (["-m", "paths.outputs=/proc/x"], "No sweep folder can be made in /proc/x"),
        (["--help", "data=nope"], "data=nope is not a choice."),
        (["optim.optimizer.betas=[2,3]"], "optim.optimizer can't be built: "),
    ],
)
def test_bad_arguments_get_one_sentence(cli: Cli, words: list[str], expected: str) -> None:
    code, _, err = cli("detect", *words)
    assert code == 2
    assert expected in err
    assert "Traceback" not in err


def test_a_bug_keeps_its_traceback(workdir: Path, cli: Cli) -> None:
    (workdir / "broken.py").write_text(
        "class Broken:\n    gives = ('x',)\n    def one_class_splits(self, *a, **k): return 1 / 0\n"
    )
    (workdir / "conf" / "data").mkdir(parents=True)
    (workdir / "conf" / "data" / "mine.yaml").write_text("_target_: broken.Broken\n")
    (workdir / "conf" / "model").mkdir(parents=True)
    (workdir / "conf" / "model" / "plain.yaml").write_text(
        "_target_: ssl_cli.methods.detectors.gaussian.Gaussian\nridge: 0.1\n"
    )
    with pytest.raises(ZeroDivisionError):  # which nothing catches, so that Python shows it
        cli("detect", "data=mine", "model=plain")


def test_the_conf_folder_of_the_user_is_searched_first(workdir: Path, cli: Cli) -> None:
    (workdir / "conf" / "data").mkdir(parents=True)
    (workdir / "mine.csv").write_text("a,b\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(50)))
    (workdir / "conf" / "data" / "mine.yaml").write_text(
        "# My own table\n_target_: ssl_cli.data.tables.datasets.Table\nfile: mine.csv\n"
    )
    assert "mine" in cli("list", "data")[1]
    assert "mine.csv" in cli("detect", "data=mine", "--cfg", "job")[1]
    code, out, err = cli("detect", "data=mine", "model=gaussian", "trainer=cpu")
    assert code == 0, err
    assert (Path(out.strip().splitlines()[-1]) / "metrics.json").is_file()


def test_choices_may_be_in_subfolders_of_their_group(workdir: Path, cli: Cli) -> None:
    (workdir / "conf" / "data" / "bank").mkdir(parents=True)
    (workdir / "mine.csv").write_text("a,b\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(50)))
    text = "# My own table\n_target_: ssl_cli.data.tables.datasets.Table\nfile: mine.csv\n"
    (workdir / "conf" / "data" / "bank" / "mine.yaml").write_text(text)
    (workdir / "conf" / "data" / "bank" / "child.yaml").write_text(
        "# Child\ndefaults: [/data/bank/mine@_here_, _self_]\n"
    )
    assert target_of("data", "bank/mine") == target_of("data", "bank/child") == "ssl_cli.data.tables.datasets.Table"
    assert "bank/mine" in cli("list", "data")[1]
    assert "child [yours], mine [yours]" in cli("detect", "--help", "--all")[1]
    assert "data=bank/mine: override these as data.KEY" in cli("detect", "data=bank/mine", "--help")[1]
    assert "Did you mean bank/mine?" in cli("detect", "data=bank/mien")[2]
    code, _, err = cli("detect", "-m", "data=bank/mine,bank/child", "model=gaussian", "trainer=cpu")
    assert code == 0, err
    assert [path.name for path in sorted(Path("outputs/detect").glob("gaussian-*"))] == [
        "gaussian-bank-child", "gaussian-bank-mine",
    ]  # fmt: skip
    assert cli("list", "runs", "data=bank/mine", "state=finished")[1].count("gaussian-bank-mine") == 1


def test_tasks_are_listed_with_those_in_folders(cli: Cli) -> None:
    table, page = cli("list", "tasks")[1], cli("finetune", "--help", "--all")[1]
    assert "glue/sst2  " in table and "glue  " in table
    assert "cola, mnli, mrpc, qnli, qqp, rte, sst2, stsb, wnli" in page


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc", "a//b", "a/", "./a"])
def test_an_untrusted_choice_cannot_leave_its_folder(name: str) -> None:
    assert CHOICE.fullmatch("glue/sst2") and not CHOICE.fullmatch(name)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a: [", "data=mine can't be composed: "),
        (b"a: 1\na: 2\n", "data=mine can't be composed: "),
        (b"", "data must be a group of options with a _target_"),
        (b"just words", "data must be a group of options with a _target_"),
        (b"_target_: crooked.Class\n", "which can't be imported (SyntaxError"),
        ("# é\n_target_: nothing.Here\n".encode("latin-1"), "data=mine can't be composed: "),
    ],
)
def test_a_users_yaml_with_a_mistake(workdir: Path, cli: Cli, content: bytes, sentence: str) -> None:
    (workdir / "crooked.py").write_text("class Class(:\n")
    (workdir / "conf" / "data").mkdir(parents=True)
    (workdir / "conf" / "data" / "mine.yaml").write_bytes(content)
    code, _, err = cli("detect", "data=mine")
    assert code == 2
    assert sentence in err
    assert cli("list", "data")[0] == 0


def test_quiet_values_with_blanks_and_chinese(cli: Cli, workdir: Path) -> None:
    folder = workdir / "我的 数据 (1)"
    folder.mkdir()
    (folder / "表.csv").write_text("a,b\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(60)))
    code, out, err = cli(
        "detect", "data=table", f"data.file={folder}/表.csv", "model=gaussian", f"paths.outputs={folder}/出"
    )
    assert code == 0, err
    assert str(folder) in out.strip().splitlines()[-1]


def test_a_choice_that_inherits_its_class_is_listed(workdir: Path, cli: Cli) -> None:
    """A YAML with `defaults: [conv_ae, _self_]` has no `_target_` itself."""
    (workdir / "conf" / "model").mkdir(parents=True)
    path = workdir / "conf" / "model" / "smaller.yaml"
    path.write_text("# Smaller\ndefaults: [conv_ae, _self_]\nnetwork: {latent: 2}\n")
    (workdir / "conf" / "model" / "itself.yaml").write_text("# Itself\ndefaults: [itself]\n")
    code, out, err = cli("reconstruct", "--help", "--all")
    assert code == 0 and "model=smaller" in out, err
    assert target_of("model", "smaller") == "ssl_cli.methods.autoencoders.autoencoder.Autoencoder"
    assert target_of("model", "itself") is None
    assert _suits(Choice("smaller", "", path, built_in=True), "reconstruct")
    names = names_where("model", lambda target: hasattr(target, "reconstruct"))
    assert "smaller" in names and "itself" not in names


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("reconstruct", "data.normal=3"), "data.normal has no effect in ssl reconstruct: it is for ssl detect."),
        (("detect", "data=digits", "data.val=0.1"), "data.val has no effect in ssl detect: it is for ssl reconstruct."),
    ],
)
def test_an_option_of_another_verb_is_rejected(cli: Cli, words: tuple[str, ...], sentence: str) -> None:
    code, _, err = cli(*words)
    assert code == 2
    assert sentence in err


@pytest.mark.parametrize(("verb", "shown"), [("pretrain", True), ("reconstruct", False), ("detect", False)])
def test_help_lists_text_models_only_for_verbs_on_text(cli: Cli, verb: str, shown: bool) -> None:
    out = cli(verb, "--help", "--all")[1]
    assert ("model=bert" in out, "data=pydoc" in out) == (shown, shown)
    assert ("model=vae" in out) == (not shown)
    assert "data=digits" in out  # from which each of them learns


def test_a_recipe_is_for_the_verb_that_it_names(cli: Cli) -> None:
    assert "experiment=one_class_mnist" in cli("detect", "--help", "--all")[1]
    assert "experiment=one_class_mnist" not in cli("reconstruct", "--help", "--all")[1]
    code, _, err = cli("reconstruct", "experiment=one_class_mnist")
    assert (code, err) == (2, "error: experiment=one_class_mnist is a recipe of ssl detect, not of ssl reconstruct.\n")


@pytest.mark.parametrize(
    "word", ["seed={}", "trainer.max_steps=-{}", "data.drop=[a,{}]", "+x={}", "seed=range(0,{})", "seed=1,{}"]
)
def test_a_number_of_5000_digits(cli: Cli, word: str) -> None:
    code, _, err = cli("detect", word.format("9" * 5000))
    assert code == 2 and err.endswith("... has a number of too many digits.\n") and len(err) < 200


@pytest.mark.parametrize("value", ["9" * 4000, "0x" + "9" * 5000, "1" + ":59" * 2000])
def test_a_long_value_is_quoted_in_part(cli: Cli, value: str) -> None:
    code, _, err = cli("detect", f"seed={value}")
    assert code == 2 and "seed must be a whole number" in err and len(err) < 400


@pytest.mark.parametrize(
    "words", [["detect", "paths.outputs=caf\udce9"], ["list", "runs", "paths.outputs=caf\udce9"], ["caf\udce9"]]
)
def test_a_word_that_is_not_utf8(cli: Cli, words: list[str], workdir: Path) -> None:
    code, _, err = cli(*words)
    assert code == 2 and "caf\\udce9 is not UTF-8: give the file or folder another name." in err
    assert not list(workdir.iterdir())


@pytest.mark.parametrize("words", [["数据.csv"], ["été.csv"], ["数据.csv,{}/été.csv", "-m"]], ids=len)
def test_names_of_files_in_any_script(cli: Cli, shared: Path, words: list[str]) -> None:
    folder = shared.resolve().parent / "cases" / "nonascii_override"
    name, *flags = words
    quick = ["model=pca", "model.latent=1", "bootstrap_samples=5", "data.label=fraud"]
    code, out, err = cli("detect", "data=table", f"data.file={folder}/{name.format(folder)}", *quick, *flags)
    assert code == 0, err
    assert out.count("detect model=pca data=table") == name.count(",") + 1
