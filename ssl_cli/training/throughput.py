"""Training throughput: batches a second, without the time of validations."""

import time


class Throughput:
    """Counts batches and the time that they take, except between `stop` and the next batch."""

    def __init__(self) -> None:
        self._n_batches, self._elapsed_s = 0, 0.0
        self._started_s: float | None = None

    def start(self) -> None:
        """Count a batch, and start the clock if it is stopped."""
        self._started_s = time.monotonic() if self._started_s is None else self._started_s
        self._n_batches += 1

    def stop(self) -> None:
        """Stop the clock until the next batch."""
        if self._started_s is not None:
            self._elapsed_s += time.monotonic() - self._started_s
            self._started_s = None

    def batches_per_s(self) -> float:
        """Return the batches a second since the last call, and start counting anew."""
        rate = self._n_batches / self._elapsed_s if self._elapsed_s else 0.0
        self._n_batches, self._elapsed_s = 0, 0.0
        return rate
