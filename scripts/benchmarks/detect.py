"""How fast `ssl detect` trains, beside PyOD, and how fast `ssl score` scores.

Training: the same auto-encoder on the same rows, from arrays to a trained model. The two take turns, so that a busy
machine slows both alike; figures are medians and ratios of medians. Scoring: a CSV in creditcard's layout, the sample
repeated to the 284,807 rows of the full file; and one ten times as long, for the memory it takes.
"""

import argparse
import contextlib
import gzip
import io
import os
import re
import statistics
import subprocess
import sys
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

from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.methods.scoring import score_rows
from ssl_cli.training.fit import fit, new_model

EXTRA = "pyod"  # scripts/bench installs it
SHARED = Path(os.environ.get("SSL_SHARED", Path(__file__).parents[3] / "shared")) / "data"
DATA = ["kddcup99", "creditcard"]
BATCH_SIZES = [256, 32]  # 32 is PyOD's default
SCORED = ["best", "residual_knn", "knn", "dae", "gaussian"]
CARD_ROWS = 284_807  # of Kaggle's file
TEST_ROWS = 20_000  # at most, drawn at random: what the two AUROCs are measured on
# The same network, D-64-32-64-D with relu, and the same optimizer, as PyOD's AutoEncoder has.
OURS = [
    "model=ae",
    "model.network.hidden=[64]",
    "model.network.latent=32",
    "model.network.activation=relu",
    "optim.optimizer._target_=torch.optim.Adam",
    "optim.lr=1e-3",
    "optim.weight_decay=1e-5",
    "optim.schedule=constant",
    "trainer=cpu",
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
    parser.add_argument("--only", choices=["training", "scoring"], help="one of the two parts")
    parser.add_argument("--models", nargs="+", default=SCORED, help="whose scoring is timed")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.only != "scoring":
        training_speed(options.rounds, options.epochs, options.rows)
    if options.only != "training":
        scoring_speed(options.rounds, options.models)


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
    cfg.facts = {"shape": [task.x.shape[1]]}

    with tempfile.TemporaryDirectory() as folder:

        def train() -> Scores:
            model = new_model(cfg)
            fit(model, ArrayDataset({"x": task.x}), ArrayDataset({"x": task.watched}), cfg, Path(folder))
            return lambda x: score_rows(model, x)

        return timed(train)


def train_pyods(settings: dict[str, Any], task: Task, batch_size: int, epochs: int) -> tuple[float, Scores]:
    def train() -> Scores:
        detector = AutoEncoder(batch_size=batch_size, epoch_num=epochs, random_state=0, device="cpu", **settings)
        return detector.fit(task.x).decision_function

    return timed(train)


# --- scoring --------------------------------------------------------------------------------------------------


def scoring_speed(rounds: int, models: list[str]) -> None:
    """Rows a second as `ssl score` says it, without its start-up; the peak memory of the whole process."""
    print(f"\nScoring: {CARD_ROWS:,} rows, medians of {rounds} rounds; memory also with ten times the rows.\n")
    print(
        "| `model=` | rows/s | peak memory, MB | ten times the rows: rows/s | peak memory, MB |\n|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as folder:
        whole, long = Path(folder) / "whole.csv", Path(folder) / "long.csv"
        write_cards(whole, CARD_ROWS)
        write_cards(long, 10 * CARD_ROWS)
        runs = {
            model: ssl(folder, "detect", f"model={model}", "data=creditcard", f"paths.data={SHARED}")[0]
            for model in models
        }
        turns = [{model: rate_and_memory(folder, run, whole) for model, run in runs.items()} for _ in range(rounds)]
        for model, run in runs.items():
            rates, peaks = zip(*(turn[model] for turn in turns), strict=True)
            rate, peak = rate_and_memory(folder, run, long)
            print(
                f"| {model} | {statistics.median(rates):,.0f} | {max(peaks):.0f} | {rate:,.0f} | {peak:.0f} |",
                flush=True,
            )


def write_cards(path: Path, n_rows: int) -> None:
    """The sample's lines, repeated to so many."""
    with gzip.open(SHARED / "creditcard_fraud" / "creditcard_sample.csv.gz") as file:
        header, *lines = file.read().splitlines()
    with path.open("wb") as out:
        out.write(header + b"\n")
        for start in range(0, n_rows, len(lines)):
            out.write(b"\n".join(lines[: n_rows - start]) + b"\n")


def rate_and_memory(folder: str, run: str, source: Path) -> tuple[float, float]:
    """Rows a second, and the peak memory in MB, of one `ssl score`."""
    said, peak = ssl(folder, "score", f"run={run}", f"input={source}", "output=scored.parquet", "overwrite=true")[1:]
    (rate,) = re.findall(r"([\d,]+) rows/s over", said)
    return float(rate.replace(",", "")), peak


def ssl(folder: str, *words: str) -> tuple[str, str, float]:
    """`ssl` as a process of its own: its last line, all that it said, and its peak memory in MB."""
    with (Path(folder) / "said.txt").open("w+") as said:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("ssl"), *words], cwd=folder, stdout=said, stderr=said
        )
        _, status, usage = os.wait4(process.pid, 0)
        said.seek(0)
        text = said.read()
    assert status == 0, text
    return text.strip().splitlines()[-1], text, usage.ru_maxrss / 1024


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
