"""Limits of a training: batches of an epoch and of a validation, as Lightning counts them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_cli import console
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.errors import InputError
from ssl_cli.methods.detectors.gaussian import Gaussian
from ssl_cli.training.fit import fit
from ssl_cli.training.limits import limit_validation, step_limit, train_batches, validated_rows
from tests.conftest import Cli
from tests.helpers.trained_models import ROWS, config, history, trained


@pytest.mark.parametrize(
    ("limit", "batches"), [(None, 10), (1, 1), (7, 7), (11, 10), (1.0, 10), (0.1, 1), (0.35, 3), (0.999, 9)]
)
def test_a_whole_number_is_how_many_batches_and_a_fraction_which_share(limit: Any, batches: int) -> None:
    settings = config(limit_train_batches=limit, batch_size=16).trainer
    assert train_batches(settings, n_rows=10 * 16 - 5) == batches


@pytest.mark.parametrize(("n_rows", "batches"), [(64, 4), (63, 3), (17, 1), (16, 1), (15, 1), (2, 1)])
def test_a_short_last_batch_is_left_out_unless_it_is_the_only_one(n_rows: int, batches: int) -> None:
    settings = config(batch_size=16).trainer
    assert train_batches(settings, n_rows, only_whole=True) == batches
    assert len(validated_rows(settings, n_rows, 16, only_whole=True)) == min(n_rows, 16 * batches)


def test_limits_count_whole_batches() -> None:
    settings = config(limit_train_batches=0.5, limit_val_batches=3, batch_size=16).trainer
    assert train_batches(settings, 63, only_whole=True) == 1  # half of 3
    assert validated_rows(settings, 35, 16, only_whole=True).tolist() == np.linspace(0, 34, 32).round().tolist()


def test_a_share_of_less_than_a_batch_is_refused_with_one_that_is_enough() -> None:
    settings = config(limit_train_batches=0.05, batch_size=16).trainer
    with pytest.raises(InputError, match=r"limit_train_batches=0.05 of 3 batches is less than one.* at least 0\.334"):
        train_batches(settings, n_rows=48)
    assert train_batches(config(limit_train_batches=0.334, batch_size=16).trainer, n_rows=48) == 1


def test_configs_of_earlier_versions_have_no_limit() -> None:
    settings = config(batch_size=16).trainer
    for name in ("limit_train_batches", "limit_val_batches", "fast_dev_run"):
        del settings[name]
    assert train_batches(settings, 48) == 3
    assert len(validated_rows(settings, 48, 16)) == 48


def test_max_epochs_counts_limited_epochs(tmp_path: Path) -> None:
    cfg = config(limit_train_batches=2, max_epochs=3)  # of 40 rows: 3 batches
    assert step_limit(cfg.trainer, train_batches(cfg.trainer, 40)) == 6
    trained(tmp_path, cfg)
    assert [(row["step"], row["epoch"]) for row in history(tmp_path)] == [(4, 2), (6, 3)]


def test_validation_takes_evenly_spaced_rows_of_whole_batches() -> None:
    class Rows(ArrayDataset):
        eval_batch_size = 4  # type: ignore[assignment]

    rows = Rows({"x": np.arange(20)}, np.arange(100, 120))
    limited = limit_validation(config(limit_val_batches=2).trainer, rows)
    assert limited.arrays["x"].tolist() == [0, 3, 5, 8, 11, 14, 16, 19]
    assert limited.row_ids.tolist() == [100, 103, 105, 108, 111, 114, 116, 119]
    assert limit_validation(config(limit_val_batches=5).trainer, rows) is rows


def test_a_model_without_batches_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console, "_warned", set())
    rows, cfg = ArrayDataset({"x": ROWS}), config(limit_train_batches=2)
    fit(Gaussian(), rows, rows, cfg, tmp_path)
    err = capsys.readouterr().err
    assert "Gaussian is fitted to all training rows in one go: trainer.limit_train_batches can't limit that" in err


def test_the_limits_of_a_command_line_are_obeyed(cli: Cli, workdir: Path) -> None:
    words = ["trainer=cpu", "model=ae", "bootstrap_samples=20", "trainer.batch_size=20", "trainer.max_steps=4"]
    words.append("trainer.validate_every_n_steps=2")
    assert cli("detect", *words, "trainer.limit_train_batches=0.25", "trainer.limit_val_batches=1")[0] == 0
    (path,) = workdir.glob("outputs/detect/*/*/history.csv")
    assert [row["epoch"] for row in history(path.parent)] == [1, 2]  # 160 rows, 8 batches, 2 of them
    code, _, err = cli("detect", *words, "trainer.limit_train_batches=0")
    assert code == 2
    assert "trainer.limit_train_batches must be a whole number of at least 1 or a number above 0 and of at" in err
