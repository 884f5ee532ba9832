"""Terminals, paths and readers: narrow, absent, closed, or gone in the middle of a run."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from tests.conftest import QUICK, Cli, run_ssl
from tests.helpers.processes import DEADLINE_S, SHORT_OPTIONS, SSL, guard, popen, run, step_of, wait_for


def on_a_terminal(*words: str, columns: int, cwd: Path) -> str:
    """Return what `ssl` prints on a terminal with this number of columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "ssl_cli.cli.main", *words]
    process = popen(
        command, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm"}
    )
    os.close(theirs)
    output = b""
    try:
        while part := os.read(ours, 1 << 16):
            output += part
    except OSError:  # Linux reports so that the other end is closed
        pass
    os.close(ours)
    assert process.wait(DEADLINE_S) == 0, output.decode()
    return output.decode()


@pytest.mark.long
def test_a_terminal_of_40_columns(workdir: Path) -> None:
    output = on_a_terminal("detect", "model=dae", *QUICK, columns=40, cwd=workdir)
    output += on_a_terminal("list", "runs", columns=40, cwd=workdir)
    path = output.strip().splitlines()[-1] if "outputs/" in output.strip().splitlines()[-1] else "outputs/"
    plain = lines_of(output)
    assert all(len(line) <= 40 for line in plain if path not in line), [line for line in plain if len(line) > 40]
    flowing = "".join(plain).replace(" ", "")
    for words in ("recall_at_1_fpr", "precision_at_k", "95 % high", "state finished", "metric test/auroc"):
        assert words.replace(" ", "") in flowing


def lines_of(output: str) -> list[str]:
    """The lines of a terminal's output, without its colours and what a progress bar has overwritten."""
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    return [line.rsplit("\r", 1)[-1].rstrip() for line in text.replace("\r\n", "\n").split("\n")]


@pytest.mark.long
def test_no_terminal_at_all(workdir: Path) -> None:
    # As cron and setsid start it: no controlling terminal, no input, output to a file.
    with (workdir / "output.txt").open("wb") as output:
        command = [sys.executable, "-m", "ssl_cli.cli.main", "detect", "model=dae", *QUICK]
        environment = {name: value for name, value in os.environ.items() if name not in ("TERM", "COLUMNS", "LANG")}
        done = run(
            command, cwd=workdir, env=environment | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    text = (workdir / "output.txt").read_text(encoding="utf-8")
    assert done.returncode == 0, text
    assert "\x1b" not in text and "\r" not in text
    assert Path(workdir / text.strip().splitlines()[-1]).is_dir()


@pytest.mark.long
def test_a_locale_of_ascii_letters_alone(workdir: Path) -> None:
    ascii_only = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    (workdir / "数据.csv").write_text("größe,y\n1,0\n", encoding="utf-8")
    done = run_ssl("detect", "data=table", "data.file=数据.csv", "data.label=betrug", cwd=workdir, **ascii_only)
    assert done.returncode == 2, done.stderr
    assert "数据.csv has no column betrug." in done.stderr and "größe" in done.stderr


def test_a_reader_that_goes_away_does_not_end_the_run(workdir: Path) -> None:
    command = f"set -o pipefail; {SSL} detect {' '.join(SHORT_OPTIONS)} | head -1"
    done = run(["bash", "-c", command], cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 and "BrokenPipe" not in done.stderr
    assert len(list(workdir.glob("outputs/detect/*/*/metrics.json"))) == 1


def test_a_terminal_that_is_closed_stops_the_run_in_order(workdir: Path) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(workdir)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup the tests ignore it, and so would this process
        command = [
            sys.executable,
            "-m",
            "ssl_cli.cli.main",
            "detect",
            "model=dae",
            "trainer=cpu",
            "trainer.max_steps=1000000",
        ]
        os.execv(command[0], command)
    guard(pid)
    deadline = time.monotonic() + DEADLINE_S
    while not list(workdir.glob("outputs/detect/*/*/history.csv")) and time.monotonic() < deadline:
        select.select([terminal], [], [], 0.05)[0] and os.read(terminal, 1 << 16)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP
    (folder,) = workdir.glob("outputs/detect/*/*")
    ended = json.loads((folder / "environment.json").read_text())["ended"]
    assert ended["state"] == "stopped"
    assert ended["words"] == f"stopped by SIGHUP at step {step_of(folder / 'last.ckpt')}"


@pytest.mark.long
def test_nohup_hears_no_terminal_close(workdir: Path) -> None:
    command = ["nohup", sys.executable, "-m", "ssl_cli.cli.main", "detect", "model=dae", "trainer=cpu"]
    command += ["trainer.max_steps=3000", "bootstrap_samples=20"]
    process = popen(command, cwd=workdir, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for(lambda: list(workdir.glob("outputs/detect/*/*/history.csv")), process)
    process.send_signal(signal.SIGHUP)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, err
    assert len(list(workdir.glob("outputs/detect/*/*/metrics.json"))) == 1


def test_paths_with_blanks_and_chinese_characters(workdir: Path, cli: Cli) -> None:
    outputs = workdir / "我的 输出 (2)"
    code, out, err = cli(
        "detect", "model=dae", *QUICK, f"paths.outputs={outputs}", "trainer.checkpoint_every_n_steps=2"
    )
    assert code == 0, err
    folder = Path(out.strip().splitlines()[-1])
    assert folder.is_relative_to(outputs)
    code, out, err = cli("detect", f"resume={folder}", "trainer.max_steps=6")
    assert code == 0 and "resuming from step 4" in out, err
    code, out, err = cli("detect", "resume=latest", f"paths.outputs={outputs}")
    assert code == 0, err
    assert str(folder) in cli("list", "runs", f"paths.outputs={outputs}")[1].replace("\n", "")
    code, out, err = cli("detect", "-m", "seed=0,1", "model=gaussian", *QUICK, f"paths.outputs={outputs}")
    assert code == 0, err
    assert (Path(out.strip().splitlines()[-1]) / "sweep.csv").is_file()
