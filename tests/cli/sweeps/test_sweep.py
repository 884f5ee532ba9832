"""Sweeps: every combination, one table, failures with their reason."""

import csv
import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest

from ssl_cli.cli.launch import _hydra
from ssl_cli.cli.sweeps.sweep import _optunas
from ssl_cli.runs.table import less_is_better
from tests.conftest import QUICK, Cli, run_ssl
from tests.helpers.suite_runs import stand_in
from tests.training.test_interruption import start, wait_for


def rows(out: str, name: str = "sweep.csv") -> list[dict[str, str]]:
    folder = Path(out.strip().splitlines()[-1])
    with (folder / name).open(newline="") as file:
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
    words = ["data.train=polluted", "data.pollution=0,0.05,0.1", "model=gaussian,knn"]
    code, out, err = cli("detect", "-m", *words, *QUICK)
    assert code == 0, err
    assert "test/auroc against data.pollution: " in out
    assert (Path(out.strip().splitlines()[-1]) / "sweep.png").stat().st_size > 10_000
    code, out, _ = cli("detect", "-m", "seed=0,1,2", "model=gaussian", *QUICK)
    assert "against" not in out
    assert not (Path(out.strip().splitlines()[-1]) / "sweep.png").exists()


def test_an_experiment_has_a_headline_of_its_own(cli: Cli, workdir: Path) -> None:
    (workdir / "conf" / "experiment").mkdir(parents=True)
    mine = "# @package _global_\n# Mine\nprobes: false\nheadline: [test/ssim, test/squared_error]\n"
    (workdir / "conf" / "experiment" / "mine.yaml").write_text(mine)
    code, out, err = cli("reconstruct", "-m", "experiment=mine", "seed=0,1", "model=pca", "trainer=cpu")
    assert code == 0, err
    shown = out.split("2 runs")[1]
    assert "test/ssim" in shown and "test/squared_error" in shown and "test/mse" not in shown


# --- over the seeds, and from several starts ----------------------------------------------------------------


def test_seeds_end_in_a_table_of_means(cli: Cli) -> None:
    code, out, err = cli("detect", "-m", "seed=0,1,2", "model=iforest,gaussian", *QUICK)
    assert code == 0, err
    values = [float(row["test/fpr"]) for row in rows(out) if row["model"] == "iforest"]
    over = {(row["model"], row["metric"]): row for row in rows(out, "seeds.csv")}
    assert len(over) == 8  # two models, four summary_metrics metrics
    row = over["iforest", "test/fpr"]
    assert (row["n"], row["failed"], float(row["best"])) == ("3", "0", min(values))  # of false alarms less is better
    assert float(row["mean"]) == pytest.approx(np.mean(values)) and float(row["median"]) == np.median(values)
    assert float(row["std"]) == pytest.approx(np.std(values, ddof=1))
    row = over["gaussian", "test/auroc"]
    assert float(row["best"]) == max(float(row["test/auroc"]) for row in rows(out) if row["model"] == "gaussian")
    assert "over the seeds" in out.split("6 runs")[1]


def test_failed_seeds_are_counted_and_left_out(cli: Cli) -> None:
    code, out, err = cli("detect", "-m", "seed=0,1", "data=breast_cancer,creditcard", "model=gaussian", *QUICK)
    assert code == 2, err
    over = [(row["data"], row["metric"], row["n"], row["failed"]) for row in rows(out, "seeds.csv")]
    assert over[0] == ("breast_cancer", "test/auroc", "2", "0")
    assert over[-1] == ("creditcard", "", "0", "2")


