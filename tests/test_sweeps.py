"""Sweeps: every combination, one table, failures with their reason."""

import csv
from pathlib import Path

from tests.conftest import QUICK, Cli


def rows(out: str) -> list[dict[str, str]]:
    folder = Path(out.strip().splitlines()[-1])
    with (folder / "sweep.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_combination_once(cli: Cli) -> None:
    code, out, err = cli("detect", "-m", "model=gaussian,iforest", "seed=0,1", *QUICK)
    assert code == 0, err
    table = rows(out)
    assert [(row["model"], row["seed"]) for row in table] == [
        ("gaussian", "0"), ("gaussian", "1"), ("iforest", "0"), ("iforest", "1"),
    ]  # fmt: skip
    assert all(float(row["test/auroc"]) > 0.9 and Path(row["run"]).is_dir() for row in table)
    assert "4 runs" in out
    assert "trainer.max_steps" not in out.split("4 runs")[1]  # what doesn't vary is not in the table


def test_a_failure_does_not_stop_the_others(cli: Cli) -> None:
    code, out, err = cli("detect", "-m", "data=breast_cancer,creditcard", "model=gaussian", *QUICK)
    assert code == 2
    good, bad = rows(out)
    assert float(good["test/auroc"]) > 0.9 and not good["error"]
    assert "creditcard.csv is missing" in bad["error"] and not bad["run"]
    assert "failed because" in out
    assert "this combination failed" in err


def test_globs_odd_folders_and_removed_options(cli: Cli) -> None:
    code, out, err = cli("detect", "-m", "optim=glob(*)", "model=gaussian", "paths.outputs=it's", *QUICK)
    assert code == 0, err
    assert {row["optim"] for row in rows(out)} == {"adamw", "sgd"}


def test_a_number_that_varied_makes_a_figure(cli: Cli) -> None:
    words = ["data.train=polluted", "data.pollution=0,0.05,0.1", "model=gaussian,iforest", "seed=0,1"]
    code, out, err = cli("detect", "-m", *words, *QUICK)
    assert code == 0, err
    assert "test/auroc against data.pollution: " in out
    assert (Path(out.strip().splitlines()[-1]) / "sweep.png").stat().st_size > 10_000
    code, out, _ = cli("detect", "-m", "seed=0,1,2", "model=gaussian", *QUICK)
    assert "against" not in out
    assert not (Path(out.strip().splitlines()[-1]) / "sweep.png").exists()
