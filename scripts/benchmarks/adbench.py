"""Detection quality of `ssl detect` beside PyOD: every detector on the sets of ADBench, or on the named tables.

Clean protocol: half of the normal rows are for fitting (a tenth of them to calibrate); the other half and all anomalies
are for the test. Of ADBench at most 20,000 normal rows of a set are used, drawn by the seed, so at most 10,000 are for
fitting and 10,000 for the test. Recipes were chosen on the sets in CHOOSING, which were fixed before any was tried; the
other sets report.

    scripts/bench adbench                                    all detectors, all sets, 3 seeds
    scripts/bench adbench --on tables                        creditcard, kddcup99, nslkdd, ... whole
    scripts/bench adbench --models best knn --seeds 0        a quick look

Results go to a CSV, with a line for each set, seed and detector. Lines that exist already are not computed again.
"""

import argparse
import csv
import io
import operator
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread per process, and a process per core

import numpy as np
import pyarrow as pa
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from reports.adbench import BASELINE, FPR, print_adbench, print_tables, set_number
from sklearn.metrics import average_precision_score, roc_auc_score

from ssl_cli.commands.detect.calibration import out_of_fold
from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.one_class import OneClassData
from ssl_cli.data.tables.one_class import LabelledTable
from ssl_cli.evaluation.conformal import p_values
from ssl_cli.methods.build import new_model
from ssl_cli.methods.scoring import score_rows
from ssl_cli.training.fit import fit

EXTRA = "pyod"  # scripts/bench installs it
SHARED = Path(os.environ.get("SSL_SHARED", Path(__file__).parents[3] / "shared")) / "data"
MAX_NORMAL_ROWS = 20_000  # rows of a set
OURS = ["best", "residual_knn", "dae", "ae", "vae", "gaussian", "5-NN", "DTE-NP", "iforest", "ocsvm"]
OPTIONS = {  # of the detectors whose name is not that of a model
    "5-NN": ["model=knn", "model.distance=kth"],
    "DTE-NP": ["model=knn", "model.distance=mean_squared"],
    "best without margins": ["model=best", "model.margins=null"],
}
HANDBOOK = [
    "data=table",
    f"data.file={SHARED}/fraud_handbook/transactions_2018-07-11_2018-08-14.csv.gz",
    "data.label=TX_FRAUD",
]
TABLES = {
    **{name: [f"data={name}"] for name in ("breast_cancer", "creditcard", "kddcup99", "nslkdd", "paysim")},
    "fraud_handbook": [*HANDBOOK, "data.drop=[TRANSACTION_ID,TX_FRAUD_SCENARIO]"],
}


def pyod_autoencoder(n_rows: int, seed: int) -> Any:
    """Return PyOD's AutoEncoder with its defaults; a batch can't have more rows than there are."""
    from pyod.models.auto_encoder import AutoEncoder

    return AutoEncoder(random_state=seed, verbose=0, batch_size=min(32, n_rows))


def pyod_ecod(*_: int) -> Any:
    """Return PyOD's ECOD, which needs neither the number of rows nor a seed."""
    from pyod.models.ecod import ECOD

    return ECOD()


# Used as PyOD's users do: all test rows in one call, which affects the result of ECOD.
PEERS: dict[str, Callable[[int, int], Any]] = {"PyOD AutoEncoder": pyod_autoencoder, "PyOD ECOD": pyod_ecod}


@dataclass(frozen=True)
class Task:
    """A set, a seed and a detector. `cap`: most normal rows of the set; `cross`: cross-fitted calibration.

    `read` returns the table of the config's data; what it is given may be replaced.
    """

    name: str
    overrides: tuple[str, ...]
    cap: int | None
    seed: int
    model: str
    cross: bool
    read: Callable[[Any], LabelledTable] = operator.methodcaller("read")

    @property
    def key(self) -> tuple[str, str, str]:
        """Return what identifies its line of the CSV: set, seed and detector."""
        return self.name, str(self.seed), self.model + " (cross)" * self.cross


def measure(task: Task) -> dict[str, Any]:
    """Fit on the training rows, score the others, and return a line of the CSV."""
    import torch

    torch.set_num_threads(1)
    model = ["model=knn"] if task.model in PEERS else OPTIONS.get(task.model, [f"model={task.model}"])
    words = [*task.overrides, *model, f"seed={task.seed}", "trainer=cpu", f"paths.data={SHARED}"]
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("detect", words)
    OmegaConf.set_struct(cfg, False)
    cfg.choices = {"model": task.model, "data": task.name}
    data = prepare(cfg, task)
    cfg.facts = data.facts
    train, test = data.splits["train"].x, data.splits["test"]
    started = time.perf_counter()
    with redirect_stdout(io.StringIO()):
        score = fitted(task, cfg, train, data)
    fit_s = time.perf_counter() - started
    started = time.perf_counter()
    scores = score(test.x)
    score_s = time.perf_counter() - started
    held_out = data.splits.get("calibration")
    with TemporaryDirectory() as folder, redirect_stdout(io.StringIO()):
        calibration = (
            out_of_fold(ArrayDataset({"x": train}), None, cfg, Path(folder)).scores
            if held_out is None
            else score(held_out.x)
        )
    is_anomaly = test.anomaly
    assert is_anomaly is not None
    name, seed, detector = task.key
    flagged = p_values(calibration, scores[~is_anomaly]) <= FPR
    return {
        "set": name,
        "seed": seed,
        "model": detector,
        "auroc": roc_auc_score(is_anomaly, scores),
        "auprc": average_precision_score(is_anomaly, scores),
        "fit_s": round(fit_s, 2),
        "score_s": round(score_s, 2),
        "train": len(train),
        "calibration": len(calibration),
        "normal": int((~is_anomaly).sum()),
        "anomalies": int(is_anomaly.sum()),
        "flagged": int(flagged.sum()),
    }


