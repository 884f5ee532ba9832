"""What is told of a finished pretraining run: report.html in its folder, and a few lines on the terminal."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from ssl_cli import console
from ssl_cli.commands.pretrain.evaluate import MEANINGS, SPEED
from ssl_cli.commands.pretrain.examples import EXAMPLES, PredictedText
from ssl_cli.evaluation import html as html_page
from ssl_cli.evaluation.html import REPORT, RIGHT, WRONG, Figure, number
from ssl_cli.runs.folder import CONFIG, METRICS

TOLD = 2  # examples on the terminal


def write(
    folder: Path,
    chosen: Mapping[str, object],
    metrics: Mapping[str, float],
    examples: Sequence[PredictedText],
    figures: Sequence[Figure],
) -> None:
    """The report: choices, numbers, figures, and what the model answers. `chosen` are the choices worth naming."""
    parts = [
        '<p class="fine">All numbers are of held-out text; docs/pretrain.md has the formulas.</p>',
        "<h2>Numbers</h2>",
        html_page.numbers(_told(metrics)),
        "<h2>Figures</h2>",
        *map(html_page.shown, figures),
        "<h2>Answers</h2>",
        f'<p class="fine">Held-out text, and what the model makes of it; all in {EXAMPLES}.</p>',
        *map(_answered, examples),
    ]
    html_page.write(folder, "pretrain", (folder / CONFIG).read_text(), chosen, parts)


def _told(metrics: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Each number: its key, its value as text, what it means"""
    known = {f"val/{name}": meaning for name, meaning in MEANINGS.items()} | {
        SPEED: "tokens trained on a second",
        "train/mfu": "model FLOPs utilisation: share of the GPU's pace in a large bfloat16 product",
    }
    names = [*(key for key in known if key in metrics), *(key for key in metrics if key not in known)]
    return [(key, number(metrics[key]), known.get(key, "")) for key in names]


def _answered(example: PredictedText) -> str:
    """A passage: guesses on green where they are right, on red with the truth beside them where they are not"""
    text = ""
    for part in example.parts:
        if part.guess is None:
            text += escape(part.text)
            continue
        style = RIGHT if part.is_right else WRONG
        truth = "" if part.truth is None or part.is_right else f" <s>{escape(part.truth)}</s>"
        share = "" if part.share is None else f' title="{part.share:.0%}"'
        text += f'<span style="{style}"{share}>{escape(part.guess)}{truth}</span>'
    return f'<p style="white-space: pre-wrap">{text}</p><hr>'


def print_summary(metrics: Mapping[str, float], examples: Sequence[PredictedText], figures: Sequence[Figure]) -> None:
    """The numbers, a few answers, and what lies where."""
    rows = [list(row) for row in _told(metrics)]
    console.say(console.table("", ["metric", "value", "meaning"], rows, right={"value"}))
    for example in examples[:TOLD]:
        console.say(f"\n{example}")
    names = ", ".join(figure.name.removesuffix(".png") for figure in figures)
    console.say(f"\nfigures: {names}; all on one page: {REPORT}; numbers: {METRICS}; answers: {EXAMPLES}")
