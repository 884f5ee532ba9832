"""Detectors that are saved as their training rows, and fitted to them again when they are read.

So no object of a library is saved, and none of its own formats is read: those may run code, or hold forged indices that
the library follows beyond the end of its arrays.
"""

from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from ssl_cli.errors import InputError
from ssl_cli.runs.folder import resume_command

WEIGHTS = "model.safetensors"
PROBE_ROWS = 32  # training rows whose scores are saved, to be compared


class SavedAsRows:
    """Saving and restoring of a detector whose `_fit` is a function of the rows, the seed and the library's version.

    `_fit` sets `rows` (N, D) and `seed`.
    """

    library: ClassVar[str]  # the package whose version is saved
    rows: np.ndarray
    seed: int

    @property
    def name(self) -> str:
        """Return the detector's name for messages."""
        return type(self).__name__

    def _fit(self, rows: np.ndarray, seed: int) -> None:
        raise NotImplementedError

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scores (B,) of rows `x` (B, D)."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write the training rows into a run folder, and a few scores."""
        content = {"rows": np.ascontiguousarray(self.rows), "scores": self._probe()}
        save_file(content, folder / WEIGHTS, {"seed": str(self.seed), self.library: version(self.library)})

    def restore(self, folder: Path) -> None:
        """Fit the saved training rows again. Raises InputError if the scores differ from the saved ones."""
        check_can_be_read(folder)
        with safe_open(folder / WEIGHTS, "numpy") as file:
            rows, scores, metadata = file.get_tensor("rows"), file.get_tensor("scores"), file.metadata()
        self._fit(rows, int(metadata["seed"]))
        if not np.allclose(self._probe(), scores, rtol=1e-3, atol=1e-3 * np.abs(scores).max()):
            raise InputError(
                f"{folder}: {self.name}, fitted again, gives other scores than it did. The run was made with "
                f"{self.library} {metadata[self.library]}; installed is {version(self.library)}."
            )

    def _probe(self) -> np.ndarray:
        return self.score({"x": torch.from_numpy(self.rows[:PROBE_ROWS])}).numpy()


def check_can_be_read(folder: Path) -> None:
    """Raise InputError for a run of an earlier version of ssl, which has its estimator in a file of skops."""
    if (folder / "model.skops").exists() and not (folder / WEIGHTS).exists():
        raise InputError(
            f"{folder} was made by an earlier version of ssl: its model.skops is not read any more. "
            f"`{resume_command('detect', folder)}` fits the same model again."
        )
