"""calibrate=auto: rows are held out where they suffice for the threshold, and small data are cross-fitted."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

import ssl_cli
from ssl_cli.commands.detect.calibration import fewest_to_hold_out
from ssl_cli.data.images.datasets import Digits
from ssl_cli.data.tables.datasets import BreastCancer
from tests.conftest import QUICK, Cli
from tests.helpers.detect_runs import finished

AUTO = "calibrate=auto"


@pytest.fixture
def words(workdir: Path) -> list[str]:
    """A table of 200 normal rows and 20 anomalies: 100 rows to fit, of which 10 may be held out."""
    anomaly = np.arange(220) >= 200
    values = np.random.default_rng(0).normal(3.0 * anomaly[:, None], 1, (220, 3))
    pd.DataFrame(values, columns=["a", "b", "c"]).assign(fraud=anomaly.astype(int)).to_csv("t.csv", index=False)
    return ["data=table", "data.file=t.csv", "data.label=fraud", "model=knn", "folds=2", AUTO]


@pytest.mark.parametrize(
    ("options", "tables", "images"),
    [
        ({"threshold": "auto"}, 99, 99),
        ({"threshold": "auto", "fpr": 1e-6}, 1000, 100),  # large data are never cross-fitted
        ({"threshold": "fdr"}, 999, 100),
        ({"threshold": "q0.9"}, 10, 10),
        ({"threshold": "f1"}, 1, 1),
        ({"threshold": 3.5}, 1, 1),
        ({"threshold": "auto", "calibrate": "split"}, 1, 1),
        ({"threshold": "auto", "calibrate": "cross"}, 0, 0),
    ],
)
def test_as_many_rows_as_the_threshold_needs(options: dict[str, float | str], tables: int, images: int) -> None:
    cfg = OmegaConf.create({"calibrate": "auto", "fpr": 0.01, "fdr": 0.1} | options)
    assert fewest_to_hold_out(cfg, BreastCancer()) == tables
    assert fewest_to_hold_out(cfg, Digits()) == images


def test_the_choice_is_said_and_kept(cli: Cli, words: list[str]) -> None:
    folder = finished(cli, *words, "fpr=0.05")
    log = (folder / "log.txt").read_text()
    assert "calibrate=auto: cross, 3 fits; fewer rows would be held out than the 19 that fpr=0.05 needs" in log
    assert "warning" not in log
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["calibration/rows"], metrics["calibration/folds"]) == (100, 2)
    assert ssl_cli.load(folder).config.calibrate == "cross"
    for calibrate in (AUTO, "calibrate=cross"):
        out = cli("detect", *QUICK, *words, "fpr=0.05", calibrate, "sweep.skip_done=true")[1]
        assert f"skipped: {folder} has done it" in out

    # Ten rows would do for fpr=0.1, but the model has learned from them.
    assert cli("detect", f"resume={folder}", "fpr=0.1")[0] == 0
    assert len(ssl_cli.load(folder).calibration) == 100


def test_rows_are_held_out_where_they_suffice(cli: Cli, words: list[str]) -> None:
    folder = finished(cli, *words, "fpr=0.1")
    assert "calibrate=auto: split; 10 rows are held out, and fpr=0.1 needs 9" in (folder / "log.txt").read_text()
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["calibration/rows"], metrics["calibration/folds"]) == (10, 0)
    log = (finished(cli, *words, "threshold=12.5") / "log.txt").read_text()
    assert "calibrate=auto: split; threshold=12.5 does not depend on the calibration rows" in log


def test_many_rows_are_held_out_even_if_they_do_not_suffice(
    cli: Cli, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ssl_cli.commands.detect.calibration.MANY_ROWS", 10)
    code, out, err = cli("detect", *QUICK, *words)
    assert code == 0, err
    assert "10 rows are held out, and fpr=0.01 needs 99, but cross would take 3 fits of many rows" in out
    assert "10 calibration rows can't hold" in err


def test_few_images_are_cross_fitted(cli: Cli) -> None:
    folder = finished(cli, "data=digits", "model=knn", "folds=2", AUTO)
    assert "fewer images would be held out than the 99 that fpr=0.01 needs" in (folder / "log.txt").read_text()
    assert ssl_cli.load(folder).config.calibrate == "cross"
