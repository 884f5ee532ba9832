"""Report of a finished fine-tuning run: report.html in its folder, and a summary on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_cli import console
from ssl_cli.evaluation.html import (
    REPORT,
    Figure,
    Metric,
    Note,
    PageTable,
    Section,
    format_number,
    metrics_section,
    write_report,
)
from ssl_cli.runs.folder import CONFIG, METRICS

MEANINGS = {
    "loss": "the training loss, in nats (for numbers, the squared error)",
    "accuracy": "share of predictions that are right",
    "f1": "harmonic mean of precision and recall, of the second class",
    "macro_f1": "mean F1 over the classes",
    "majority_accuracy": "accuracy of always predicting the commonest class of training",
    "matthews": "Matthews correlation of predictions and truth; 0 is chance",
    "pearson": "Pearson correlation of predictions and truth",
    "spearman": "Spearman correlation: Pearson correlation of the ranks",
    "entity_f1": "F1 of entities; one is right only if its boundaries and type are",
    "entity_precision": "share of the predicted entities that are right",
    "entity_recall": "share of the true entities that were found",
    "has_answer_f1": "F1 of the questions that have an answer",
    "no_answer_accuracy": "share of the questions without an answer for which none was predicted",
    "calibration_error": "mean gap between probability and share of right predictions, in 15 bins; smaller is better",
}
INTERVALS = "95 % intervals are by bootstrap over the examples."
CHOSEN_ON_DEV = (
    "The weights, and the threshold for no answer if there is one, were chosen on dev: its metrics are slightly "
    "optimistic, which their intervals don't include."
)
BOUNDS = ("_low", "_high")


def write(
    folder: Path,
    chosen: Mapping[str, object],
    metrics: Mapping[str, float],
    kept: str,
    figures: Sequence[Figure],
    predictions: Sequence[Section],
    files: Mapping[str, str],
    meanings: Mapping[str, str],
) -> None:
    """Write the report: choices, metrics, curves, and the predictions of each split.

    `kept` says which weights were kept, `predictions` are the sections of the splits, `files` maps names to
    descriptions, and `meanings` explains metrics of the task.
    """
    rows = [Metric(key, value, meaning, each) for key, value, each, meaning in _metric_rows(metrics, meanings)]
    notes = [f"{kept}."] * bool(kept) + [INTERVALS] + [CHOSEN_ON_DEV] * any(key.startswith("dev/") for key in metrics)
    listed = PageTable(["file", "content"], list(files.items()), names={"file"})
    sections = [metrics_section(rows, *map(Note, notes)), Section("Curves", figures), *predictions]
    config = (folder / CONFIG).read_text()
    write_report(folder, "finetune", config, chosen, [*sections, Section("Files", [listed])])


def _metric_rows(metrics: Mapping[str, float], meanings: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """Return the key, value, interval (or an empty string) and meaning of each metric."""
    rows, all_meanings = [], {**MEANINGS, **meanings}
    for key, value in metrics.items():
        if any(key.endswith(bound) and key.removesuffix(bound) in metrics for bound in BOUNDS):
            continue
        low, high = (metrics.get(key + bound) for bound in BOUNDS)
        interval = "" if low is None or high is None else f"{format_number(low)} to {format_number(high)}"
        rows.append((key, format_number(value), interval, all_meanings.get(key.partition("/")[2], "")))
    return rows


def kept_sentence(kept: int | None, history: Sequence[Mapping[str, float]], monitor: str) -> str:
    """Return which step's weights were kept and why, or an empty text if nothing was validated.

    The last line of the progress shows the last validation, which may be another one.
    """
    if kept is None:
        return ""
    return f"kept step {kept:,} of {int(history[-1]['step']):,}, chosen on dev by {monitor}"


def print_summary(
    metrics: Mapping[str, float], kept: str, files: Mapping[str, str], meanings: Mapping[str, str]
) -> None:
    """Print which weights were kept, the metrics, and the names of the files."""
    if kept:
        console.say(kept)
    rows = [list(row) for row in _metric_rows(metrics, meanings)]
    columns = ["metric", "value", "95 % interval", "meaning"]
    console.say(console.table("", columns, rows, right=set(columns[1:3])))
    console.say(f"\nreport: {REPORT}; metrics: {METRICS}; files: {', '.join(files)}")
