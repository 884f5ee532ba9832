"""The processes of a test end with it, however it ends."""

import os
import signal
import sys
import time
from pathlib import Path

from tests.helpers.processes import DEADLINE_S, end_processes, popen, run

# A process with a child, which both sleep.
FAMILY = "import subprocess, time; print(subprocess.Popen(['sleep', '1000']).pid, flush=True); time.sleep(1000)"
# Stands for a pytest that is killed while a test waits for such a process.
KILLED = f"""
import os, signal
from tests.helpers.processes import popen
parent = popen([{sys.executable!r}, "-c", {FAMILY!r}], stdout=-1)
print(parent.pid, parent.stdout.readline(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def is_running(pid: int) -> bool:
    """A zombie, which only waits for its exit code to be read, is not running."""
    return run(["ps", "-o", "stat=", "-p", str(pid)]).stdout.strip()[:1] not in ("", "Z")


def test_they_end_with_the_test() -> None:
    parent = popen([sys.executable, "-c", FAMILY], stdout=-1)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert is_running(parent.pid) and is_running(child)
    end_processes()
    wait_until_gone([parent.pid, child])
    assert parent.wait() == -signal.SIGKILL


def test_they_end_when_pytest_is_killed() -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    killed = run([sys.executable, "-c", KILLED], env=environment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    pids = [int(pid) for pid in killed.stdout.split()]
    assert len(pids) == 2
    wait_until_gone(pids)
