"""Command line entry point: `ssl VERB [overrides]`.

Imports neither torch nor Lightning: the code of a verb is imported when it runs.
"""

import os
import sys
from importlib import import_module
from io import TextIOWrapper

from ssl_cli import __version__, console
from ssl_cli.cli.flags import parse_flags
from ssl_cli.config.choices import did_you_mean, search_first, verbs
from ssl_cli.errors import BAD_INPUT, BROKEN, OK, InputError
from ssl_cli.process import Interrupted, is_worker, signals_as_exceptions

LIST_USAGE = """usage: ssl list [models|data|tasks|runs|checkpoints] [paths.outputs=FOLDER]: what there is, as tables
  ssl list runs model=best state=failed,killed    only these runs, by state or by any of their options
  ssl list runs --sort seconds                    or started, size, state, a metric, ...; -seconds: descending
  ssl list runs --best test/auroc                 the best first
  ssl list checkpoints run=RUN                    step, validation and size of each, best, resumable; latest by default
  ssl list models --config-dir FOLDER             with those of your folder of configs"""


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 a bug, 2 bad input, 128 + n after signal n.

    A bug is not caught, so its traceback is printed.
    """
    if argv is None:
        _ensure_utf8()
    arguments = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # the terminal's encoding may lack a character of a name
    try:
        check_encoding(arguments)
        with signals_as_exceptions():
            return dispatch(arguments)
    except InputError as error:
        console.say_error(f"error: {error}")
        return BAD_INPUT
    except Interrupted as stop:
        if not stop.is_reported and not is_worker():
            console.say_error(str(stop))
        return stop.exit_code
    except BrokenPipeError:
        return BROKEN


def _ensure_utf8() -> None:
    """Start again in Python's UTF-8 mode if the locale knows only ASCII: no path with another letter can be opened."""
    if sys.getfilesystemencoding() == "ascii":
        os.environ["PYTHONUTF8"] = "1"  # for the processes that this one starts
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def check_encoding(arguments: list[str]) -> None:
    """Raise InputError for a word that is not UTF-8, as the name of a file may be: a run's files couldn't name it."""
    for word in arguments:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            shown = word.encode(errors="backslashreplace").decode()
            raise InputError(f"{shown} is not UTF-8: give the file or folder another name.") from error


def dispatch(arguments: list[str]) -> int:
    """Run the verb that the arguments name, or print a help page; returns the exit code.

    Raises InputError for an unknown verb.
    """
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb == "help" and rest:
        verb, rest = rest[0], [*rest[1:], *(() if {"--help", "-h"} & set(rest) else ("--help",))]
    if verb in ("--help", "-h", "help"):
        console.say_bare(front_page())
        return OK
    if verb == "--version":
        console.say_bare(f"ssl {__version__}")
        return OK
    if verb == "completion":
        console.say_bare(_completion(rest))
        return OK
    if verb not in verbs():
        raise InputError(f"{verb} is not a verb of ssl.{did_you_mean(verb, verbs())} Verbs: {', '.join(verbs())}.")
    if verb == "list" and {"--help", "-h"} & set(rest):
        console.say_bare(LIST_USAGE)
        return OK
    if verb == "list":
        import_module("ssl_cli.commands.list").run(rest)
        return OK
    line = parse_flags(verb, rest)
    search_first(line.config_dir)
    if "--version" in line.flags:
        console.say_bare(f"ssl {__version__}")
        return OK
    if "--help" in line.flags:
        import_module("ssl_cli.cli.help").print_verb_help(verb, line.words, "--all" in line.flags)
        return OK
    return import_module("ssl_cli.cli.launch").launch(line, verb)


def _completion(arguments: list[str]) -> str:
    """Return a shell's script, or the answer to its question."""
    if arguments[:1] == ["--line"]:
        return import_module("ssl_cli.cli.completion").answer(arguments)
    return import_module("ssl_cli.cli.shells").script(arguments)


def front_page() -> str:
    """Return the page of `ssl --help`: every verb with its summary."""
    lines = ["ssl: learn from unlabelled data, and see what was learned.", "", "usage: ssl VERB [option=value ...]", ""]
    width = max(len(verb) for verb in verbs())
    lines += [f"  {verb:{width}}  {summary}" for verb, summary in verbs().items()]
    lines += ["", "`ssl VERB --help` shows a verb's main options, with `--all` every one. Try `ssl detect`."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
