"""This process: its rank in a distributed run, and the signals that stop it.

SIGTERM, Ctrl-C or a closed terminal end a run in an orderly way, with a message that says how to resume it; a second
signal ends it at once. Outside training a signal raises `Interrupted` where it arrives, because nothing there is
written in place. Training defers it to the end of the current step, so that a complete step can be saved.
"""

import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from types import FrameType

# Environment variables of Lightning, torchrun and Slurm that hold a rank.
RANK_VARIABLES = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")


def is_worker() -> bool:
    """Return whether this is not the first process of a distributed run. Only the first one writes and prints."""
    return any(re.fullmatch(r"[1-9]\d*", os.environ.get(variable, "")) for variable in RANK_VARIABLES)


def is_launched_by_torchrun() -> bool:
    """Return whether torchrun has started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def is_launched_by_srun() -> bool:
    """Return whether srun has started several tasks. If it has started one, this program starts the processes."""
    return "SLURM_PROCID" in os.environ and _integer("SLURM_NTASKS") > 1


def n_launched() -> int | None:
    """Return how many processes torchrun or srun has started on all nodes, or None if this program starts them."""
    if is_launched_by_torchrun():
        return _integer("WORLD_SIZE")
    return _integer("SLURM_NTASKS") if is_launched_by_srun() else None


def _integer(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 1


PARENT_POLL_S = 0.5


@cache
def end_with(parent: int) -> None:
    """End this process soon after its parent, the process `parent`, even if that one is killed.

    Nothing is cleaned up: no file is written in place, so none is left half-written. Repeated calls do nothing.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_S)
        os._exit(1)

    if os.getppid() != parent:  # it is gone already
        os._exit(1)
    threading.Thread(target=watch, daemon=True).start()


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Interrupted(BaseException):
    """A request to stop the run. It is no Exception, so that no handler takes it for an error and goes on."""

    def __init__(self, signum: int, where: str = ""):
        super().__init__(f"stopped by {'Ctrl-C' if signum == signal.SIGINT else signal.Signals(signum).name}{where}")
        self.signum, self.where, self.is_reported = signum, where, False

    def __reduce__(self) -> tuple[type, tuple[int, str]]:
        return Interrupted, (self.signum, self.where)  # the processes of a sweep send it to each other

    @property
    def exit_code(self) -> int:
        """The exit code that shells use for a process ended by this signal."""
        return 128 + self.signum


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """Raise Interrupted where a signal arrives, while it is open."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread handles signals
        return
    before = {signum: signal.signal(signum, _raise) for signum in SIGNALS if not _is_ignored(signum)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _is_ignored(signum: int) -> bool:
    """Return whether the signal is ignored, as nohup does with that of a closed terminal."""
    return signal.getsignal(signum) is signal.SIG_IGN


def _raise(signum: int, _: FrameType | None) -> None:
    raise Interrupted(signum)


class DeferredSignal:
    """A signal that is only recorded: `signum` is 0 until one arrives. The second one raises Interrupted."""

    signum = 0

    def install(self) -> None:
        """Handle signals here from now on. The handlers before are restored by the code that installed them."""
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                if not _is_ignored(signum):
                    signal.signal(signum, self._handle)

    def _handle(self, signum: int, _: FrameType | None) -> None:
        if self.signum:
            raise Interrupted(signum)
        self.signum = signum
        # Not by print: the signal may have arrived in the middle of one.
        if not is_worker():
            with suppress(OSError):  # the terminal may be what is gone
                os.write(2, b"\nstopping after this step; a second signal stops at once\n")
