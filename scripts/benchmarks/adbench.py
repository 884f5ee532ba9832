"""How well `ssl detect` detects, beside PyOD: every detector over ADBench's sets, or over the tables with names.

The clean protocol: half of the normal rows for fitting (a tenth of them to calibrate), the other half and all
anomalies for the test; of ADBench at most 20,000 normal rows a set, drawn by the seed, so that at most 10,000 fit and
10,000 test.
Recipes were chosen on the sets of CHOOSING, as fixed before any was tried; the other sets report.

    scripts/bench adbench                                    all detectors, all sets, 3 seeds
    scripts/bench adbench --on tables                        creditcard, kddcup99, nslkdd, ... whole
    scripts/bench adbench --models best knn --seeds 0        a quick look

Results go to a CSV, one line a set, seed and detector, and what is there already isn't computed again.
"""

import argparse
import csv
import io
import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # one thread a process, as many processes as there are cores

import numpy as np
import pyarrow as pa
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from scipy.stats import betabinom, binom
from sklearn.metrics import average_precision_score, roc_auc_score

from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.one_class import OneClassData
from ssl_cli.data.tables.one_class import LabelledTable
from ssl_cli.evaluation.thresholds import p_values
from ssl_cli.methods.scoring import score_rows
from ssl_cli.training.fit import fit, new_model, out_of_fold

EXTRA = "pyod"  # scripts/bench installs it
SHARED = Path(os.environ.get("SSL_SHARED", Path(__file__).parents[3] / "shared")) / "data"
# By ADBench's number every second set, but for satimage-2: it has the same source as landsat and satellite.
CHOOSING = {2, 5, 8, 15, 18, 20, 25, 27, 33, 35, 43, 46}
MOST_NORMAL = 20_000  # rows of a set
BASELINE = "knn"
OURS = ["best", "residual_knn", "dae", "ae", "vae", "gaussian", "knn", "iforest", "ocsvm"]
FPR = 0.01
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
    from pyod.models.auto_encoder import AutoEncoder

    # Its defaults; but it can't be fitted to fewer rows than a batch has.
    return AutoEncoder(random_state=seed, verbose=0, batch_size=min(32, n_rows))


def pyod_ecod(*_: int) -> Any:
    from pyod.models.ecod import ECOD

    return ECOD()


# As PyOD's users run them: all test rows in one call (which for ECOD is part of the result).
PEERS: dict[str, Callable[[int, int], Any]] = {"PyOD AutoEncoder": pyod_autoencoder, "PyOD ECOD": pyod_ecod}


@dataclass(frozen=True)
class Task:
    """One set, one seed, one detector; `cap` on the set's normal rows, `cross` for cross-fitted calibration."""

    name: str
    overrides: tuple[str, ...]
    cap: int | None
    seed: int
    model: str
    cross: bool

    @property
    def key(self) -> tuple[str, str, str]:
        return self.name, str(self.seed), self.model + " (cross)" * self.cross


def measure(task: Task) -> dict[str, Any]:
    """Fit on the training rows, score the others: a line of the CSV."""
    import torch

    torch.set_num_threads(1)
    model = "knn" if task.model in PEERS else task.model
    words = [*task.overrides, f"model={model}", f"seed={task.seed}", "trainer=cpu", f"paths.data={SHARED}"]
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("detect", words)
    OmegaConf.set_struct(cfg, False)
    cfg.choices = {"model": model, "data": task.name}
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
    strange = test.anomaly
    assert strange is not None
    name, seed, detector = task.key
    flagged = p_values(calibration, scores[~strange]) <= FPR
    return {
        "set": name,
        "seed": seed,
        "model": detector,
        "auroc": roc_auc_score(strange, scores),
        "auprc": average_precision_score(strange, scores),
        "fit_s": round(fit_s, 2),
        "score_s": round(score_s, 2),
        "train": len(train),
        "calibration": len(calibration),
        "normal": int((~strange).sum()),
        "anomalies": int(strange.sum()),
        "flagged": int(flagged.sum()),
    }


