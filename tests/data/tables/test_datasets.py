"""Tests of reading published tables: counts, labels and special cases."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from ssl_cli.data.tables.datasets import (
    AdBench,
    BreastCancer,
    BreastCancerOriginal,
    CreditCard,
    KddCup99,
    NslKdd,
    PaySim,
    Table,
)
from ssl_cli.errors import InputError


def test_breast_cancer() -> None:
    table = BreastCancer().read()
    assert (table.columns.num_rows, int(table.anomaly.sum())) == (569, 212)


def test_published_layouts(published: Path) -> None:
    assert CreditCard(dir=str(published / "creditcard_fraud")).read().anomaly.sum() == 8
    paysim = PaySim(dir=str(published / "paysim")).read()
    assert not {"nameOrig", "nameDest", "isFlaggedFraud", "isFraud"} & set(paysim.columns.column_names)
    assert KddCup99(dir=str(published / "kddcup99")).read().anomaly.sum() == 20
    original = BreastCancerOriginal(dir=str(published / "breast_cancer_wisconsin")).read()
    assert original.columns["bare_nuclei"].null_count == 4
    assert "id" not in original.columns.column_names
    for name in ("cardio", "6_cardio", "CARDIO"):
        assert AdBench(dir=str(published / "adbench"), name=name).read().anomaly.sum() == 8
    file = str(published / "adbench" / "6_cardio.npz")
    assert AdBench(dir="nowhere", file=file).read().anomaly.sum() == 8
    with pytest.raises(InputError, match=r"Set data\.name=cardio .*, or data\.file=FILE\.npz\."):
        AdBench(dir="nowhere").read()
    with pytest.raises(InputError, match="set only one of them"):
        AdBench(dir="nowhere", name="cardio", file=file).read()


def test_nslkdd_keeps_its_published_split(published: Path) -> None:
    data = NslKdd(dir=str(published / "nsl_kdd")).one_class_splits(seed=0)
    assert len(data.splits["train"].x) + len(data.splits["calibration"].x) == 60  # the normal rows of its training file
    assert len(data.splits["test"].x) == 80  # its whole test file
    np.testing.assert_array_equal(data.splits["test"].row, np.arange(80))
    assert not any("difficulty" in name for name in data.preprocessor.feature_names)


@pytest.mark.parametrize(("normal", "anomalies"), [(0, 2), ("0", 2), (1, 3), ([0, 1], 0), (False, 2), (0.0, 2)])
def test_normal_is_one_value_or_several(tmp_path: Path, normal: object, anomalies: int) -> None:
    (tmp_path / "t.csv").write_text("a,bad\n1,0\n2,1\n3,0\n4,0\n5,1\n")
    assert Table(file=str(tmp_path / "t.csv"), label="bad", normal=normal).read().anomaly.sum() == anomalies


def test_parquet_with_text_labels(tmp_path: Path) -> None:
    pyarrow.parquet.write_table(pa.table({"a": [1, 2, 3], "kind": ["fine", "fraud", "fine"]}), tmp_path / "t.parquet")
    table = Table(file=str(tmp_path / "t.parquet"), label="kind", normal="fine").read()
    np.testing.assert_array_equal(table.anomaly, [False, True, False])


def test_missing_column_label_value_or_file_is_an_error(tmp_path: Path, published: Path) -> None:
    (tmp_path / "t.csv").write_text("amount,is_fraud\n1,0\n2,\n")
    path = str(tmp_path / "t.csv")
    with pytest.raises(InputError, match=r"no column is_frod\. Did you mean is_fraud"):
        Table(file=path, label="is_frod").read()
    with pytest.raises(InputError, match="1 rows have no label in the column is_fraud"):
        Table(file=path, label="is_fraud").read()
    with pytest.raises(InputError, match=r"no row has amount=7\. Its values are 1, 2"):
        Table(file=path, label="amount", normal=7).read()
    with pytest.raises(InputError, match=r"creditcard.csv is missing. Download it from https://www.kaggle.com"):
        CreditCard(dir=str(tmp_path)).read()
    with pytest.raises(InputError, match=r"data\.name=cardo is not in .* Did you mean cardio"):
        AdBench(dir=str(published / "adbench"), name="cardo").read()


def test_nan_label_is_an_error(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", X=np.zeros((3, 2)), y=np.array([0.0, 1.0, np.nan]))
    with pytest.raises(InputError, match="1 rows have no label"):
        Table(file=str(tmp_path / "t.npz"), label="y").read()


def test_label_column_may_be_a_number_but_not_dropped(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("0,1,2\n5,6,0\n7,8,1\n")
    assert Table(file=str(tmp_path / "t.csv"), label=2).read().anomaly.sum() == 1
    with pytest.raises(InputError, match=r"data\.drop has 2, the column of data\.label"):
        Table(file=str(tmp_path / "t.csv"), label=2, drop=["2"]).read()


@pytest.mark.shared
def test_published_counts(shared: Path) -> None:
    tables = {
        "creditcard": CreditCard(dir=str(shared / "creditcard_fraud")).read(),
        "paysim": PaySim(dir=str(shared / "paysim")).read(),
        "kddcup99": KddCup99(dir=str(shared / "kddcup99")).read(),
        "original": BreastCancerOriginal(dir=str(shared / "breast_cancer_wisconsin")).read(),
        "nslkdd": NslKdd(dir=str(shared / "nsl_kdd")).read(),
        "hepatitis": AdBench(dir=str(shared / "adbench"), name="hepatitis").read(),
    }
    counts = {name: (table.columns.num_rows, int(table.anomaly.sum())) for name, table in tables.items()}
    assert counts == {
        "creditcard": (8585, 492),
        "paysim": (10_000, 28),
        "kddcup99": (494_021, 494_021 - 97_278),
        "original": (699, 241),
        "nslkdd": (25_192 + 22_544, 25_192 - 13_449 + 22_544 - 9_711),
        "hepatitis": (80, 13),
    }


@pytest.mark.shared
def test_every_adbench_file_is_read(shared: Path) -> None:
    for path in sorted((shared / "adbench").glob("*.npz")):
        with np.load(path) as raw:
            table = AdBench(dir=str(path.parent), name=path.stem).read()
            assert table.columns.num_columns == raw["X"].shape[1]
            assert int(table.anomaly.sum()) == int(raw["y"].sum())
