"""A command that is stopped at each moment at which it touches a file, each time in a copy of its working directory.

`python -m tests.helpers.moments` imports the command once and forks, so that a stop costs little more than its work.
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from ssl_cli.config.verbs import VERBS
from tests.helpers.processes import DEADLINE_S, popen, wait_until_none_is_left

EVENTS = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.listdir", "os.scandir", "os.truncate"}
REPOSITORY = Path(__file__).parents[2]


@dataclass
class Stop:
    """A command stopped at its `moment` by a signal, and the one run afterwards; files are name -> digest."""

    signum: int
    moment: int
    event: str
    code: int
    err: str
    files: dict[str, str]
    code_afterwards: int
    out_afterwards: str
    err_afterwards: str
    files_afterwards: dict[str, str]


@dataclass
class Stops:
    """An undisturbed command, and the same command stopped at some of its `n_moments` moments."""

    n_moments: int
    out: str
    files: dict[str, str]
    stops: list[Stop]


def stop_everywhere(place: Path, words: Sequence[str], again: Sequence[str], n_stops: dict[int, int]) -> Stops:
    """Stop `ssl words` at some of its moments, and run `ssl again` after each; see `Stops`.

    `n_stops` says how often for each signal: once is at the last moment, more are spread evenly. `place` is the working
    directory to copy. Raises AssertionError if a process is left.
    """
    request = [str(place), list(words), list(again), list(n_stops.items())]
    command = [sys.executable, "-m", "tests.helpers.moments", json.dumps(request)]
    process = popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    wait_until_none_is_left(process.pid)
    answer: dict[str, Any] = json.loads(out)
    return Stops(**answer | {"stops": [Stop(**stop) for stop in answer["stops"]]})


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file below a folder; "folder" for an empty folder. Metrics count without paces."""
    paths = (path for path in sorted(folder.rglob("*")) if not path.is_dir() or not any(path.iterdir()))
    return {str(path.relative_to(folder)): "folder" if path.is_dir() else _digest(path) for path in paths}


def _digest(path: Path) -> str:
    content = path.read_bytes()
    if path.name == "metrics.json":
        content = "".join(line for line in content.decode().splitlines(True) if "_per_s" not in line).encode()
    return hashlib.sha256(content).hexdigest()


def _forked(place: Path, words: list[str], signum: int, moment: int | None) -> tuple[int, str, str, list[str]]:
    """Run `ssl words` in a child process in `place`; returns exit code, output, errors and the events so far.

    The signal is sent just before the event number `moment` happens.
    """
    logs = {name: place.with_name(f"{place.name}.{name}") for name in ("out", "err", "events")}
    child = os.fork()
    if not child:
        code = 70  # of a failure here
        try:
            os.chdir(place)
            for number, name in ((1, "out"), (2, "err")):
                os.dup2(os.open(logs[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            events = os.open(logs["events"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            _watch(place, signum, moment, events)
            code = _main(words)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    out, err, events = (logs[name].read_text() for name in logs)
    return os.waitstatus_to_exitcode(status), out, err, events.splitlines()


def _watch(place: Path, signum: int, moment: int | None, log: int) -> None:
    """Write down each event below `place`, and send the signal before that of number `moment`."""
    process, n_events = os.getpid(), 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal n_events
        if event not in EVENTS or os.getpid() != process or not isinstance(arguments[0], str | os.PathLike):
            return
        path = Path.cwd() / os.fsdecode(arguments[0])
        if path.is_relative_to(place):
            n_events += 1
            os.write(log, f"{event} {path.relative_to(place)}\n".encode())
            if n_events - 1 == moment:
                os.kill(process, signum)

    sys.addaudithook(hook)


def _main(words: list[str]) -> int:
    """Run the command, with blank figures."""
    from ssl_cli.cli.main import main
    from tests.conftest import undrawn

    with undrawn():
        return main(words)


def _serve(place: str, words: list[str], again: list[str], n_stops: list[tuple[int, int]]) -> Stops:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
    command = VERBS[words[0]].command if words[0] in VERBS else words[0]
    for module in (f"ssl_cli.commands.{command}", "tests.conftest"):  # once, for all processes
        import_module(module)
    whole = Path(f"{place}-whole")
    shutil.copytree(place, whole)
    code, out, err, events = _forked(whole, words, 0, None)
    assert code == 0 and events, err
    stops = []
    for signum, n in n_stops:
        last = len(events) - 1
        for moment in sorted({last - round(k * last / max(1, n - 1)) for k in range(n)}):
            cut = Path(f"{place}-{signum}-{moment}")
            shutil.copytree(place, cut)
            code, _, err, _ = _forked(cut, words, signum, moment)
            files = digests(cut)
            then = _forked(cut, again, 0, None)
            stops.append(Stop(signum, moment, events[moment], code, err, files, *then[:3], digests(cut)))
            shutil.rmtree(cut)
    return Stops(len(events), out, digests(whole), stops)


if __name__ == "__main__":
    print(json.dumps(asdict(_serve(*json.loads(sys.argv[1])))))