def prepare(cfg: DictConfig, task: Task) -> OneClassData:
    """The set's splits, of at most `task.cap` normal rows."""
    data = build(cfg.data)
    whole: LabelledTable = data.read()
    if task.cap is not None:
        assert whole.anomaly is not None
        normal = np.flatnonzero(~whole.anomaly)
        drawn = np.random.default_rng([task.seed, 26]).permutation(normal)[: task.cap]
        rows = np.sort(np.concatenate([drawn, np.flatnonzero(whole.anomaly)]))
        whole = replace(whole, columns=whole.columns.take(pa.array(rows)), anomaly=whole.anomaly[rows], row=rows)
    data.read = lambda: whole
    return data.prepare(task.seed, hold_out=not task.cross)


def fitted(task: Task, cfg: DictConfig, train: np.ndarray, data: OneClassData) -> Callable[[np.ndarray], np.ndarray]:
    """The detector, fitted: rows (N, D) -> scores (N,)."""
    if task.model in PEERS:
        peer = PEERS[task.model](len(train), task.seed)
        peer.fit(train)
        return peer.decision_function
    model = new_model(cfg)
    with TemporaryDirectory() as folder:
        watched = data.splits.get("calibration", data.splits["train"])
        fit(model, ArrayDataset({"x": train}), ArrayDataset({"x": watched.x}), cfg, Path(folder))
    return lambda x: score_rows(model, x)


# --- many of them -------------------------------------------------------------------------------------------


def tasks(arguments: argparse.Namespace) -> Iterator[Task]:
    if arguments.on == "tables":
        sets = {name: (tuple(words), None) for name, words in TABLES.items()}
    else:
        names = sorted((path.stem for path in (SHARED / "adbench").glob("*.npz")), key=number)
        sets = {name: (("data=adbench", f"data.name={name}"), MOST_NORMAL) for name in names}
    for seed in arguments.seeds:
        for name, (words, cap) in sets.items():
            for model in dict.fromkeys([*arguments.models, BASELINE]):
                yield Task(name, words, cap, seed, model, cross=False)
            for model in arguments.cross:
                yield Task(name, words, cap, seed, model, cross=True)


def number(name: str) -> int:
    return int(name.split("_")[0])


def run(wanted: list[Task], path: Path, jobs: int) -> dict[tuple[str, str, str], dict[str, Any]]:
    """The lines of every task wanted, from the file where they are there."""
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


# --- tables -------------------------------------------------------------------------------------------------


def tell_adbench(rows: list[dict[str, Any]]) -> None:
    """A table for the sets that were chosen on, those that report, and all of them; one of every set; calibration."""
    names = sorted({row["set"] for row in rows}, key=number)
    halves = {
        "choosing": [name for name in names if number(name) in CHOOSING],
        "reporting": [name for name in names if number(name) not in CHOOSING],
        "all": names,
    }
    for title, sets in halves.items():
        print(f"\n{title} ({len(sets)} sets)\n")
        tell_means([row for row in rows if row["set"] in sets])
    tell_sets(rows, "auroc")
    tell_calibration(rows)


def tell_means(rows: list[dict[str, Any]]) -> None:
    base = {metric: by_set(rows, BASELINE, metric) for metric in ("auroc", "auprc")}
    print("| detector | AUROC | AUPRC | wins-losses | AUROC gain over 5-NN, % | AUPRC gain, % | slowest set, s |")
    print("|---|---|---|---|---|---|---|")
    for model in detectors(rows):
        found = {metric: by_set(rows, model, metric) for metric in base}
        means = " | ".join(f"{np.mean(list(values.values())):.4f}" for values in found.values())
        gains = [
            np.array([found[metric][name] - base[metric][name] for name in sorted(base[metric])]) for metric in base
        ]
        counts = "" if model == BASELINE else f"{(gains[0] > 0).sum()}-{(gains[0] < 0).sum()}"
        told = " | ".join("" if model == BASELINE else interval(gain) for gain in gains)
        slowest = max(row["fit_s"] + row["score_s"] for row in rows if row["model"] == model)
        print(f"| {model} | {means} | {counts} | {told} | {slowest:.1f} |")


