"""What `ssl detect` leaves behind: metrics, a scored file, figures, and a few sentences."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from scipy.stats import binomtest

from ssl_cli import console
from ssl_cli.commands.detect import image_report
from ssl_cli.commands.detect.explanations import ANOMALIES, Anomaly
from ssl_cli.config.instantiate import names_where
from ssl_cli.data.images.datasets import ABOUT, OneClassImages
from ssl_cli.data.one_class import OneClassData, OneClassSplit
from ssl_cli.evaluation.metrics.detection import curves, detection_metrics
from ssl_cli.evaluation.plots import curves as curve_plots
from ssl_cli.evaluation.thresholds import Threshold, p_values
from ssl_cli.runs.folder import HISTORY, read_history

SCORES = "scores.parquet"
ROWS_DRAWN = 8


def measure(
    scores: dict[str, np.ndarray],
    splits: dict[str, OneClassSplit],
    calibration: np.ndarray,
    threshold: Threshold,
    bootstrap_samples: int,
    seed: int,
) -> dict[str, float]:
    """Everything that goes into metrics.json: what needs labels, where there are some, and what needs none."""
    test, anomaly = scores["test"], splits["test"].anomaly
    metrics = {
        "threshold/value": threshold.value,
        "test/rows": len(test),
        "test/flagged": int((test > threshold.value).sum()),
        "calibration/rows": len(calibration),
    }
    nominal = {"fpr": threshold.nominal_fpr, "fdr": threshold.nominal_fdr}
    metrics |= {f"threshold/nominal_{name}": value for name, value in nominal.items() if value is not None}
    if anomaly is not None and anomaly.any() and not anomaly.all():
        metrics["test/anomalies"] = int(anomaly.sum())
        measured = detection_metrics(test, anomaly, threshold.value, bootstrap_samples, seed)
        metrics |= {f"test/{name}": value for name, value in measured.items()}
    return metrics


def write_scores(
    folder: Path,
    scores: dict[str, np.ndarray],
    data: OneClassData,
    calibration: np.ndarray,
    threshold: Threshold,
) -> None:
    """The test rows, or without labels every row: its number in the file, score, p-value, whether flagged, label.

    Of an image also its class and its file. A p-value means nothing for a row that the model or the calibration has
    seen: there it is null.
    """
    splits = data.splits
    unlabelled = splits["test"].anomaly is None
    parts = []
    for name in splits if unlabelled else ["test"]:
        p_value = p_values(calibration, scores[name])
        unseen = name == "test"
        columns = {
            "row": splits[name].row,
            "split": np.full(len(p_value), name),
            "score": scores[name],
            "p_value": pa.array(p_value, mask=np.full(len(p_value), not unseen)),
            "flagged": scores[name] > threshold.value,
            "label": pa.nulls(len(p_value), pa.bool_()) if unlabelled else splits[name].anomaly,
        }
        if isinstance(data, OneClassImages):
            about = [data.images.about(index) for index in splits[name].index]
            columns |= dict(zip(ABOUT, zip(*about, strict=True), strict=True))
        parts.append(pa.table(columns))
    pyarrow.parquet.write_table(pa.concat_tables(parts).sort_by("row"), folder / SCORES)


def draw(
    folder: Path,
    model: Any,
    data: OneClassData,
    scores: np.ndarray,
    at: Threshold,
    metrics: dict[str, float],
    strangest: list[Anomaly],
) -> None:
    """The figures: training curves, where there are some; the strangest images, or rows, where the model can say why;
    histograms of the test scores; with labels, ROC and PR."""
    figures, anomaly = folder / "figures", data.splits["test"].anomaly
    if isinstance(data, OneClassImages):
        image_report.draw(figures / "anomalies.png", model, data.images, strangest)
    elif strangest and strangest[0].contributions:
        curve_plots.contributions(figures / "anomalies.png", [_in_words(row) for row in strangest[:ROWS_DRAWN]])
    if history := read_history(folder / HISTORY):
        curve_plots.training_curves(figures / "training.png", history)
    if anomaly is None or "test/auroc" not in metrics:
        curve_plots.score_histograms(figures / "scores.png", {f"all test {data.rows}": scores}, at.value)
        return
    groups = {"normal": scores[~anomaly], "anomalies": scores[anomaly]}
    curve_plots.score_histograms(figures / "scores.png", groups, at.value)
    curve = curves(scores, anomaly)
    curve_plots.roc(
        figures / "roc.png",
        curve["fpr"],
        curve["recall"],
        _with_interval(metrics, "auroc"),
        (metrics["test/fpr"], metrics["test/recall"]),
        at.rule,
    )
    curve_plots.precision_recall(
        figures / "precision_recall.png",
        curve["recall"],
        curve["precision"],
        _with_interval(metrics, "auprc"),
        (metrics["test/recall"], metrics["test/precision"]),
        at.rule,
        anomaly.mean(),
    )


def _in_words(row: Anomaly) -> tuple[str, list[tuple[str, float]]]:
    """A row's title, and each reason with its share."""
    label = {None: "", True: ", an anomaly", False: ", normal"}[row.label]
    told = [(f"{why.column} = {why.actual}, expected {why.expected}", why.share) for why in row.contributions]
    return f"row {row.row}: score {row.score:.4g}{label}", told


