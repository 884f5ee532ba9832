"""The one-class protocol: learn from normal rows, test on the other normal rows and every anomaly.

    normal rows   -- half -->  training   (a tenth of these held out for calibration)
                  -- half -->  test
    anomalies     ----------->  test      (train=polluted hides some of them in the training half)

Everything follows from the seed, and nothing is ever fitted on test rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import pyarrow as pa

from ssl_cli.bounds import OpenShare, Range
from ssl_cli.data.encoder import Scaling, TableEncoder
from ssl_cli.data.reading import FileLayout
from ssl_cli.errors import InputError

VALIDATION_SHARE = 0.1  # of the training rows, where early stopping asks for a validation split
DEVELOPMENT_SHARE = 0.3  # of the test rows of each class, where a threshold is chosen with labels


@dataclass
class LabelledTable:
    """A file's feature columns; `anomaly` (N,) bool, or None where nothing says which rows are normal.

    `parts` (N,) tells a published split ("train" or "test"), where there is one, and `row` (N,) its number in the file.
    `layout` is the file's, where there is one.
    """

    columns: pa.Table
    anomaly: np.ndarray | None
    fingerprint: str
    parts: np.ndarray | None = None
    row: np.ndarray | None = None
    layout: FileLayout | None = None


@dataclass
class Split:
    """Some rows: `x` (N, D) float32, encoded; `anomaly` (N,) bool or None; `row` (N,) their number in the file.

    `index` (N,) is where they lie in the table that was read.
    """

    x: np.ndarray
    anomaly: np.ndarray | None
    row: np.ndarray
    index: np.ndarray


@dataclass
class OneClassData:
    """What `ssl detect` needs of a data set. `splits`: train and test; where asked for, calibration, val and dev.

    `columns` is the table as it was read, for whoever must show a row as its owner knows it.
    """

    splits: dict[str, Split]
    columns: pa.Table
    encoder: TableEncoder
    fingerprint: str

    @property
    def facts(self) -> dict[str, int]:
        return {"n_features": len(self.encoder.features)}


@dataclass(kw_only=True)
class OneClassTable:
    """A table under the one-class protocol; each data set says how it is read."""

    gives: ClassVar[tuple[str, ...]] = ("x",)
    offers: ClassVar[Mapping[str, type]] = {"n_features": int}

    train: Annotated[Literal["clean", "polluted"], "whether anomalies hide among the training rows"] = "clean"
    pollution: Annotated[
        float, Range(0, 1, open_high=True), "share of anomalies among the training rows, with train=polluted"
    ] = 0.01
    calibration: Annotated[OpenShare, "share of the training half held out to calibrate the threshold"] = 0.1
    scaling: Annotated[Scaling, "power: make skewed numbers symmetric before they are standardised"] = "standard"

    def read(self) -> LabelledTable:
        """The file as it is. Raises InputError where it can't be found or read."""
        raise NotImplementedError(f"{type(self).__name__} doesn't say how it is read")

    def prepare(self, seed: int, hold_out: bool = True, val: bool = False, dev: bool = False) -> OneClassData:
        """Read, split by the seed, fit the encoder on the training rows, encode every split.

        `hold_out`: part calibration rows from the training rows; `val` and `dev` likewise ask for those splits.
        Raises InputError where the table is too small or its labels don't serve.
        """
        table = self.read()
        index = self._split(table, np.random.default_rng([seed, 1]), hold_out, val, dev)
        encoder = TableEncoder.fit(table.columns.take(pa.array(index["train"])), self.scaling, table.layout)
        x = encoder.transform(table.columns)  # (N, D)
        number = np.arange(len(x)) if table.row is None else table.row
        splits = {
            name: Split(x[rows], None if table.anomaly is None else table.anomaly[rows], number[rows], rows)
            for name, rows in index.items()
        }
        return OneClassData(splits, table.columns, encoder, table.fingerprint)

    def _split(
        self, table: LabelledTable, rng: np.random.Generator, hold_out: bool, val: bool, dev: bool
    ) -> dict[str, np.ndarray]:
        """Row indices of each split."""
        anomaly = np.zeros(table.columns.num_rows, bool) if table.anomaly is None else table.anomaly
        normal = rng.permutation(np.flatnonzero(~anomaly))
        strange = rng.permutation(np.flatnonzero(anomaly))
        if table.parts is None:
            half = len(normal) // 2
            fit, test = normal[:half], np.concatenate([normal[half:], strange])
        else:
            fit, test = normal[table.parts[normal] == "train"], np.flatnonzero(table.parts == "test")
            strange = strange[table.parts[strange] == "train"]
        if len(fit) < 4:
            raise InputError(
                f"{len(fit)} normal rows are left to learn from (half of them go to the test); at least 4 are needed. "
                "Use a larger table, or check data.normal."
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
                f"data.calibration={self.calibration:g} leaves {len(splits['train'])} rows to train on: "
                "make it smaller."
            )
        if val:
            # In the order drawn, whatever the labels: whoever has polluted rows doesn't know which they are.
            n_val = max(1, round(VALIDATION_SHARE * len(splits["train"])))
            splits |= {"train": splits["train"][n_val:], "val": splits["train"][:n_val]}
        if dev:
            splits |= _development(splits["test"], anomaly, rng)
        return {name: np.sort(rows) for name, rows in splits.items()}

    def _hidden(self, n_normal: int, strange: np.ndarray) -> np.ndarray:
        """The anomalies that hide among the training rows, so that they are `pollution` of them."""
        wanted = round(n_normal * self.pollution / (1 - self.pollution))
        if wanted < 1 and self.pollution > 0:
            raise InputError(
                f"data.pollution={self.pollution:g} of {n_normal} training rows is no row; "
                f"at least {1 / n_normal:.2g} hides one."
            )
        if wanted >= len(strange):
            raise InputError(
                f"data.pollution={self.pollution:g} needs {wanted} anomalies for training and one more for the test; "
                f"there are {len(strange)}{': it needs labels' if not len(strange) else ', so make it smaller'}."
            )
        return strange[:wanted]


def _development(test: np.ndarray, anomaly: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Part the test rows: a share of each class, to choose a threshold with labels on, is tested no more."""
    rows = rng.permutation(test)
    classes = (rows[~anomaly[rows]], rows[anomaly[rows]])
    if min(len(members) for members in classes) < 2:
        raise InputError(
            "threshold=f1 needs at least 2 normal rows and 2 anomalies, to part between choosing and testing; "
            f"there are {len(classes[0])} and {len(classes[1])}. Without labels use threshold=auto."
        )
    dev = np.concatenate([members[: max(1, round(DEVELOPMENT_SHARE * len(members)))] for members in classes])
    return {"test": np.setdiff1d(test, dev), "dev": dev}


def find(given: str | None, folder: str | Path, published: list[str], page: str, override: str = "data.file") -> Path:
    """The path given by `override`, or the first of the published file names that lies in `folder`.

    Raises InputError, with the page to download it from, where there is none.
    """
    if given is not None:
        return Path(given).expanduser()
    folder = Path(folder).expanduser()
    for name in published:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"{folder / published[0]} is missing. Download it from {page} and put it there, or say {override}=PATH."
    )
