"""SIGTERM and Ctrl-C. Whatever runs is ended in order, and says how to go on; a second signal ends it at once.

Outside training a signal raises `Stopped` where it arrives: nothing there is written in place. Training asks for it to
be put off until the step under way is over, so that there is a whole step to save.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from ssl_cli.ranks import is_worker

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(BaseException):
    """Somebody asked the run to stop. No Exception: nobody shall take it for a fault and go on."""

    def __init__(self, signum: int, where: str = ""):
        super().__init__(f"stopped by {'Ctrl-C' if signum == signal.SIGINT else signal.Signals(signum).name}{where}")
        self.signum, self.told = signum, False

    @property
    def exit_code(self) -> int:
        return 128 + self.signum


@contextmanager
def raised() -> Iterator[None]:
    """While it is open, a signal raises Stopped where it arrives."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    before = {signum: signal.signal(signum, _raise) for signum in SIGNALS}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _raise(signum: int, _: FrameType | None) -> None:
    raise Stopped(signum)


class Request:
    """A signal put off: `signum` is 0 until one has come. The second one raises Stopped."""

    signum = 0

    def listen(self) -> None:
        """From now on signals come here; whoever listened before sets that back himself."""
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                signal.signal(signum, self._note)

    def _note(self, signum: int, _: FrameType | None) -> None:
        if self.signum:
            raise Stopped(signum)
        self.signum = signum
        # Not by print: the signal may have come in the middle of one.
        if not is_worker():
            with suppress(OSError):  # whoever read it may be gone
                os.write(2, b"\nstopping after this step; once more, and it stops at once\n")
