"""The command line: `ssl VERB [overrides]`. Imports neither torch nor Lightning: a verb's code waits until it runs."""

import sys
from contextlib import suppress
from importlib import import_module
from io import TextIOWrapper

from ssl_cli import __version__
from ssl_cli.config.choices import nearest, verbs
from ssl_cli.errors import BAD_INPUT, BROKEN, OK, InputError
from ssl_cli.process import Interrupted, is_worker, signals_as_exceptions

LIST_USAGE = """usage: ssl list [models|data|tasks|runs] [paths.outputs=FOLDER]: what there is, as tables
  ssl list runs model=best state=failed,killed    only these runs, by state or any option of theirs
  ssl list runs --sort seconds                    or started, size, state, a metric, ...; -seconds: falling
  ssl list runs --best test/auroc                 the best first"""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 done, 1 a bug of ours, 2 bad input, 128 and the number of a signal.

    A bug of ours keeps its traceback.
    """
    arguments = sys.argv[1:] if argv is None else argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that this terminal can't show is no reason to stop
    try:
        with signals_as_exceptions():
            return dispatch(arguments)
    except InputError as error:
        from ssl_cli.console import harmless  # imports rich, which no page but this one needs

        with suppress(OSError):  # the terminal may be what is gone
            print(harmless(f"error: {error}"), file=sys.stderr)
        return BAD_INPUT
    except Interrupted as stop:
        if not stop.is_reported and not is_worker():
            with suppress(OSError):
                print(stop, file=sys.stderr)
        return stop.exit_code
    except BrokenPipeError:
        return BROKEN


def dispatch(arguments: list[str]) -> int:
    verb, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if verb in ("--help", "-h", "help"):
        print(front_page())
        return OK
    if verb == "--version":
        print(f"ssl {__version__}")
        return OK
    if verb not in verbs():
        raise InputError(f"{verb} is no verb of ssl.{nearest(verb, verbs())} It has {', '.join(verbs())}.")
    if verb == "list" and not {"--help", "-h"} & set(rest):
        import_module("ssl_cli.commands.list").run(rest)
        return OK
    if verb == "list":
        print(LIST_USAGE)
        return OK
    if "--help" in rest or "-h" in rest:
        import_module("ssl_cli.cli.help").verb_help(verb, [word for word in rest if word not in ("--help", "-h")])
        return OK
    return import_module("ssl_cli.cli.launch").launch(verb, rest)


def front_page() -> str:
    lines = ["ssl: learn from unlabelled data, and see what was learned.", "", "usage: ssl VERB [option=value ...]", ""]
    width = max(len(verb) for verb in verbs())
    lines += [f"  {verb:{width}}  {summary}" for verb, summary in verbs().items()]
    lines += ["", "`ssl VERB --help` shows a verb's choices and options. Try `ssl detect`."]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
