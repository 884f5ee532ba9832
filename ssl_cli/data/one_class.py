"""The one-class protocol: learn from normal rows, test on the other normal rows and every anomaly.

    normal rows   -- half -->  training   (a tenth of these held out for calibration)
                  -- half -->  test
    anomalies     ----------->  test      (train=polluted hides some of them in the training half)

Everything follows from the seed, and nothing is ever fitted on test rows. A row is one of a table, or an image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

import numpy as np

from ssl_cli.config.types import OpenShare, Range
from ssl_cli.errors import InputError

VALIDATION_SHARE = 0.1  # of the training rows, where early stopping asks for a validation split
DEVELOPMENT_SHARE = 0.3  # of the test rows of each class, where a threshold is chosen with labels


@dataclass
class OneClassSplit:
    """Some rows: `x` (N, D) float32, encoded, or images (N, C, H, W) uint8; `anomaly` (N,) bool, or None.

    `row` (N,) is their number in the file, `index` (N,) where they lie in what was read.
    """

    x: np.ndarray
    anomaly: np.ndarray | None
    row: np.ndarray
    index: np.ndarray


@dataclass(kw_only=True)
class OneClassData:
    """What `ssl detect` needs of a data set. `splits`: train and test; where asked for, calibration, val and dev.

    `encoder` makes new rows like these, and is saved with the run. `notes` are for the log, `warnings` too.
    """

    rows: ClassVar[str]  # what they are called

    splits: dict[str, OneClassSplit]
    preprocessor: Any
    fingerprint: str
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, list[int]]:
        return {"shape": [int(size) for size in self.splits["train"].x.shape[1:]]}

    @property
    def size(self) -> str:
        """Of a row, in words"""
        raise NotImplementedError


@dataclass(kw_only=True)
class OneClass:
    """The protocol's options, and how it parts rows; tables and images are read by the classes that inherit it."""

    gives: ClassVar[tuple[str, ...]] = ("x",)
    offers: ClassVar[Mapping[str, type]] = {"shape": list}
    rows: ClassVar[str]  # what they are called

    train: Annotated[Literal["clean", "polluted"], "whether anomalies hide among the training rows"] = "clean"
    pollution: Annotated[
        float, Range(0, 1, open_high=True), "share of anomalies among the training rows, with train=polluted"
    ] = 0.01
    calibration: Annotated[OpenShare, "share of the training half held out to calibrate the threshold"] = 0.1

    def split(
        self, anomaly: np.ndarray, published: np.ndarray | None, seed: int, hold_out: bool, val: bool, dev: bool
    ) -> dict[str, np.ndarray]:
        """The indices of each split's rows, in order. `anomaly` (N,) bool; `published` (N,) is "train" or "test", where
        the data come parted.

        `hold_out`: part calibration rows from the training rows; `val` and `dev` likewise ask for those splits.
        Raises InputError where there are too few rows or the labels don't serve.
        """
        rng = np.random.default_rng([seed, 1])
        normal = rng.permutation(np.flatnonzero(~anomaly))
        strange = rng.permutation(np.flatnonzero(anomaly))
        if published is None:
            half = len(normal) // 2
            fit, test = normal[:half], np.concatenate([normal[half:], strange])
        else:
            fit, test = normal[published[normal] == "train"], np.flatnonzero(published == "test")
            strange = strange[published[strange] == "train"]
        if len(fit) < 4:
            raise InputError(
                f"{len(fit)} normal {self.rows} are left to learn from (half of them go to the test); at least 4 are "
                "needed. Use more data, or check data.normal."
            )

        if self.train == "polluted":
            hidden = self._hidden(len(fit), strange)
            fit = rng.permutation(np.concatenate([fit, hidden]))
            test = np.setdiff1d(test, hidden)
        splits = {"train": fit, "test": test}
        if hold_out:
            held_out = max(1, round(self.calibration * len(fit)))
            splits |= {"train": fit[held_out:], "calibration": fit[:held_out]}
        if len(splits["train"]) < 2:
            raise InputError(
                f"data.calibration={self.calibration:g} leaves {len(splits['train'])} {self.rows} to train on: "
                "make it smaller."
            )
        if val:
            # In the order drawn, whatever the labels: whoever has polluted rows doesn't know which they are.
            n_val = max(1, round(VALIDATION_SHARE * len(splits["train"])))
            splits |= {"train": splits["train"][n_val:], "val": splits["train"][:n_val]}
        if dev:
            splits |= self._development(splits["test"], anomaly, rng)
        return {name: np.sort(rows) for name, rows in splits.items()}

    def _hidden(self, n_normal: int, strange: np.ndarray) -> np.ndarray:
        """The anomalies that hide among the training rows, so that they are `pollution` of them."""
        wanted = round(n_normal * self.pollution / (1 - self.pollution))
        if wanted < 1 and self.pollution > 0:
            raise InputError(
                f"data.pollution={self.pollution:g} of {n_normal} training {self.rows} hides none; "
                f"at least {1 / n_normal:.2g} hides one."
            )
        if wanted >= len(strange):
            raise InputError(
                f"data.pollution={self.pollution:g} needs {wanted} anomalies for training and one more for the test; "
                f"there are {len(strange)}{': it needs labels' if not len(strange) else ', so make it smaller'}."
            )
        return strange[:wanted]

    def _development(self, test: np.ndarray, anomaly: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Part the test rows: a share of each class, to choose a threshold with labels on, is tested no more."""
        rows = rng.permutation(test)
        classes = (rows[~anomaly[rows]], rows[anomaly[rows]])
        if min(len(members) for members in classes) < 2:
            raise InputError(
                f"threshold=f1 needs at least 2 normal {self.rows} and 2 anomalies, to part between choosing and "
                f"testing; there are {len(classes[0])} and {len(classes[1])}. Without labels use threshold=auto."
            )
        dev = np.concatenate([members[: max(1, round(DEVELOPMENT_SHARE * len(members)))] for members in classes])
        return {"test": np.setdiff1d(test, dev), "dev": dev}
