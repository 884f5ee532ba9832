"""Training throughput: batches a second, without the time of validations and checkpoints."""


class Throughput:
    """Counts batches and the time that they take."""

    def __init__(self) -> None:
        self._n_batches, self._elapsed_s = 0, 0.0

    def add(self, n_batches: int, elapsed_s: float) -> None:
        """Add a stretch of batches."""
        self._n_batches += n_batches
        self._elapsed_s += elapsed_s

    def batches_per_s(self) -> float:
        """Return the batches a second since the last call, and start counting anew."""
        rate = self._n_batches / self._elapsed_s if self._elapsed_s else 0.0
        self._n_batches, self._elapsed_s = 0, 0.0
        return rate
