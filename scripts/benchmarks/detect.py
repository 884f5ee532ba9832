"""How fast `ssl detect` is, beside PyOD: the same auto-encoder on the same rows, from arrays to a trained model.

The two take turns, so that a busy machine slows both alike; figures are medians and ratios of medians.
"""

import argparse
import contextlib
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from pyod.models.auto_encoder import AutoEncoder
from sklearn.metrics import roc_auc_score

from ssl_cli.catalog import built_in_conf
from ssl_cli.config import build
from ssl_cli.fitting import fit, new_model
from ssl_cli.scoring import score_rows

EXTRA = "pyod"  # scripts/bench installs it
SHARED = Path(os.environ.get("SSL_SHARED", Path(__file__).parents[3] / "shared")) / "data"
DATA = ["kddcup99", "creditcard"]
BATCH_SIZES = [256, 32]  # 32 is PyOD's default
TEST_ROWS = 20_000  # at most, drawn at random: what the two AUROCs are measured on
# The same network, D-64-32-64-D with relu, and the same optimizer, as PyOD's AutoEncoder has.
OURS = [
    *("model=ae", "model.network.hidden=[64]", "model.network.latent=32", "model.network.activation=relu"),
    *(
        "optim.algorithm._target_=torch.optim.Adam",
        "optim.lr=1e-3",
        "optim.weight_decay=1e-5",
        "optim.schedule=constant",
    ),
    *("trainer=cpu", "verb=detect"),
]
# What PyOD's has and ours hasn't: batch normalisation, dropout, and the standardising of each row as it is drawn (these
# rows are standardised already). "As it comes" keeps them, "same network" leaves them out. In both a relu follows the
# code, in ours none.
AS_IT_COMES = {"hidden_neuron_list": [64, 32], "verbose": 0}
SAME_NETWORK = AS_IT_COMES | {"batch_norm": False, "dropout_rate": 0, "preprocessing": False}


Scores = Callable[[np.ndarray], np.ndarray]  # (N, D) -> (N,)


@dataclass
class Task:
    """Training rows (N, D), rows for the validation curve (M, D), and test rows with their labels."""

    name: str
    x: np.ndarray
    watched: np.ndarray
    test: np.ndarray
    anomaly: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds, after one of a single epoch")
    parser.add_argument("--epochs", type=int, default=3, help="passes over the training rows")
    parser.add_argument("--rows", type=int, default=50_000, help="training rows; a table with fewer is repeated")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="torch's threads, for both")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    training_speed(options.rounds, options.epochs, options.rows)


# --- training -------------------------------------------------------------------------------------------------


def training_speed(rounds: int, epochs: int, n_rows: int) -> None:
    """PyOD's fit ends with a scoring of its training rows: one ratio leaves that out."""
    print(
        f"Training: {n_rows:,} rows, {epochs} epochs, {torch.get_num_threads()} threads, medians of {rounds} rounds.\n"
    )
    print("| | ssl | PyOD, same network | | without its scoring | PyOD as it comes | | AUROC | | |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for task in [read(name, n_rows) for name in DATA]:
        for size in BATCH_SIZES:
            sides = [train_ours, partial(train_pyods, SAME_NETWORK), partial(train_pyods, AS_IT_COMES)]
            for side in sides:
                side(task, size, 1)
            turns = [[side(task, size, epochs) for side in sides] for _ in range(rounds)]
            seconds = [statistics.median(turn[which][0] for turn in turns) for which in range(len(sides))]
            auroc = [roc_auc_score(task.anomaly, score(task.test)) for _, score in turns[0]]
            scoring, _ = timed(lambda score=turns[0][1][1], x=task.x: score(x))
            ours, same, as_it_comes = seconds
            ranks = " | ".join(f"{value:.4f}" for value in auroc)
            print(
                f"| {task.name}, {task.x.shape[1]} features, batches of {size} | {ours:.2f} s "
                f"| {same:.2f} s | **{same / ours:.2f}** | {(same - scoring) / ours:.2f} "
                f"| {as_it_comes:.2f} s | **{as_it_comes / ours:.2f}** | {ranks} |",
                flush=True,
            )


def read(name: str, n_rows: int) -> Task:
    """A data set as `ssl detect` prepares it, with seed 0."""
    cfg = composed(f"data={name}", f"paths.data={SHARED}")
    splits = build(cfg.data).prepare(cfg.seed).splits
    x, test = splits["train"].x, splits["test"]
    some = np.random.default_rng(0).permutation(len(test.x))[:TEST_ROWS]
    return Task(name, np.resize(x, (n_rows, x.shape[1])), splits["calibration"].x, test.x[some], test.anomaly[some])


def train_ours(task: Task, batch_size: int, epochs: int) -> tuple[float, Scores]:
    """By the code that `ssl detect` runs, validation, history and checkpoints with it."""
    cfg = composed(*OURS, f"trainer.batch_size={batch_size}", f"trainer.max_epochs={epochs}")
    cfg.facts = {"n_features": task.x.shape[1]}

    def train() -> Scores:
        model = new_model(cfg)
        fit(model, task.x, task.watched, cfg, Path(folder))
        return lambda x: score_rows(model, x)

    with tempfile.TemporaryDirectory() as folder:
        return timed(train)


def train_pyods(settings: dict[str, Any], task: Task, batch_size: int, epochs: int) -> tuple[float, Scores]:
    def train() -> Scores:
        detector = AutoEncoder(batch_size=batch_size, epoch_num=epochs, random_state=0, device="cpu", **settings)
        return detector.fit(task.x).decision_function

    return timed(train)


def composed(*overrides: str) -> DictConfig:
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("detect", list(overrides))
    OmegaConf.set_struct(cfg, False)
    return cfg


def timed(work: Callable[[], Scores]) -> tuple[float, Scores]:
    """The seconds that some work takes, and what it returns."""
    with contextlib.redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        result = work()
        return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
