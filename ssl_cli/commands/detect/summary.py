"""Summary of ssl detect on the terminal: what was flagged, target and observed rates, the metrics, and the files."""

from pathlib import Path

from scipy.stats import binomtest

from ssl_cli import console
from ssl_cli.commands.detect.contributions import explaining_models
from ssl_cli.commands.detect.explanations import ANOMALIES, Anomaly
from ssl_cli.commands.detect.report import SCORES
from ssl_cli.data.images.datasets import OneClassImages
from ssl_cli.data.one_class import OneClassData
from ssl_cli.evaluation.html import REPORT
from ssl_cli.evaluation.thresholds import Threshold


def show(
    folder: Path, data: OneClassData, threshold: Threshold, metrics: dict[str, float], anomalies: list[Anomaly]
) -> None:
    """Print what was flagged, by which threshold, its target and observed rates, the metrics, and the files."""
    if threshold.warning:
        console.warn(threshold.warning)
    console.say(flagged(data.rows, metrics))
    console.say(f"threshold={threshold.rule}: scores above {threshold.value:.6g} are flagged. {threshold.promise}")
    if "test/auroc" in metrics:
        for line in rates(data.rows, threshold, metrics):
            console.say(line)
        _print_metrics(metrics)
    else:
        console.say(f"nothing can be measured without labels of both normal {data.rows} and anomalies")
    if not any(anomaly.contributions for anomaly in anomalies) and not isinstance(data, OneClassImages):
        able = explaining_models()
        console.say(f"{ANOMALIES} has no explanations: this model can't explain its scores; {able} can")
    figures = ", ".join(sorted(path.name for path in (folder / "figures").glob("*.png")))
    console.say(f"report: {REPORT}; figures: {figures}; scores: {SCORES}; top anomalies: {ANOMALIES}")


def flagged(rows: str, metrics: dict[str, float]) -> str:
    """Return how many of the test rows are flagged and, with labels, how many of these are right, as text."""
    n_flagged = int(metrics["test/flagged"])
    text = f"flagged {n_flagged:,} of {int(metrics['test/rows']):,} {rows}"
    if "test/anomalies" not in metrics:
        return text
    n_anomalies = int(metrics["test/anomalies"])
    n_found = round(metrics["test/recall"] * n_anomalies)
    n_false = n_flagged - n_found
    alarms = "1 false alarm" if n_false == 1 else f"{n_false:,} false alarms"
    return f"{text}: {n_found:,} of {n_anomalies:,} anomalies found, {alarms}"


def rates(rows: str, threshold: Threshold, metrics: dict[str, float]) -> list[str]:
    """Return the observed rates of false alarms, those with a target first: of the normal, and of the flagged rows."""
    n_flagged, n_normal = int(metrics["test/flagged"]), int(metrics["test/rows"] - metrics["test/anomalies"])
    n_false = round(metrics["test/fpr"] * n_normal)
    lines = [
        (threshold.target_fpr, f"false alarms among normal {rows} (fpr)", n_normal),
        (threshold.target_fdr, f"false alarms among flagged {rows} (fdr)", n_flagged),
    ]
    return [_rate(name, target, n_false, n) for target, name, n in sorted(lines, key=lambda line: line[0] is None)]


def _rate(name: str, target: float | None, n_false: int, n: int) -> str:
    """Return a rate with its exact 95 % interval, and on which side of it the target lies, as text."""
    aim = "no target" if target is None else f"target at most {target:.2%}"
    if n == 0:
        return f"{name}: {aim}, none to observe"
    low, high = binomial_interval(n_false, n)
    observed = f"{name}: {aim}, observed {n_false / n:.2%} of {n:,} (95 % interval {low:.2%} to {high:.2%})"
    if target is None:
        return observed
    if target < low:
        return f"{observed}: the target lies below it, this is more than the target"
    return f"{observed}: the target lies {'above' if target > high else 'within'} it"


def binomial_interval(successes: int, trials: int) -> tuple[float, float]:
    """Return Clopper and Pearson's exact 95 % interval of a rate.

    Unlike a bootstrap interval, it is not empty when there are no successes.
    """
    interval = binomtest(successes, trials).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


def _print_metrics(metrics: dict[str, float]) -> None:
    """Print the metrics that have intervals."""
    names = [key.removeprefix("test/").removesuffix("_low") for key in metrics if key.endswith("_low")]
    rows = [[name, *(f"{metrics[f'test/{name}{end}']:.4f}" for end in ("", "_low", "_high"))] for name in names]
    columns = ["test", "value", "95 % low", "95 % high"]
    console.say(console.table("", columns, rows, right=set(columns[1:])))
