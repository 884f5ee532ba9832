"""One-class protocol: which rows are for training, calibration and test; nothing is fitted on test rows."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pytest

from ssl_cli.data.tables.one_class import LabelledTable, OneClassTable
from ssl_cli.errors import InputError

N_NORMAL, N_ANOMALIES = 1000, 100


@dataclass(kw_only=True)
class NumberedTable(OneClassTable):
    """1,000 normal rows and 100 anomalies, in a mixed order; the feature is half the row's number."""

    shift: float = 0.0  # of the anomalies
    labelled: bool = True

    def read(self) -> LabelledTable:
        anomaly = np.arange(N_NORMAL + N_ANOMALIES) % 11 == 0
        values = np.arange(len(anomaly)) / 2 + self.shift * anomaly
        return LabelledTable(pa.table({"a": values}), anomaly if self.labelled else None, "made")


def rows(data: NumberedTable, **asked: bool) -> dict[str, set[int]]:
    return {name: set(split.row.tolist()) for name, split in data.one_class_splits(seed=0, **asked).splits.items()}


def test_clean_protocol_counts() -> None:
    splits = NumberedTable().one_class_splits(seed=0).splits
    assert {name: len(split.x) for name, split in splits.items()} == {"train": 450, "calibration": 50, "test": 600}
    assert {name: int(split.anomaly.sum()) for name, split in splits.items()} == {
        "train": 0, "calibration": 0, "test": 100,
    }  # fmt: skip


@pytest.mark.parametrize("asked", [{}, {"val": True}, {"dev": True}, {"val": True, "dev": True}])
def test_every_row_is_in_one_split(asked: dict[str, bool]) -> None:
    splits = rows(NumberedTable(), **asked)
    assert sum(len(split) for split in splits.values()) == N_NORMAL + N_ANOMALIES
    assert len(set.union(*splits.values())) == N_NORMAL + N_ANOMALIES
    assert set(splits) == {"train", "calibration", "test", *asked}


@pytest.mark.parametrize(("fewest", "splits"), [(0, {"train", "test"}), (50, {"train", "test", "calibration"})])
def test_rows_are_held_out_if_they_are_enough(fewest: int, splits: set[str]) -> None:
    assert set(NumberedTable().one_class_splits(seed=0, hold_out=fewest).splits) == splits
    assert set(NumberedTable().one_class_splits(seed=0, hold_out=51).splits) == {"train", "test"}


def test_rows_and_labels_stay_together() -> None:
    for split in NumberedTable().one_class_splits(seed=3, dev=True).splits.values():
        np.testing.assert_array_equal(split.anomaly, split.row % 11 == 0)


def test_the_seed_fixes_the_split() -> None:
    assert rows(NumberedTable()) == rows(NumberedTable())
    other = {name: set(split.row.tolist()) for name, split in NumberedTable().one_class_splits(seed=1).splits.items()}
    assert other != rows(NumberedTable())


def test_nothing_is_fitted_on_the_test_rows() -> None:
    there = NumberedTable(shift=0.0).one_class_splits(seed=0)
    elsewhere = NumberedTable(shift=1e6).one_class_splits(seed=0)
    assert there.preprocessor.columns == elsewhere.preprocessor.columns
    np.testing.assert_array_equal(there.splits["train"].x, elsewhere.splits["train"].x)


def test_contamination_moves_its_share_into_training() -> None:
    splits = NumberedTable(contamination=0.05).one_class_splits(seed=0).splits
    fit = np.concatenate([splits["train"].anomaly, splits["calibration"].anomaly])
    assert fit.mean() == pytest.approx(0.05, abs=0.002)
    assert sum(int(split.anomaly.sum()) for split in splits.values()) == N_ANOMALIES
    assert sum(len(split.x) for split in splits.values()) == N_NORMAL + N_ANOMALIES


def test_without_labels_half_the_rows_train() -> None:
    splits = NumberedTable(labelled=False).one_class_splits(seed=0).splits
    assert splits["test"].anomaly is None
    assert len(splits["train"].x) + len(splits["calibration"].x) == (N_NORMAL + N_ANOMALIES) // 2


def test_too_few_rows() -> None:
    with pytest.raises(InputError, match=r"data\.calibration=0\.999 leaves 0 rows to train on"):
        NumberedTable(calibration=0.999).one_class_splits(seed=0)
    with pytest.raises(InputError, match="threshold=f1 needs at least 2 normal rows and 2 anomalies"):
        NumberedTable(labelled=False).one_class_splits(seed=0, dev=True)


def test_impossible_contamination() -> None:
    with pytest.raises(InputError, match="there are 100"):
        NumberedTable(contamination=0.5).one_class_splits(seed=0)
    with pytest.raises(InputError, match="is less than one anomaly"):
        NumberedTable(contamination=1e-6).one_class_splits(seed=0)
    with pytest.raises(InputError, match="needs labels"):
        NumberedTable(contamination=0.01, labelled=False).one_class_splits(seed=0)
