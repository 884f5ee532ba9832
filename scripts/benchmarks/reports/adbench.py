"""Tables of the benchmark adbench: mean metrics, each set, and calibration."""

from collections import defaultdict
from typing import Any

import numpy as np
from scipy.stats import betabinom, binom

# Every second set by ADBench's number, except satimage-2: it has the same source as landsat and satellite.
CHOOSING = {2, 5, 8, 15, 18, 20, 25, 27, 33, 35, 43, 46}
BASELINE = "5-NN"
FPR = 0.01


def set_number(name: str) -> int:
    """Return the number of a set of ADBench."""
    return int(name.split("_")[0])


def print_adbench(rows: list[dict[str, Any]]) -> None:
    """Print a table for the sets that were chosen on, one for those that report and one for all; then each set, and
    the calibration."""
    names = sorted({row["set"] for row in rows}, key=set_number)
    halves = {
        "choosing": [name for name in names if set_number(name) in CHOOSING],
        "reporting": [name for name in names if set_number(name) not in CHOOSING],
        "all": names,
    }
    for title, sets in halves.items():
        print(f"\n{title} ({len(sets)} sets)\n")
        print_means([row for row in rows if row["set"] in sets])
    print_sets(rows, "auroc")
    print_calibration(rows)


def print_means(rows: list[dict[str, Any]], baseline: str = BASELINE) -> None:
    """Print the mean metrics of each detector, and its gains over the baseline."""
    base = {metric: by_set(rows, baseline, metric) for metric in ("auroc", "auprc")}
    print(f"| detector | AUROC | AUPRC | wins-losses | AUROC gain over {baseline}, % | AUPRC gain | slowest set, s |")
    print("|---|---|---|---|---|---|---|")
    for model in detectors(rows):
        metrics = {metric: by_set(rows, model, metric) for metric in base}
        means = " | ".join(f"{np.mean(list(values.values())):.4f}" for values in metrics.values())
        gains = [
            np.array([metrics[metric][name] - base[metric][name] for name in sorted(base[metric])]) for metric in base
        ]
        counts = "" if model == baseline else f"{(gains[0] > 0).sum()}-{(gains[0] < 0).sum()}"
        intervals = " | ".join("" if model == baseline else interval(gain) for gain in gains)
        slowest = max(row["fit_s"] + row["score_s"] for row in rows if row["model"] == model)
        print(f"| {model} | {means} | {counts} | {intervals} | {slowest:.1f} |")


def interval(gains: np.ndarray) -> str:
    """Return the mean paired gain with its 95 % bootstrap interval over sets, in hundredths."""
    drawn = np.random.default_rng(0).choice(gains, size=(10_000, len(gains))).mean(1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return f"{100 * gains.mean():+.2f} ({100 * low:+.2f} to {100 * high:+.2f})"


def detectors(rows: list[dict[str, Any]]) -> list[str]:
    """Return the detectors of the lines, without those that were only cross-fitted."""
    return [model for model in dict.fromkeys(row["model"] for row in rows) if "(cross)" not in model]


def by_set(rows: list[dict[str, Any]], model: str, metric: str) -> dict[str, float]:
    """Return the mean over seeds of a metric, by set."""
    values = defaultdict(list)
    for row in rows:
        if row["model"] == model:
            values[row["set"]].append(row[metric])
    return {name: float(np.mean(seeds)) for name, seeds in values.items()}


def print_sets(rows: list[dict[str, Any]], metric: str) -> None:
    """Print a metric of each set and detector."""
    models = detectors(rows)
    print(f"\n{metric} of each set, mean over seeds\n")
    print(f"| set | {' | '.join(models)} |\n|---|{'---|' * len(models)}")
    for name in dict.fromkeys(row["set"] for row in rows):
        cells = [f"{by_set(rows, model, metric)[name]:.4f}" for model in models]
        chosen_on = "*" * (name[0].isdigit() and set_number(name) in CHOOSING)
        print(f"| {name}{chosen_on} | {' | '.join(cells)} |")


def print_calibration(rows: list[dict[str, Any]]) -> None:
    """Print observed false-positive rates at a target 1 %, over runs with at least 1,000 calibration rows."""
    print(f"\nobserved false-positive rate at a target {FPR:.0%}, runs with at least 1,000 calibration rows\n")
    print("| detector | runs | mean | median | within the exact interval | within the binomial interval | above it |")
    print("|---|---|---|---|---|---|---|")
    for model in dict.fromkeys(row["model"] for row in rows):
        runs = [row for row in rows if row["model"] == model and row["calibration"] >= 1000]
        if not runs:
            continue
        target = [allowed(row) / (row["calibration"] + 1) for row in runs]
        rates = [row["flagged"] / row["normal"] for row in runs]
        exact = [inside(row, exact_interval(row)) for row in runs]
        ends = [binom.ppf([0.025, 0.975], row["normal"], rate) for row, rate in zip(runs, target, strict=True)]
        plain = [inside(row, pair) for row, pair in zip(runs, ends, strict=True)]
        above = [row["flagged"] > pair[1] for row, pair in zip(runs, ends, strict=True)]
        cells = f"{np.mean(rates):.2%} | {np.median(rates):.2%} | {np.mean(exact):.0%} | {np.mean(plain):.0%}"
        print(f"| {model} | {len(runs)} | {cells} | {np.mean(above):.0%} |")


def allowed(row: dict[str, Any]) -> int:
    """Return k: how many of the n calibration rows and the row itself may score as high as a flagged row."""
    return int(FPR * (row["calibration"] + 1))


def exact_interval(row: dict[str, Any]) -> np.ndarray:
    """Return the central 95 % interval of the number of normal test rows that are flagged.

    It is binomial, with a rate that depends on the calibration rows: Beta(k, n + 1 - k).
    """
    k = allowed(row)
    return betabinom.ppf([0.025, 0.975], row["normal"], k, row["calibration"] + 1 - k)


def inside(row: dict[str, Any], ends: np.ndarray) -> bool:
    """Return whether the number of flagged rows is in an interval."""
    return bool(ends[0] <= row["flagged"] <= ends[1])


def print_tables(rows: list[dict[str, Any]]) -> None:
    """Print both metrics of the named tables."""
    for metric in ("auroc", "auprc"):
        print_sets(rows, metric)
