"""What is told of a finished finetuning run: report.html in its folder, and a few lines on the terminal."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from ssl_cli import console
from ssl_cli.evaluation import html as html_page
from ssl_cli.evaluation.html import REPORT, Figure, number
from ssl_cli.runs.folder import CONFIG, METRICS

MEANINGS = {
    "loss": "what training made small, in nats (of numbers, the squared error)",
    "accuracy": "share of answers that are right",
    "f1": "harmonic mean of precision and recall, of the second class",
    "macro_f1": "F1 of each class, averaged",
    "matthews": "Matthews' correlation of answers and truth; 0 is chance",
    "pearson": "Pearson's correlation of answers and truth",
    "spearman": "Spearman's correlation: Pearson's of their ranks",
    "entity_f1": "F1 of entities: right only with its borders and its type",
    "entity_precision": "share of the entities answered that are right",
    "entity_recall": "share of the entities there that were found",
    "has_answer_f1": "F1 of the questions that have an answer",
    "no_answer_accuracy": "share of the questions without an answer that were given none",
    "calibration_error": "how far probabilities are from shares of right answers, in 15 bins; smaller is better",
}
CHOSEN_ON_DEV = (
    '<p class="fine">The best weights, and the threshold for no answer where there is one, were chosen on dev: its '
    "numbers are a little too good, and their intervals don't tell by how much.</p>"
)
ENDS = ("_low", "_high")
Section = tuple[str, list[str]]  # a split, and what is told of it: HTML


def write(
    folder: Path,
    chosen: Mapping[str, object],
    metrics: Mapping[str, float],
    figures: Sequence[Figure],
    sections: Sequence[Section],
    files: Mapping[str, str],
    meanings: Mapping[str, str],
) -> None:
    """The report: choices, numbers, curves, and each split's answers. `files`: names, and what they hold; `meanings`:
    of the metrics that the task says itself."""
    rows = [
        (key, f"{value} {interval and f'({interval})'}".strip(), about)
        for key, value, interval, about in _told(metrics, meanings)
    ]
    parts = [
        '<p class="fine">In brackets: 95 % intervals by drawing the examples again with replacement.</p>',
        "<h2>Numbers</h2>",
        html_page.numbers(rows),
        CHOSEN_ON_DEV if any(key.startswith("dev/") for key in metrics) else "",
        "<h2>Curves</h2>" if figures else "",
        *map(html_page.shown, figures),
        *("\n".join([f"<h2>Answers: {escape(split)}</h2>", *parts]) for split, parts in sections),
        "<h2>Files</h2>",
        html_page.table([[f"<td><code>{escape(name)}</code></td>", f"<td>{files[name]}</td>"] for name in files]),
    ]
    html_page.write(folder, "finetune", (folder / CONFIG).read_text(), chosen, parts)


def _told(metrics: Mapping[str, float], meanings: Mapping[str, str]) -> list[tuple[str, str, str, str]]:
    """Each number: its key, its value, its interval (or nothing), what it means; a split's together"""
    found, known = [], {**MEANINGS, **meanings}
    for key, value in metrics.items():
        if any(key.endswith(end) and key.removesuffix(end) in metrics for end in ENDS):
            continue
        low, high = (metrics.get(key + end) for end in ENDS)
        interval = "" if low is None or high is None else f"{number(low)} to {number(high)}"
        found.append((key, number(value), interval, known.get(key.partition("/")[2], "")))
    return found


def print_summary(metrics: Mapping[str, float], files: Mapping[str, str], meanings: Mapping[str, str]) -> None:
    """The numbers, and what lies where."""
    rows = [list(row) for row in _told(metrics, meanings)]
    columns = ["metric", "value", "95 % interval", "meaning"]
    console.say(console.table("", columns, rows, right=set(columns[1:3])))
    console.say(f"\nall on one page: {REPORT}; numbers: {METRICS}; files: {', '.join(files)}")
