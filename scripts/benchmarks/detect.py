"""Speed of `ssl detect` in training, beside PyOD, and of `ssl score`.

Training: the same auto-encoder on the same rows, from arrays to a trained model. The two take turns, so that a busy
machine slows both equally; figures are medians and ratios of medians. Scoring: a CSV in creditcard's layout, the sample
repeated to the 284,807 rows of the full file; and one ten times as long, to see whether memory grows.
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
from ssl_cli.methods.build import new_model
from ssl_cli.methods.scoring import score_rows
from ssl_cli.training.fit import fit

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
# PyOD's has batch normalisation, dropout, and standardizes each row when it is drawn; ours does not (the rows are
# standardized already). "As it comes" keeps them, "same network" leaves them out. In both of these a relu follows the
# code; in ours it does not.
AS_IT_COMES = {"hidden_neuron_list": [64, 32], "verbose": 0}
SAME_NETWORK = AS_IT_COMES | {"batch_norm": False, "dropout_rate": 0, "preprocessing": False}


Scores = Callable[[np.ndarray], np.ndarray]  # (N, D) -> (N,)


@dataclass
class Task:
    """Training rows `x` (N, D), rows for the validation curve `val` (M, D), and test rows with their labels."""

    name: str
    x: np.ndarray
    val: np.ndarray
    test: np.ndarray
    anomaly: np.ndarray


def main() -> None:
    """Run the command line."""
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
    """Print a table of training times. PyOD's fit ends by scoring its training rows: one ratio leaves that out."""
    print(
        f"Training: {n_rows:,} rows, {epochs} epochs, {torch.get_num_threads()} threads, medians of {rounds} rounds.\n"
    )
    print("| | ssl | PyOD, same network | | without its scoring | PyOD as it comes | | AUROC | | |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for task in [read(name, n_rows) for name in DATA]:
        for size in BATCH_SIZES:
            sides = [train_ours, partial(train_pyod, SAME_NETWORK), partial(train_pyod, AS_IT_COMES)]
            for side in sides:
                side(task, size, 1)
            turns = [[side(task, size, epochs) for side in sides] for _ in range(rounds)]
            seconds = [statistics.median(turn[k][0] for turn in turns) for k in range(len(sides))]
            auroc = [roc_auc_score(task.anomaly, score(task.test)) for _, score in turns[0]]
            scoring, _ = timed(partial(turns[0][1][1], task.x))
            ours, same, as_it_comes = seconds
            ranks = " | ".join(f"{value:.4f}" for value in auroc)
            print(
                f"| {task.name}, {task.x.shape[1]} features, batches of {size} | {ours:.2f} s "
                f"| {same:.2f} s | **{same / ours:.2f}** | {(same - scoring) / ours:.2f} "
                f"| {as_it_comes:.2f} s | **{as_it_comes / ours:.2f}** | {ranks} |",
                flush=True,
            )


def read(name: str, n_rows: int) -> Task:
    """Return a data set as `ssl detect` prepares it, with seed 0."""
    cfg = composed(f"data={name}", f"paths.data={SHARED}")
    splits = build(cfg.data).one_class_splits(cfg.seed).splits
    x, test = splits["train"].x, splits["test"]
    drawn = np.random.default_rng(0).permutation(len(test.x))[:TEST_ROWS]
    return Task(name, np.resize(x, (n_rows, x.shape[1])), splits["calibration"].x, test.x[drawn], test.anomaly[drawn])


def train_ours(task: Task, batch_size: int, epochs: int) -> tuple[float, Scores]:
    """Train by the code that `ssl detect` runs, with validation, history and checkpoints."""
    cfg = composed(*OURS, f"trainer.batch_size={batch_size}", f"trainer.max_epochs={epochs}")
    cfg.facts = {"shape": [task.x.shape[1]], "categories": []}

    with tempfile.TemporaryDirectory() as folder:

        def train() -> Scores:
            model = new_model(cfg)
            fit(model, ArrayDataset({"x": task.x}), ArrayDataset({"x": task.val}), cfg, Path(folder))
            return lambda x: score_rows(model, x)

        return timed(train)


def train_pyod(settings: dict[str, Any], task: Task, batch_size: int, epochs: int) -> tuple[float, Scores]:
    """Train PyOD's AutoEncoder; returns the seconds, and its score function."""

    def train() -> Scores:
        detector = AutoEncoder(batch_size=batch_size, epoch_num=epochs, random_state=0, device="cpu", **settings)
        return detector.fit(task.x).decision_function

    return timed(train)


# --- scoring --------------------------------------------------------------------------------------------------


def scoring_speed(rounds: int, models: list[str]) -> None:
    """Print rows per second as `ssl score` reports them, without its start, and peak memory of the whole process."""
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
    """Write the lines of the sample, repeated to `n_rows`."""
    with gzip.open(SHARED / "creditcard_fraud" / "creditcard_sample.csv.gz") as file:
        header, *lines = file.read().splitlines()
    with path.open("wb") as out:
        out.write(header + b"\n")
        for start in range(0, n_rows, len(lines)):
            out.write(b"\n".join(lines[: n_rows - start]) + b"\n")


def rate_and_memory(folder: str, run: str, source: Path) -> tuple[float, float]:
    """Return the rows per second and the peak memory in MB of one `ssl score`."""
    output, peak = ssl(folder, "score", f"run={run}", f"input={source}", "output=scored.parquet", "overwrite=true")[1:]
    (rate,) = re.findall(r"([\d,]+) rows/s over", output)
    return float(rate.replace(",", "")), peak


def ssl(folder: str, *words: str) -> tuple[str, str, float]:
    """Run `ssl` in a new process; returns its last line, its whole output, and its peak memory in MB."""
    with (Path(folder) / "output.txt").open("w+") as output:
        process = subprocess.Popen(
            [Path(sys.executable).with_name("ssl"), *words], cwd=folder, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        output.seek(0)
        text = output.read()
    assert status == 0, text
    return text.strip().splitlines()[-1], text, usage.ru_maxrss / 1024


def composed(*overrides: str) -> DictConfig:
    """Return the config of `ssl detect` with overrides."""
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("detect", list(overrides))
    OmegaConf.set_struct(cfg, False)
    return cfg


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds that some work takes, and its result."""
    with contextlib.redirect_stdout(io.StringIO()):
        started = time.perf_counter()
        result = work()
        return time.perf_counter() - started, result


if __name__ == "__main__":
    main()
