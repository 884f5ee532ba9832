"""Report of ssl detect: metrics, the file of scores, and figures."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from ssl_cli.commands.detect import image_report
from ssl_cli.commands.detect.explanations import Anomaly
from ssl_cli.data.images.datasets import DESCRIPTION_COLUMNS, OneClassImages
from ssl_cli.data.one_class import OneClassData, OneClassSplit
from ssl_cli.evaluation.conformal import p_values
from ssl_cli.evaluation.metrics.detection import curves, detection_metrics
from ssl_cli.evaluation.plots import curves as curve_plots
from ssl_cli.evaluation.thresholds import Calibration, Threshold
from ssl_cli.runs.folder import HISTORY, read_history

SCORES = "scores.parquet"
MAX_DRAWN_ROWS = 8


def measure(
    scores: dict[str, np.ndarray],
    splits: dict[str, OneClassSplit],
    calibration: Calibration,
    threshold: Threshold,
    bootstrap_samples: int,
    seed: int,
) -> dict[str, float]:
    """Return the metrics of the test rows; those that compare with labels only if both kinds of rows are there."""
    test, anomaly = scores["test"], splits["test"].anomaly
    metrics = {
        "threshold/value": threshold.value,
        "test/rows": len(test),
        "test/flagged": int((test > threshold.value).sum()),
        "calibration/rows": len(calibration.scores),
        "calibration/folds": calibration.folds,  # 0: the rows were held out
    }
    stated = {"target_fpr": threshold.target_fpr, "target_fdr": threshold.target_fdr}
    stated |= {"normal_share": threshold.normal_share}
    metrics |= {f"threshold/{name}": value for name, value in stated.items() if value is not None}
    if anomaly is not None and anomaly.any() and not anomaly.all():
        metrics["test/anomalies"] = int(anomaly.sum())
        compared = detection_metrics(test, anomaly, threshold.value, bootstrap_samples, seed)
        metrics |= {f"test/{name}": value for name, value in compared.items()}
    return metrics


def write_scores(
    folder: Path,
    scores: dict[str, np.ndarray],
    data: OneClassData,
    calibration: np.ndarray,
    threshold: Threshold,
) -> None:
    """Write the test rows, or all rows if there are no labels: row number in the file, score, p-value, flag and label.

    Images also have their class and file. A p-value is only valid for a row that neither the model nor the calibration
    used: it is null for the others.
    """
    splits = data.splits
    unlabelled = splits["test"].anomaly is None
    tables = []
    for name in splits if unlabelled else ["test"]:
        p_value = p_values(calibration, scores[name])
        columns = {
            "row": splits[name].row,
            "split": np.full(len(p_value), name),
            "score": scores[name],
            "p_value": pa.array(p_value, mask=np.full(len(p_value), name != "test")),
            "flagged": scores[name] > threshold.value,
            "label": pa.nulls(len(p_value), pa.bool_()) if unlabelled else splits[name].anomaly,
        }
        if isinstance(data, OneClassImages):
            descriptions = [data.images.describe(index) for index in splits[name].index]
            columns |= dict(zip(DESCRIPTION_COLUMNS, zip(*descriptions, strict=True), strict=True))
        tables.append(pa.table(columns))
    pyarrow.parquet.write_table(pa.concat_tables(tables).sort_by("row"), folder / SCORES)


# --- figures ------------------------------------------------------------------------------------------------


def draw(
    folder: Path,
    model: Any,
    data: OneClassData,
    scores: np.ndarray,
    threshold: Threshold,
    metrics: dict[str, float],
    anomalies: list[Anomaly],
) -> None:
    """Draw the figures: top anomalies, training curves, histograms of the test scores and, with labels, ROC and PR.

    Top anomalies of a table are drawn if the model explains its scores; training curves if it was trained by gradient.
    """
    figures, labels = folder / "figures", data.splits["test"].anomaly
    if isinstance(data, OneClassImages):
        image_report.draw(figures / "anomalies.png", model, data.images, anomalies)
    elif anomalies and anomalies[0].contributions:
        rows = [_title_and_contributions(anomaly) for anomaly in anomalies[:MAX_DRAWN_ROWS]]
        curve_plots.contributions(figures / "anomalies.png", rows)
    if history := read_history(folder / HISTORY):
        curve_plots.training_curves(figures / "training.png", history)
    if labels is None or "test/auroc" not in metrics:
        curve_plots.score_histograms(figures / "scores.png", {f"all test {data.rows}": scores}, threshold.value)
        return
    groups = {"normal": scores[~labels], "anomalies": scores[labels]}
    curve_plots.score_histograms(figures / "scores.png", groups, threshold.value)
    _draw_curves(figures, scores, labels, threshold.rule, metrics)


def _draw_curves(figures: Path, scores: np.ndarray, labels: np.ndarray, rule: str, metrics: dict[str, float]) -> None:
    """Draw the ROC and the precision-recall curve of scores (N,), with the point of the threshold."""
    points = curves(scores, labels)
    curve_plots.roc(
        figures / "roc.png",
        points["fpr"],
        points["recall"],
        _with_interval(metrics, "auroc"),
        (metrics["test/fpr"], metrics["test/recall"]),
        rule,
    )
    curve_plots.precision_recall(
        figures / "precision_recall.png",
        points["recall"],
        points["precision"],
        _with_interval(metrics, "auprc"),
        (metrics["test/recall"], metrics["test/precision"]),
        rule,
        labels.mean(),
    )


def _title_and_contributions(anomaly: Anomaly) -> tuple[str, list[tuple[str, float]]]:
    """Return a row's title in the figure, and the text and share of each contribution."""
    label = {None: "", True: ", an anomaly", False: ", normal"}[anomaly.label]
    contributions = [(feature.reason, feature.share) for feature in anomaly.contributions]
    return f"row {anomaly.row}: score {anomaly.score:.4g}{label}", contributions


def _with_interval(metrics: dict[str, float], name: str) -> str:
    """Return a test metric with its interval, as text."""
    return f"{metrics[f'test/{name}']:.3f} ({metrics[f'test/{name}_low']:.3f} to {metrics[f'test/{name}_high']:.3f})"
