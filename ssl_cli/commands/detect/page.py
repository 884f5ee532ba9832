"""report.html of ssl detect: what was flagged and found, why the top anomalies are unusual, how columns were read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_cli.commands.detect import columns
from ssl_cli.commands.detect.contributions import FeatureContribution
from ssl_cli.commands.detect.explanations import ANOMALIES, Anomaly
from ssl_cli.commands.detect.report import SCORES
from ssl_cli.commands.detect.summary import flagged, rates
from ssl_cli.data.images.datasets import DESCRIPTION_COLUMNS, OneClassImages
from ssl_cli.data.one_class import OneClassData
from ssl_cli.data.tables.one_class import TableData
from ssl_cli.evaluation.html import (
    Alert,
    Block,
    Facts,
    Figure,
    Headline,
    Metric,
    Note,
    PageTable,
    Section,
    format_number,
    metrics_section,
    write_report,
)
from ssl_cli.evaluation.thresholds import Threshold
from ssl_cli.runs.folder import CONFIG, HISTORY, METRICS

MEANINGS = {  # in the order of the page
    "auroc": "probability that an anomaly scores above a normal row; 0.5 is chance",
    "auprc": "average precision over all thresholds; chance is the share of anomalies",
    "precision": "share of what is flagged that is an anomaly",
    "recall": "share of the anomalies that are flagged",
    "f1": "harmonic mean of precision and recall",
    "fpr": "share of the normal rows that are flagged",
    "fdr": "share of what is flagged that is normal",
    "precision_at_k": "precision of the k largest scores, where k is the number of anomalies",
    "recall_at_1_fpr": "recall where at most 1 % of the normal rows are flagged",
}
CAPTIONS = {
    "scores.png": "Scores of the test, by group, with the threshold.",
    "roc.png": "Recall against the rate of false positives at every threshold.",
    "precision_recall.png": "Precision against recall at every threshold.",
}
TOP_ROWS = 20  # of the anomalies on the page
MAX_COLUMNS = 500  # in the table of all columns
RISING = (
    "A validation loss that rises again is usual on a small table. Stopping where it is least detects fewer anomalies "
    "(docs/benchmarks.md); trainer.patience=N does it."
)
INTERVALS = "95 % intervals are by bootstrap within each class. They don't include the training's own randomness."


def write(
    folder: Path,
    chosen: Mapping[str, object],
    data: OneClassData,
    threshold: Threshold,
    metrics: dict[str, float],
    anomalies: Sequence[Anomaly],
) -> None:
    """Write the page into the run's folder. `chosen` are the config choices to name."""
    warnings = [*data.warnings, *([threshold.warning] if threshold.warning else [])]
    opening: list[Block] = [Headline(headline(metrics, data.rows)), *map(Alert, warnings)]
    sections = [
        _metrics(metrics),
        Section("Threshold", _threshold(threshold, metrics, data.rows)),
        Section("Figures", _figures(folder, CAPTIONS)),
        Section("Top anomalies", _top_anomalies(folder, data, anomalies)),
        Section("Columns", _columns(data)),
        Section("Training", _figures(folder, {"training.png": f"Loss over the steps, as in {HISTORY}. {RISING}"})),
        Section("Files", [PageTable(["file", "content"], _files(folder), names={"file"})]),
    ]
    write_report(folder, "detect", (folder / CONFIG).read_text(), chosen, sections, opening)


def headline(metrics: dict[str, float], rows: str) -> str:
    """Return what was flagged and, with labels, found, as a sentence. `rows` is the word for them."""
    said = flagged(rows, metrics)
    return f"{said[0].upper()}{said[1:]}."


def _metrics(metrics: dict[str, float]) -> Section:
    """Return the metrics that compare with labels, with their intervals."""
    rows = []
    for name, meaning in MEANINGS.items():
        if (key := f"test/{name}") in metrics:
            interval = " to ".join(format_number(metrics[f"{key}_{end}"]) for end in ("low", "high"))
            rows.append(Metric(key, format_number(metrics[key]), meaning, interval))
    return metrics_section(rows, Note(f"All are of the test. {INTERVALS}")) if rows else Section("Metrics", [])


