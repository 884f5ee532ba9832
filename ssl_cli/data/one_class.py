"""One-class protocol: train on normal rows, test on the other normal rows and on all anomalies.

    normal rows   -- half -->  training   (a tenth of these is held out for calibration)
                  -- half -->  test
    anomalies     ----------->  test      (contamination moves some of them into the training half)

The seed determines all splits, and nothing is fitted on test rows. A row is one of a table, or an image.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np

from ssl_cli.config.types import OpenShare, Range
from ssl_cli.errors import InputError

VAL_SHARE = 0.1  # of the training rows, if early stopping needs a validation split
DEV_SHARE = 0.3  # of the test rows of each class, if a threshold is chosen with labels


@dataclass
class OneClassSplit:
    """A split: `x`, preprocessed rows (N, D) float32 or images (N, C, H, W) uint8; `anomaly` (N,) bool, or None.

    `row` (N,) are the rows' numbers in the file, `index` (N,) their positions in what was read.
    """

    x: np.ndarray
    anomaly: np.ndarray | None
    row: np.ndarray
    index: np.ndarray


@dataclass(kw_only=True)
class OneClassData:
    """Data of `ssl detect`. `splits`: train and test; calibration, val and dev if requested.

    `preprocessor` converts new rows to rows like these, and is saved with the run. `notes` and `warnings` are logged.
    """

    rows: ClassVar[str]  # the plural noun for rows in messages

    splits: dict[str, OneClassSplit]
    preprocessor: Any
    fingerprint: str
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, list[Any]]:
        """Return the facts for the config: the shape of a row, and the first and end feature of each category."""
        return {"shape": [int(size) for size in self.splits["train"].x.shape[1:]], "categories": self.categories}

    @property
    def categories(self) -> list[list[int]]:
        """Return the first and end feature of each category, [] if there are none."""
        return []

    @property
    def size(self) -> str:
        """Return the size of a row as text."""
        raise NotImplementedError


@dataclass(kw_only=True)
class OneClass:
    """Options of the protocol, and how it splits rows. Subclasses read tables or images."""

    gives: ClassVar[tuple[str, ...]] = ("x",)
    offers: ClassVar[Mapping[str, type]] = {"shape": list, "categories": list}
    rows: ClassVar[str]  # the plural noun for rows in messages

    contamination: Annotated[
        float, Range(0, 1, open_high=True), "share of anomalies among the training rows; 0: only normal rows"
    ] = 0.0
    calibration: Annotated[OpenShare, "share of the training half held out to calibrate the threshold"] = 0.1

    def split(
        self, anomaly: np.ndarray, published_split: np.ndarray | None, seed: int, hold_out: int, val: bool, dev: bool
    ) -> dict[str, np.ndarray]:
        """Return the indices of each split's rows, in ascending order.

        `anomaly` (N,) bool; `published_split` (N,) is "train" or "test", or None if no split is published. Rows are
        held out for calibration if they would be at least `hold_out`; 0 means never. `val` and `dev` request these
        splits. Raises InputError if there are too few rows of a kind.
        """
        rng = np.random.default_rng([seed, 1])
        fit, test = self._split_fit_and_test(anomaly, published_split, rng)
        splits = {"train": fit, "test": test}
        n_held_out = max(1, round(self.calibration * len(fit)))
        if 0 < hold_out <= n_held_out:
            splits |= {"train": fit[n_held_out:], "calibration": fit[:n_held_out]}
        if len(splits["train"]) < 2:
            raise InputError(
                f"data.calibration={self.calibration:g} leaves {len(splits['train'])} {self.rows} to train on: "
                "make it smaller."
            )
        if val:
            # The rows are in random order. Labels are not used: in real contaminated data they are unknown.
            n_val = max(1, round(VAL_SHARE * len(splits["train"])))
            splits |= {"train": splits["train"][n_val:], "val": splits["train"][:n_val]}
        if dev:
            splits |= self._split_dev(splits["test"], anomaly, rng)
        return {name: np.sort(rows) for name, rows in splits.items()}

    def _split_fit_and_test(
        self, anomaly: np.ndarray, published_split: np.ndarray | None, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the indices of the rows to fit and calibrate on, in random order, and those of the test rows."""
        normal = rng.permutation(np.flatnonzero(~anomaly))
        anomalies = rng.permutation(np.flatnonzero(anomaly))
        if published_split is None:
            half = len(normal) // 2
            fit, test = normal[:half], np.concatenate([normal[half:], anomalies])
        else:
            fit, test = normal[published_split[normal] == "train"], np.flatnonzero(published_split == "test")
            anomalies = anomalies[published_split[anomalies] == "train"]
        if len(fit) < 4:
            raise InputError(
                f"{len(fit)} normal {self.rows} are left to train on (half of them are for the test); at least 4 are "
                "needed. Use more data, or check data.normal."
            )

        if self.contamination > 0:
            hidden = self._choose_hidden(len(fit), anomalies)
            fit = rng.permutation(np.concatenate([fit, hidden]))
            test = np.setdiff1d(test, hidden)
        return fit, test

    def _choose_hidden(self, n_normal: int, anomalies: np.ndarray) -> np.ndarray:
        """Return the anomalies to add to `n_normal` training rows, to make up the share `contamination`."""
        n_hidden = round(n_normal * self.contamination / (1 - self.contamination))
        if n_hidden < 1:
            raise InputError(
                f"data.contamination={self.contamination:g} of {n_normal} training {self.rows} is less than "
                f"one anomaly: set at least {1 / n_normal:.2g}."
            )
        if n_hidden >= len(anomalies):
            raise InputError(
                f"data.contamination={self.contamination:g} needs {n_hidden} anomalies for training and one for "
                f"the test; there are {len(anomalies)}"
                f"{': it needs labels' if not len(anomalies) else ', so make it smaller'}."
            )
        return anomalies[:n_hidden]

    def _split_dev(self, test: np.ndarray, anomaly: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """Move a share of the test rows of each class to a split on which a threshold is chosen with labels."""
        rows = rng.permutation(test)
        classes = (rows[~anomaly[rows]], rows[anomaly[rows]])
        if min(len(members) for members in classes) < 2:
            raise InputError(
                f"threshold=f1 needs at least 2 normal {self.rows} and 2 anomalies, for choosing the threshold and "
                f"for testing; there are {len(classes[0])} and {len(classes[1])}. Without labels use threshold=auto."
            )
        dev = np.concatenate([members[: max(1, round(DEV_SHARE * len(members)))] for members in classes])
        return {"test": np.setdiff1d(test, dev), "dev": dev}