def test_tasks_in_folders_are_choices(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch)
    code, out, err = cli("finetune", "-m", "task=glue/rte,glue/wnli", "seed=0,1", "init=RUN")
    assert (code, err) == (0, "")
    assert [(row["task"], row["seed"], float(row["dev/accuracy"])) for row in rows(out)] == [
        ("glue/rte", "0", 62.2), ("glue/rte", "1", 63.2), ("glue/wnli", "0", 62.3), ("glue/wnli", "1", 63.3),
    ]  # fmt: skip
    assert [(row["task"], row["metric"], row["mean"]) for row in rows(out, "seeds.csv")] == [
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
def test_from_scratch_is_compared_in_the_shape_of_the_other_start(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, words: list[str], like: str | None
) -> None:
    called = stand_in(monkeypatch)
    code, out, err = cli("finetune", "-m", "task=glue/rte", *words)
    assert (code, err) == (0, "")
    assert {cfg.like for cfg in called} == {like}
    assert (f"like={like}: with init=none, random weights" in out) == (like is not None and "like=OTHER" not in words)


# --- Optuna -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "way"),
    [
        (["experiment=vae_mnist_nll", "optim.lr=choice(1e-3,1e-2)"], "minimize"),  # test/nll
        (["experiment=onehot_mnist"], "maximize"),  # test/majority_accuracy
        (["experiment=choice(vae_mnist_nll,onehot_mnist)"], "minimize"),  # the verb's own: test/mse
        (["model=vqvae", "sweep.metric=test/perplexity"], "maximize"),  # of a codebook: as many codes as can be
        (["sweep.metric=val/perplexity"], "maximize"),
        (["sweep.metric=test/bits_per_dim"], "minimize"),
    ],
)
def test_optuna_is_told_which_way_is_better(words: list[str], way: str) -> None:
    with _hydra("reconstruct") as hydra:
        assert _optunas(hydra, words, "reconstruct")[0] == f"hydra.sweeper.direction={way}"
    assert less_is_better("test/perplexity", "detect")


# --- sweeps that are cut off --------------------------------------------------------------------------------

SMALL = ["trainer=cpu", "trainer.max_steps=40", "trainer.checkpoint_every_n_steps=10", "bootstrap_samples=20"]