def interval(gains: np.ndarray) -> str:
    """Mean paired gain with its 95 % bootstrap interval over sets, in hundredths."""
    drawn = np.random.default_rng(0).choice(gains, size=(10_000, len(gains))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{100 * gains.mean():+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def detectors(rows: list[dict[str, Any]]) -> list[str]:
    return [model for model in dict.fromkeys(row["model"] for row in rows) if "(cross)" not in model]


def by_set(rows: list[dict[str, Any]], model: str, metric: str) -> dict[str, float]:
    """Set -> mean over seeds."""
    values = defaultdict(list)
    for row in rows:
        if row["model"] == model:
            values[row["set"]].append(row[metric])
    return {name: float(np.mean(found)) for name, found in values.items()}


def tell_sets(rows: list[dict[str, Any]], metric: str) -> None:
    models = detectors(rows)
    print(f"\n{metric} of each set, mean over seeds\n")
    print(f"| set | {' | '.join(models)} |\n|---|{'---|' * len(models)}")
    for name in dict.fromkeys(row["set"] for row in rows):
        cells = [f"{by_set(rows, model, metric)[name]:.4f}" for model in models]
        chosen_on = "*" * (name[0].isdigit() and number(name) in CHOOSING)
        print(f"| {name}{chosen_on} | {' | '.join(cells)} |")


def tell_calibration(rows: list[dict[str, Any]]) -> None:
    """Realised false-positive rates at a nominal 1 %, over runs with 1,000 calibration rows or more."""
    print(f"\nrealised false-positive rate at a nominal {FPR:.0%}, runs with at least 1,000 calibration rows\n")
    print("| detector | runs | mean | median | within the exact interval | within the binomial interval | above it |")
    print("|---|---|---|---|---|---|---|")
    for model in dict.fromkeys(row["model"] for row in rows):
        runs = [row for row in rows if row["model"] == model and row["calibration"] >= 1000]
        if not runs:
            continue
        nominal = [allowed(row) / (row["calibration"] + 1) for row in runs]
        rates = [row["flagged"] / row["normal"] for row in runs]
        exact = [inside(row, exact_interval(row)) for row in runs]
        ends = [binom.ppf([0.025, 0.975], row["normal"], rate) for row, rate in zip(runs, nominal, strict=True)]
        plain = [inside(row, pair) for row, pair in zip(runs, ends, strict=True)]
        above = [row["flagged"] > pair[1] for row, pair in zip(runs, ends, strict=True)]
        cells = f"{np.mean(rates):.2%} | {np.median(rates):.2%} | {np.mean(exact):.0%} | {np.mean(plain):.0%}"
        print(f"| {model} | {len(runs)} | {cells} | {np.mean(above):.0%} |")


def allowed(row: dict[str, Any]) -> int:
    """How many of the n calibration rows, and the row itself, may score as high as a row that is flagged: k."""
    return int(FPR * (row["calibration"] + 1))


def exact_interval(row: dict[str, Any]) -> np.ndarray:
    """Central 95 % of how many of the test's normal rows are flagged: binomial, at a rate that is itself drawn with the
    calibration rows, Beta(k, n + 1 - k)."""
    k = allowed(row)
    return betabinom.ppf([0.025, 0.975], row["normal"], k, row["calibration"] + 1 - k)


def inside(row: dict[str, Any], ends: np.ndarray) -> bool:
    return bool(ends[0] <= row["flagged"] <= ends[1])


def tell_tables(rows: list[dict[str, Any]]) -> None:
    for metric in ("auroc", "auprc"):
        tell_sets(rows, metric)


def main() -> None:
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
    (tell_adbench if arguments.on == "adbench" else tell_tables)(rows)


if __name__ == "__main__":
    main()
