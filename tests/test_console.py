"""One printer: what comes from data is shown and not obeyed, and nothing is printed by another module."""

import ast
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from ssl_cli import console
from ssl_cli.printable import Styled, escape_controls, rendered

PACKAGE = Path(__file__).parents[1] / "ssl_cli"
EVIL = "[red]x[/red] :dog: \x1b[31m\x9b2J\u202e\x1b]8;;http://a\x07b\x7f\udcff"
SHOWN = r"[red]x[/red] :dog: \x1b[31m\x9b2J\u202e\x1b]8;;http://a\x07b\x7f\udcff"


@pytest.mark.parametrize("part", [EVIL, Styled().append(EVIL, "bold"), console.table(EVIL, [EVIL], [[EVIL]])])
@pytest.mark.parametrize("terminal", [False, True])
def test_what_comes_from_data_is_shown_and_not_obeyed(part: console.Part, terminal: bool) -> None:
    file = StringIO()
    screen = Console(file=file, force_terminal=terminal, color_system=None, width=200, legacy_windows=False)
    screen.print(rendered(part, screen))
    text = file.getvalue()
    assert SHOWN in text
    assert escape_controls(text) == text


def test_every_way_to_print(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with console.logging_to(tmp_path / "log.txt"):
        console.say(EVIL, style="bold")
        console.say_piece(EVIL)
        console.warn(EVIL)
        console.note(EVIL)
        console.say_error(EVIL)
        with console.progress(EVIL, 10) as advance:
            advance(10, EVIL)
    out, err = capsys.readouterr()
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert out.count(SHOWN) == 4 and err.count(SHOWN) == 2 and log.count(SHOWN) == 3
    assert all(escape_controls(text) == text for text in (out, err, log))


def test_a_bar_shows_names_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    file = StringIO()
    screen = Console(file=file, force_terminal=True, color_system=None, width=400, legacy_windows=False)
    monkeypatch.setattr(console, "_console", lambda stderr=False: screen)
    with console.progress("[red]a :dog:\x1b]0;b\x07", 10) as advance:
        advance(10, "[red]c :dog:\x9b")
    assert r"[red]a :dog:\x1b]0;b\x07" in file.getvalue() and r"[red]c :dog:\x9b" in file.getvalue()


def test_a_program_gets_a_path_unchanged(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = "a:dog:[red]\x1b\u202e"
    console.say_bare(path)
    assert capsys.readouterr().out == f"{path}\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    console.say_bare(path)
    assert capsys.readouterr().out == "a:dog:[red]\\x1b\\u202e\n"


def test_a_line_break_in_a_name_makes_no_row() -> None:
    assert str(console.table("", ["name"], [["a\nb\tc"]])) == "name\na\\nb\\tc"


# --- nothing else prints ------------------------------------------------------------------------------------

# A worker process that answers through its pipe; the streams' encoding; a constant text within a signal's handler.
OTHERS = {
    "data/text/encode.py": {"sys.stdout"},
    "cli/main.py": {"sys.stdout", "sys.stderr"},
    "process.py": {r"os.write(2, b'\nstopping after this step; a second signal stops at once\n')"},
}


def printing(tree: ast.Module) -> Iterator[str]:
    """Yield what in a module prints, or could: print, the standard streams, rich, tracebacks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("print", "pprint"):
            yield ast.unparse(node)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr", "sys.__stdout__"):
            yield ast.unparse(node)
        if isinstance(node, ast.Attribute) and ast.unparse(node).startswith("traceback.print"):
            yield ast.unparse(node)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.write" and ast.unparse(node.args[0]) in "12":
            yield ast.unparse(node)
        if isinstance(node, ast.Import | ast.ImportFrom) and "rich" in ast.unparse(node).replace(".", " ").split():
            yield ast.unparse(node)


def test_no_other_module_prints() -> None:
    for path in PACKAGE.rglob("*.py"):
        name = path.relative_to(PACKAGE).as_posix()
        if name not in ("console.py", "printable.py"):
            found = set(printing(ast.parse(path.read_text(encoding="utf-8"))))
            assert found == OTHERS.get(name, set()), f"{name}: print by ssl_cli.console"
    others = "print(1)\nsys.stderr.write(x)\nfrom rich.text import Text\nos.write(1, b'')\ntraceback.print_exc()"
    assert len(list(printing(ast.parse(others)))) == 5
