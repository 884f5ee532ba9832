"""Sweeps: every combination, one table, summaries over seeds, and figures."""

from pathlib import Path

import numpy as np
import pytest

from tests.conftest import QUICK, Cli
from tests.helpers.suite_runs import stand_in
from tests.helpers.sweeps import folder_of, read_rows


def test_every_combination_once(cli: Cli) -> None:
    code, out, err = cli("detect", "-m", "model=gaussian,knn", "seed=0,1", *QUICK)
    assert code == 0, err
    rows = read_rows(out)
    assert [(row["model"], row["seed"]) for row in rows] == [
        ("gaussian", "0"), ("gaussian", "1"), ("knn", "0"), ("knn", "1"),
    ]  # fmt: skip
    assert all(float(row["test/auroc"]) > 0.9 and Path(row["run"]).is_dir() for row in rows)
    assert "4 runs" in out
    assert "trainer.max_steps" not in out.split("4 runs")[1]  # what doesn't vary is not in the table


def test_a_failure_does_not_stop_the_others(cli: Cli) -> None:
    code, out, err = cli("detect", "-m", "data=breast_cancer,creditcard", "model=gaussian", *QUICK)
    assert code == 2
    good, bad = read_rows(out)
    assert float(good["test/auroc"]) > 0.9 and not good["error"]
    assert "creditcard.csv is missing" in bad["error"] and not bad["run"]
    assert "failed because" in out
    assert "this combination failed" in err


def test_globs_odd_folders_and_removed_options(cli: Cli) -> None:
    code, out, err = cli("detect", "-m", "optim=glob(*)", "model=gaussian", "paths.outputs=it's", *QUICK)
    assert code == 0, err
    assert {row["optim"] for row in read_rows(out)} == {"adamw", "muon", "sgd"}


@pytest.mark.figures
def test_a_number_that_varied_makes_a_figure(cli: Cli) -> None:
    code, out, err = cli("detect", "-m", "data.contamination=0,0.05,0.1", "model=gaussian", *QUICK)
    assert code == 0, err
    assert "test/auroc against data.contamination: " in out
    assert (folder_of(out) / "sweep.png").stat().st_size > 10_000
    code, out, _ = cli("detect", "-m", "seed=0,1", "model=gaussian", *QUICK)
    assert "against" not in out
    assert not (folder_of(out) / "sweep.png").exists()


def test_an_experiment_may_set_its_summary_metrics(cli: Cli, workdir: Path) -> None:
    (workdir / "conf" / "experiment").mkdir(parents=True)
    mine = "# @package _global_\n# Mine\nprobes: false\nsummary_metrics: [test/ssim, test/squared_error]\n"
    (workdir / "conf" / "experiment" / "mine.yaml").write_text(mine)
    code, out, err = cli("reconstruct", "-m", "experiment=mine", "seed=0,1", "model=pca", "trainer=cpu")
    assert code == 0, err
    shown = out.split("2 runs")[1]
    assert "test/ssim" in shown and "test/squared_error" in shown and "test/mse" not in shown


# --- over the seeds, and over init --------------------------------------------------------------------------


def test_seeds_end_in_a_table_of_means(cli: Cli) -> None:
    code, out, err = cli("detect", "-m", "seed=0,1,2", "model=ae,gaussian", *QUICK)
    assert code == 0, err
    rows = read_rows(out)
    values = [float(row["test/fpr"]) for row in rows if row["model"] == "ae"]
    summary = {(row["model"], row["metric"]): row for row in read_rows(out, "seeds.csv")}
    assert len(summary) == 8  # two models, four summary metrics
    row = summary["ae", "test/fpr"]
    assert (row["n"], row["failed"], float(row["best"])) == ("3", "0", min(values))  # fewer false alarms are better
    assert float(row["mean"]) == pytest.approx(np.mean(values)) and float(row["median"]) == np.median(values)
    assert float(row["std"]) == pytest.approx(np.std(values, ddof=1))
    row = summary["gaussian", "test/auroc"]
    assert float(row["best"]) == max(float(row["test/auroc"]) for row in rows if row["model"] == "gaussian")
    assert "over the seeds" in out.split("6 runs")[1]


def test_failed_seeds_are_counted_and_left_out(cli: Cli) -> None:
    code, out, err = cli("detect", "-m", "seed=0,1", "data=breast_cancer,creditcard", "model=gaussian", *QUICK)
    assert code == 2, err
    summary = [(row["data"], row["metric"], row["n"], row["failed"]) for row in read_rows(out, "seeds.csv")]
    assert summary[0] == ("breast_cancer", "test/auroc", "2", "0")
    assert summary[-1] == ("creditcard", "", "0", "2")


def test_tasks_in_folders_are_choices(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)
    code, out, err = cli("finetune", "-m", "task=glue/rte,glue/wnli", "seed=0,1", "init=RUN")
    assert (code, err) == (0, "")
    assert [(row["task"], row["seed"], float(row["dev/accuracy"])) for row in read_rows(out)] == [
        ("glue/rte", "0", 62.2), ("glue/rte", "1", 63.2), ("glue/wnli", "0", 62.3), ("glue/wnli", "1", 63.3),
    ]  # fmt: skip
    assert [(row["task"], row["metric"], row["mean"]) for row in read_rows(out, "seeds.csv")] == [
        ("glue/rte", "dev/accuracy", "62.7"), ("glue/wnli", "dev/accuracy", "62.8"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "like"),
    [
        (["init=none,'a run'"], "a run"),
        (["init=RUN,none", "seed=0"], "RUN"),
        (["init=none,RUN", "like=OTHER"], "OTHER"),
        (["init=none,RUN,OTHER"], None),
        (["init=none,RUN", "model.size=tiny"], None),
        (["init=RUN,OTHER"], None),
        (["init=none", "seed=0,1"], None),
    ],
)
def test_from_scratch_has_the_shape_of_the_pretrained_run(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: list[str], like: str | None
) -> None:
    called = stand_in(monkeypatch)
    code, out, err = cli("finetune", "-m", "task=glue/rte", *words)
    assert (code, err) == (0, "")
    assert {cfg.like for cfg in called} == {like}
    is_said = like is not None and "like=OTHER" not in words
    assert (f"like={like}: with init=none, random weights in the same shape" in out) == is_said