def prepare(cfg: DictConfig, task: Task) -> OneClassData:
    """Return the splits of a set, with at most `task.cap` normal rows."""
    data = build(cfg.data)
    table: LabelledTable = task.read(data)
    if task.cap is not None:
        assert table.anomaly is not None
        normal = np.flatnonzero(~table.anomaly)
        drawn = np.random.default_rng([task.seed, 26]).permutation(normal)[: task.cap]
        rows = np.sort(np.concatenate([drawn, np.flatnonzero(table.anomaly)]))
        table = replace(table, columns=table.columns.take(pa.array(rows)), anomaly=table.anomaly[rows], row=rows)
    data.read = lambda: table
    return data.one_class_splits(task.seed, hold_out=not task.cross)


def fitted(task: Task, cfg: DictConfig, train: np.ndarray, data: OneClassData) -> Callable[[np.ndarray], np.ndarray]:
    """Fit the detector and return its score function: rows (N, D) -> scores (N,)."""
    if task.model in PEERS:
        peer = PEERS[task.model](len(train), task.seed)
        peer.fit(train)
        return peer.decision_function
    model = new_model(cfg)
    with TemporaryDirectory() as folder:
        val = data.splits.get("calibration", data.splits["train"])
        fit(model, ArrayDataset({"x": train}), ArrayDataset({"x": val.x}), cfg, Path(folder))
    return lambda x: score_rows(model, x)


# --- all tasks ----------------------------------------------------------------------------------------------


def tasks(arguments: argparse.Namespace) -> Iterator[Task]:
    """Yield the tasks that the command line asks for."""
    sets: dict[str, tuple[tuple[str, ...], int | None]]
    if arguments.on == "tables":
        sets = {name: (tuple(words), None) for name, words in TABLES.items()}
    else:
        names = sorted((path.stem for path in (SHARED / "adbench").glob("*.npz")), key=set_number)
        sets = {name: (("data=adbench", f"data.name={name}"), MAX_NORMAL_ROWS) for name in names}
    for seed in arguments.seeds:
        for name, (words, cap) in sets.items():
            for model in dict.fromkeys([*arguments.models, BASELINE]):
                yield Task(name, words, cap, seed, model, cross=False)
            for model in arguments.cross:
                yield Task(name, words, cap, seed, model, cross=True)


def run(wanted: list[Task], path: Path, jobs: int) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return the line of each wanted task, from the CSV if it is there."""
    done = read(path)
    missing = [task for task in wanted if task.key not in done]
    path.parent.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(jobs) as pool, path.open("a", newline="") as file:
        writer = None
        for count, row in enumerate(pool.map(measure, missing), 1):
            if writer is None:
                writer = csv.DictWriter(file, list(row))
                if not done:
                    writer.writeheader()
            writer.writerow(row)
            file.flush()
            print(f"{count}/{len(missing)} {row['set']} {row['model']} {row['auroc']:.4f}", flush=True)
    done = read(path)
    return {task.key: done[task.key] for task in wanted}


def read(path: Path) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return the lines of a CSV by key; none if there is no file."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        rows = [{name: _number(value) for name, value in row.items()} for row in csv.DictReader(file)]
    return {(row["set"], str(row["seed"]), row["model"]): row for row in rows}


def _number(text: str) -> Any:
    try:
        return int(text) if text.isdigit() else float(text)
    except ValueError:
        return text


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--on", choices=["adbench", "tables"], default="adbench")
    parser.add_argument("--models", nargs="+", default=[*OURS, *PEERS])
    parser.add_argument("--cross", nargs="*", default=[], help="detectors to calibrate by cross-fitting too")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("--results", type=Path, help="the CSV (default outputs/bench/adbench.csv, or tables.csv)")
    arguments = parser.parse_args()
    results = arguments.results or Path(f"outputs/bench/{arguments.on}.csv")
    rows = list(run(list(tasks(arguments)), results, arguments.jobs).values())
    (print_adbench if arguments.on == "adbench" else print_tables)(rows)


if __name__ == "__main__":
    main()