def _threshold(threshold: Threshold, metrics: dict[str, float], rows: str) -> list[Block]:
    """Return the rule, its promise, and the rates that were observed beside their targets."""
    facts = {
        "rule": threshold.rule,
        "score above which it flags": f"{threshold.value:.6g}",
        "calibration scores": f"{int(metrics['calibration/rows']):,}",
    }
    said = [threshold.promise, *(rates(rows, threshold, metrics) if "test/fpr" in metrics else [])]
    return [Facts(facts), *(Note(f"{text[0].upper()}{text[1:].removesuffix('.')}.") for text in said)]


def _top_anomalies(folder: Path, data: OneClassData, anomalies: Sequence[Anomaly]) -> list[Block]:
    """Return the table of the largest scores with their reasons, and the figure."""
    if not anomalies:
        return []
    shown = anomalies[:TOP_ROWS]
    names = ["row", "score", "p-value", "flagged", "label"]
    rows = [_row(each) for each in shown]
    if isinstance(data, OneClassImages):
        names += DESCRIPTION_COLUMNS
        rows = [[*row, *data.images.describe(each.index)] for row, each in zip(rows, shown, strict=True)]
    elif any(each.contributions for each in shown):
        names.append("why: the columns that contribute most, and their share of the score")
        rows = [[*row, reason_lines(each.contributions)] for row, each in zip(rows, shown, strict=True)]
    more = f"The first {len(shown)} of {len(anomalies)}; all are in {ANOMALIES}." if len(anomalies) > len(shown) else ""
    table = PageTable(names, rows, numbers=set(names[:3]), lines=set(names[5:]), caption=more)
    caption = "The first of them: their columns' contributions, or for images what was expected in their place."
    return [table, *_figures(folder, {"anomalies.png": caption})]


def _row(anomaly: Anomaly) -> list[str]:
    p_value = "" if anomaly.p_value is None else f"{anomaly.p_value:.3g}"
    label = {None: "", True: "anomaly", False: "normal"}[anomaly.label]
    return [f"{anomaly.row:,}", f"{anomaly.score:.4g}", p_value, "yes" if anomaly.flagged else "no", label]


def reason_lines(contributions: Sequence[FeatureContribution]) -> str:
    """Return reasons in a line each, with their share of the score."""
    return "\n".join(f"{each.reason}: {each.share:.0%}" for each in contributions)


def _columns(data: OneClassData) -> list[Block]:
    """Return how the columns of a table were read: those read alike in one row, and every column, folded."""
    if not isinstance(data, TableData):
        return []
    readings, names = data.preprocessor.readings, {columns.HEADER[0], columns.HEADER[-1]}
    groups = columns.grouped(readings)
    blocks: list[Block] = [PageTable(columns.HEADER, list(map(columns.as_row, groups)), names=names)]
    if len(groups) < len(readings):
        alone = [columns.as_row([reading]) for reading in readings[:MAX_COLUMNS]]
        title = "every column" if len(alone) == len(readings) else f"the first {MAX_COLUMNS} columns"
        blocks.append(PageTable(columns.HEADER, alone, names=names, folded=title))
    return [*blocks, *map(Note, data.notes)]


def _figures(folder: Path, captions: Mapping[str, str]) -> list[Figure]:
    """Return the figures that there are, with their captions."""
    return [Figure(name, text) for name, text in captions.items() if (folder / "figures" / name).is_file()]


def _files(folder: Path) -> list[tuple[str, str]]:
    """Return the names and contents of the files that a reader may want."""
    contents = {
        SCORES: "score, p-value and flag of each test row",
        ANOMALIES: "the largest scores, with reasons",
        METRICS: "all numbers of this page",
        columns.COLUMNS: "how each column was read, and why",
        HISTORY: "losses over the steps",
    }
    return [(name, text) for name, text in contents.items() if (folder / name).exists() or name == METRICS]
