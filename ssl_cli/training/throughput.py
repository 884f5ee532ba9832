"""How fast batches are learned, without the time that validations take."""

import time


class Throughput:
    """Batches a second since the last asking, without the time between `pause` and the next batch."""

    def __init__(self) -> None:
        self._batches, self._seconds = 0, 0.0
        self._since: float | None = None

    def start(self) -> None:
        """A batch begins."""
        self._since = time.monotonic() if self._since is None else self._since
        self._batches += 1

    def stop(self) -> None:
        if self._since is not None:
            self._seconds += time.monotonic() - self._since
            self._since = None

    def batches_per_s(self) -> float:
        pace = self._batches / self._seconds if self._seconds else 0.0
        self._batches, self._seconds = 0, 0.0
        return pace
