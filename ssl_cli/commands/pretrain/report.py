"""Report of a finished pretraining run: report.html in its folder, and a summary on the terminal."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from ssl_cli import console
from ssl_cli.commands.pretrain.evaluate import MEANINGS, TOKENS_PER_S
from ssl_cli.commands.pretrain.examples import EXAMPLES, PredictedText
from ssl_cli.evaluation import html as html_page
from ssl_cli.evaluation.html import CORRECT_STYLE, REPORT, WRONG_STYLE, Figure, format_number
from ssl_cli.runs.folder import CONFIG, METRICS

MAX_PRINTED_EXAMPLES = 2
ALL_MEANINGS = {f"val/{name}": meaning for name, meaning in MEANINGS.items()} | {
    TOKENS_PER_S: "training tokens per second",
    "train/mfu": "model FLOPs utilisation: share of the GPU's throughput in a large bfloat16 product",
}


def write(
    folder: Path,
    chosen: Mapping[str, object],
    metrics: Mapping[str, float],
    examples: Sequence[PredictedText],
    figures: Sequence[Figure],
) -> None:
    """Write the report: choices, metrics, figures, and example predictions. `chosen` are the choices to show."""
    parts = [
        '<p class="fine">All metrics are of held-out text; docs/pretrain.md has the formulas.</p>',
        "<h2>Metrics</h2>",
        html_page.metrics_table(_metric_rows(metrics)),
        "<h2>Figures</h2>",
        *map(html_page.figure_html, figures),
        "<h2>Predictions</h2>",
        f'<p class="fine">Held-out text with the predictions of the model; all are in {EXAMPLES}.</p>',
        *map(_example_html, examples),
    ]
    html_page.write_report(folder, "pretrain", (folder / CONFIG).read_text(), chosen, parts)


def _metric_rows(metrics: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Return the key, value and meaning of each metric."""
    keys = [*(key for key in ALL_MEANINGS if key in metrics), *(key for key in metrics if key not in ALL_MEANINGS)]
    return [(key, format_number(metrics[key]), ALL_MEANINGS.get(key, "")) for key in keys]


def _example_html(example: PredictedText) -> str:
    """Return a passage: correct predictions on green, wrong ones on red with their targets."""
    text = ""
    for piece in example.pieces:
        if piece.prediction is None:
            text += escape(piece.text)
            continue
        style = CORRECT_STYLE if piece.is_correct else WRONG_STYLE
        target = "" if piece.target is None or piece.is_correct else f" <s>{escape(piece.target)}</s>"
        title = "" if piece.probability is None else f' title="{piece.probability:.0%}"'
        text += f'<span style="{style}"{title}>{escape(piece.prediction)}{target}</span>'
    return f'<p style="white-space: pre-wrap">{text}</p><hr>'


def print_summary(metrics: Mapping[str, float], examples: Sequence[PredictedText], figures: Sequence[Figure]) -> None:
    """Print the metrics, a few example predictions, and the names of the files."""
    rows = [list(row) for row in _metric_rows(metrics)]
    console.say(console.table("", ["metric", "value", "meaning"], rows, right={"value"}))
    for example in examples[:MAX_PRINTED_EXAMPLES]:
        console.say(f"\n{example}")
    names = ", ".join(figure.name.removesuffix(".png") for figure in figures)
    shown = f"; predictions: {EXAMPLES}" if examples else ""
    console.say(f"\nfigures: {names}; report: {REPORT}; metrics: {METRICS}{shown}")