def table(outputs: Path) -> list[dict[str, str]]:
    """The rows of the newest sweep, but for the folder of each run, which is named after the time."""
    newest = max(outputs.glob("detect/sweeps/*"), key=lambda path: path.stat().st_mtime_ns)
    with (newest / "sweep.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    for row in found:
        if run := row.pop("run"):
            assert (outputs.parent / run / "metrics.json").is_file()
    return found


def killed_and_started_again(workdir: Path, words: list[str], after: int) -> str:
    """Kill a sweep into `killed` in the run after `after` others; start it again. Returns what it said then."""

    def begun() -> list[Path]:
        checkpoints = workdir.glob("killed/detect/*/*/last.ckpt")
        return [path for path in checkpoints if not (path.parent / "metrics.json").exists()]

    process = start("detect", "-m", *words, "paths.outputs=killed", cwd=workdir)
    wait_for(lambda: len(list(workdir.glob("killed/detect/*/*/metrics.json"))) >= after and begun(), process)
    process.kill()
    process.wait()
    again = run_ssl("detect", "-m", *words, "paths.outputs=killed", "sweep.skip_done=true", cwd=workdir)
    assert again.returncode in (0, 2), again.stderr
    return again.stdout


def test_a_killed_sweep_goes_on_and_ends_in_the_same_table(workdir: Path) -> None:
    words = ["model=ae,dae", "seed=0,1", *SMALL, "trainer.max_steps=400"]
    assert run_ssl("detect", "-m", *words, "paths.outputs=whole", cwd=workdir).returncode == 0
    said = killed_and_started_again(workdir, words, after=2)
    assert said.count("skipped: killed/detect/") >= 2
    assert said.count("which was begun and not finished") == 1 and "going on from step" in said
    assert table(workdir / "killed") == table(workdir / "whole")
    assert len(table(workdir / "whole")) == 4


@pytest.mark.long
def test_forty_small_runs_killed_half_way_end_in_the_same_table(workdir: Path) -> None:
    # The networks fail with optim.lr=1e9: failures are rows of the table, too.
    words = ["model=ae,gaussian,knn,dae,vae", "seed=0,1,2,3", "optim.lr=1e-3,1e9", *SMALL]
    whole = run_ssl("detect", "-m", *words, "paths.outputs=whole", cwd=workdir)
    assert whole.returncode == 2, whole.stderr
    said = killed_and_started_again(workdir, words, after=15)
    assert said.count("skipped: ") >= 15
    one, two = table(workdir / "whole"), table(workdir / "killed")
    assert len(one) == 40
    assert any(row["error"] for row in one) and any(not row["error"] for row in one)
    assert one == two


def test_ctrl_c_shows_what_is_done_and_says_how_to_go_on(workdir: Path) -> None:
    process = start("detect", "-m", "model=gaussian,dae", "trainer=cpu", "trainer.max_steps=1000000", cwd=workdir)
    wait_for(lambda: list(workdir.glob("outputs/detect/dae-*/*/history.csv")), process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the sweep is not whole; the same command with sweep.skip_done=true goes on with it" in err
    assert "1 run (" in out
    (cut,) = workdir.glob("outputs/detect/dae-*/*")
    assert (cut / "last.ckpt").is_file()  # at a step that no interval would have saved
    assert json.loads((cut / "environment.json").read_text())["ended"]["state"] == "stopped"
    assert len(table(workdir / "outputs")) == 1


def test_what_is_done_is_told_by_config_and_data(cli: Cli, workdir: Path) -> None:
    (workdir / "t.csv").write_text("a,b\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(60)))
    words = ["-m", "data=table", "data.file=t.csv", "model=gaussian", "sweep.skip_done=true", *QUICK]

    def skipped(*more: str) -> int:
        code, out, err = cli("detect", *words, *more)
        assert code == 0, err
        return out.count("skipped: ")

    assert skipped("seed=0,1") == 0
    assert skipped("seed=0,1,2") == 2
    assert skipped("seed=0,1,2") == 3
    assert skipped("seed=0,1,2", "fpr=0.02") == 0
    assert skipped("seed=0", "model=gaussian,iforest") == 1
    (workdir / "t.csv").write_text((workdir / "t.csv").read_text() + "3,3\n")
    assert skipped("seed=0,1,2") == 0
    _, out, _ = cli("detect", *words, "seed=0,1", "sweep.skip_done=false")
    assert "skipped" not in out


# --- Hydra's other sweepers and launchers ---------------------------------------------------------------------

EXTRA = "needs the extra sweep: pip install 'ssl-cli[sweep]'"


@pytest.mark.long
def test_joblib_runs_two_at_once(workdir: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason=EXTRA)
    (workdir / "mine.py").write_text(
        "from ssl_cli.methods.detectors.gaussian import Gaussian\n\n\nclass Mine(Gaussian):\n    pass\n"
    )
    (workdir / "conf" / "model").mkdir(parents=True)
    (workdir / "conf" / "model" / "mine.yaml").write_text("# Mine\n_target_: mine.Mine\nridge: 0.1\n")
    words = ["model=gaussian,mine,dae", "optim.lr=1e-3", *SMALL]
    done = run_ssl("detect", "-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *words, cwd=workdir)
    assert done.returncode == 0, done.stderr
    found = table(workdir / "outputs")
    assert [row["model"] for row in found] == ["gaussian", "mine", "dae"]
    again = run_ssl("detect", "-m", *words, "sweep.skip_done=true", cwd=workdir)
    assert again.stdout.count("skipped: ") == 3


@pytest.mark.long
def test_a_killed_process_of_a_joblib_sweep_is_said(workdir: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason=EXTRA)
    words = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "model=gaussian,dae", "trainer.max_steps=1000000"]
    process = start("detect", "-m", *words, "trainer=cpu", cwd=workdir)
    wait_for(lambda: list(workdir.glob("outputs/detect/dae-*/*/history.csv")), process)
    found = subprocess.run(["pgrep", "-f", "LokyProcess", "-P", str(process.pid)], capture_output=True, text=True)
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "A process of this sweep died, so it is not whole; the same command with sweep.skip_done=true" in err


@pytest.mark.long
def test_optuna_looks_for_the_best_and_survives_failures(workdir: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason=EXTRA)
    words = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=6", "hydra.sweeper.sampler.seed=1", "model=ae", *SMALL]
    done = run_ssl("detect", "-m", *words, "optim.lr=choice(1e-4,1e-2,1e9)", cwd=workdir)
    found = table(workdir / "outputs")
    assert len(found) == 6
    failed = [row for row in found if row["error"]]
    assert failed and done.returncode == 2
    assert all(float(row["optim.lr"]) == 1e9 and "The loss became NaN" in row["error"] for row in failed)
    best = max((row for row in found if not row["error"]), key=lambda row: float(row["test/auroc"]))
    assert f"best value {float(best['test/auroc']):.4f}, with optim.lr={best['optim.lr']}" in done.stdout
    assert "Error executing job" not in done.stderr and "Traceback" not in done.stderr
    done = run_ssl("detect", "-m", *words, "optim.lr=choice(1e9,1e10)", cwd=workdir)
    assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.mark.long
def test_submitit_runs_jobs_of_its_own(workdir: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason=EXTRA)
    words = ["hydra/launcher=submitit_local", "model=gaussian,knn", "data=breast_cancer,creditcard", *SMALL]
    done = run_ssl("detect", "-m", *words, cwd=workdir)
    assert done.returncode == 2, done.stderr
    found = table(workdir / "outputs")
    assert [row["error"][:40] for row in found] == ["", "data/creditcard_fraud/creditcard.csv is m"[:40]] * 2
