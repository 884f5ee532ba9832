"""Other sweepers and launchers of Hydra: Optuna, joblib, submitit."""

import os
import signal
from pathlib import Path

import pytest

from ssl_cli.cli.launch import _hydra
from ssl_cli.cli.sweeps.sweep import _optuna_options
from ssl_cli.runs.table import is_lower_better
from tests.conftest import run_ssl
from tests.helpers.processes import DEADLINE_S, run, start, wait_for
from tests.helpers.sweeps import SMALL, newest_table

EXTRA = "needs the extra sweep: pip install 'ssl-cli[sweep]'"


@pytest.mark.parametrize(
    ("words", "direction"),
    [
        (["experiment=vae_mnist_nll", "optim.lr=choice(1e-3,1e-2)"], "minimize"),  # test/nll
        (["experiment=onehot_mnist"], "maximize"),  # test/majority_accuracy
        (["experiment=choice(vae_mnist_nll,onehot_mnist)"], "minimize"),  # the verb's default: test/mse
        (["model=vqvae", "sweep.metric=test/perplexity"], "maximize"),  # of a codebook: the more codes the better
        (["sweep.metric=val/perplexity"], "maximize"),
        (["sweep.metric=test/bits_per_dim"], "minimize"),
    ],
)
def test_optuna_is_given_the_better_direction(words: list[str], direction: str) -> None:
    with _hydra("reconstruct") as hydra:
        assert _optuna_options(hydra, words, "reconstruct")[0] == f"hydra.sweeper.direction={direction}"
    assert is_lower_better("test/perplexity", "detect")


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
    assert [row["model"] for row in newest_table(workdir / "outputs")] == ["gaussian", "mine", "dae"]
    again = run_ssl("detect", "-m", *words, "sweep.skip_done=true", cwd=workdir)
    assert again.stdout.count("skipped: ") == 3


@pytest.mark.long
def test_a_killed_process_of_a_joblib_sweep_is_reported(workdir: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason=EXTRA)
    words = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "model=gaussian,dae", "trainer.max_steps=1000000"]
    process = start("detect", "-m", *words, "trainer=cpu", cwd=workdir)
    wait_for(lambda: list(workdir.glob("outputs/detect/dae-*/*/history.csv")), process)
    pids = run(["pgrep", "-f", "LokyProcess", "-P", str(process.pid)])
    os.kill(int(pids.stdout.split()[0]), signal.SIGKILL)
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 2
    assert "A process of this sweep died, so it is incomplete; the same command with sweep.skip_done=true" in err


@pytest.mark.long
def test_optuna_looks_for_the_best_and_survives_failures(workdir: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason=EXTRA)
    words = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=6", "hydra.sweeper.sampler.seed=1", "model=ae", *SMALL]
    done = run_ssl("detect", "-m", *words, "optim.lr=choice(1e-4,1e-2,1e9)", cwd=workdir)
    rows = newest_table(workdir / "outputs")
    assert len(rows) == 6
    failed = [row for row in rows if row["error"]]
    assert failed and done.returncode == 2
    assert all(float(row["optim.lr"]) == 1e9 and "The loss became NaN" in row["error"] for row in failed)
    best = max((row for row in rows if not row["error"]), key=lambda row: float(row["test/auroc"]))
    assert f"best value {float(best['test/auroc']):.4f}, with optim.lr={best['optim.lr']}" in done.stdout
    assert "Error executing job" not in done.stderr and "Traceback" not in done.stderr
    done = run_ssl("detect", "-m", *words, "optim.lr=choice(1e9,1e10)", cwd=workdir)
    assert done.returncode == 2 and "Traceback" not in done.stderr


@pytest.mark.long
def test_submitit_runs_separate_jobs(workdir: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_submitit_launcher", reason=EXTRA)
    words = ["hydra/launcher=submitit_local", "model=gaussian,knn", "data=breast_cancer,creditcard", *SMALL]
    done = run_ssl("detect", "-m", *words, cwd=workdir)
    assert done.returncode == 2, done.stderr
    errors = [row["error"][:40] for row in newest_table(workdir / "outputs")]
    assert errors == ["", "data/creditcard_fraud/creditcard.csv is m"[:40]] * 2
