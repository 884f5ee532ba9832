"""This process: its rank in a distributed run, and the signals that stop it.

SIGTERM, Ctrl-C or a closed terminal end a run in order, and it says how to resume; a second signal ends it at once.
Outside training a signal raises `Stopped` where it arrives: nothing there is written in place. Training defers it to
the end of the current step, so that there is a whole step to save.
"""

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

# As Lightning, torchrun and Slurm call it.
RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")


def is_worker() -> bool:
    """Whether this is one of the other processes of a distributed run: the first one writes and says everything."""
    return any(re.fullmatch(r"[1-9]\d*", os.environ.get(rank, "")) for rank in RANKS)


def by_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def by_srun() -> bool:
    """Whether srun has started several tasks: of a single one, the processes are ours to start."""
    return "SLURM_PROCID" in os.environ and _number("SLURM_NTASKS") > 1


def n_started() -> int | None:
    """How many processes torchrun or srun has started, on all nodes; None where that is left to us."""
    if by_torchrun():
        return _number("WORLD_SIZE")
    return _number("SLURM_NTASKS") if by_srun() else None


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else 1


SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Interrupted(BaseException):
    """Somebody asked the run to stop. No Exception: nobody shall take it for a fault and go on."""

    def __init__(self, signum: int, where: str = ""):
        super().__init__(f"stopped by {'Ctrl-C' if signum == signal.SIGINT else signal.Signals(signum).name}{where}")
        self.signum, self.where, self.is_reported = signum, where, False

    def __reduce__(self) -> tuple[type, tuple[int, str]]:
        return Interrupted, (self.signum, self.where)  # a sweep's process tells it to another

    @property
    def exit_code(self) -> int:
        return 128 + self.signum


@contextmanager
def signals_as_exceptions() -> Iterator[None]:
    """While it is open, a signal raises Stopped where it arrives."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = {signum: signal.signal(signum, _raise) for signum in SIGNALS if _is_heard(signum)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _is_heard(signum: int) -> bool:
    """nohup says that a closed terminal is no reason to stop."""
    return signal.getsignal(signum) is not signal.SIG_IGN


def _raise(signum: int, _: FrameType | None) -> None:
    raise Interrupted(signum)


class DeferredSignal:
    """A signal put off: `signum` is 0 until one has come. The second one raises Stopped."""

    signum = 0

    def listen(self) -> None:
        """From now on signals come here; whoever listened before sets that back himself."""
        if threading.current_thread() is threading.main_thread():
            for signum in filter(_is_heard, SIGNALS):
                signal.signal(signum, self._note)

    def _note(self, signum: int, _: FrameType | None) -> None:
        if self.signum:
            raise Interrupted(signum)
        self.signum = signum
        # Not by print: the signal may have come in the middle of one.
        if not is_worker():
            with suppress(OSError):  # the terminal may be what is gone
                os.write(2, b"\nstopping after this step; once more, and it stops at once\n")