def print_summary(
    folder: Path, data: OneClassData, threshold: Threshold, metrics: dict[str, float], strangest: list[Anomaly]
) -> None:
    """Say what was promised and what was realised, in words and a table."""
    if threshold.warning:
        console.warn(threshold.warning)
    console.say(f"threshold={threshold.rule}: {threshold.value:.6g} ({threshold.promise})")
    flagged = f"{int(metrics['test/flagged']):,} of {int(metrics['test/rows']):,} test {data.rows} flagged"
    if "test/auroc" in metrics:
        normal = int(metrics["test/rows"] - metrics["test/anomalies"])
        low, high = binomial_interval(round(metrics["test/fpr"] * normal), normal)
        among, interval = f"{normal:,} normal {data.rows}", f"exact 95 % interval {low:.2%} to {high:.2%}"
        realised = f"{metrics['test/fpr']:.2%} of {among} ({interval})"
        console.say(f"false positives: {_nominal(threshold, threshold.nominal_fpr)}, realised {realised}")
        interval = f"95 % bootstrap interval {metrics['test/fdr_low']:.2%} to {metrics['test/fdr_high']:.2%}"
        realised = f"{metrics['test/fdr']:.2%} of the {data.rows} flagged ({interval})"
        console.say(f"false discoveries: {_nominal(threshold, threshold.nominal_fdr)}, realised {realised}")
        console.say(f"{flagged}; {int(metrics['test/anomalies']):,} are anomalies")
        names = [key.removeprefix("test/").removesuffix("_low") for key in metrics if key.endswith("_low")]
        rows = [[name, *(f"{metrics[f'test/{name}{end}']:.4f}" for end in ("", "_low", "_high"))] for name in names]
        columns = ["test", "value", "95 % low", "95 % high"]
        console.say(console.table("", columns, rows, right=set(columns[1:])))
    else:
        console.say(f"{flagged}; without labels of both kinds there is nothing to measure them against")
    if not any(row.contributions for row in strangest) and not isinstance(data, OneClassImages):
        can = ", ".join(names_where("model", lambda target: hasattr(target, "explain")))
        console.say(f"{ANOMALIES} lists the strangest rows without reasons: this model can't say why; {can} can")
    figures = ", ".join(sorted(path.name for path in (folder / "figures").glob("*.png")))
    console.say(f"figures: {figures}; scores: {SCORES}; strangest {data.rows}: {ANOMALIES}")


def _nominal(threshold: Threshold, rate: float | None) -> str:
    if rate is None:
        return "nothing promised"
    return f"{'promised at most' if threshold.guaranteed else 'aimed at, not promised,'} {rate:.2%}"


def binomial_interval(successes: int, trials: int) -> tuple[float, float]:
    """Clopper and Pearson's exact 95 % interval of a rate. (Of no successes, a bootstrap would make no interval.)"""
    interval = binomtest(successes, trials).proportion_ci(0.95, method="exact")
    return float(interval.low), float(interval.high)


def _with_interval(metrics: dict[str, float], name: str) -> str:
    return f"{metrics[f'test/{name}']:.3f} ({metrics[f'test/{name}_low']:.3f} to {metrics[f'test/{name}_high']:.3f})"
