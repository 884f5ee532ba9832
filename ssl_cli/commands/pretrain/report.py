"""Report of a finished pretraining run: report.html in its folder, and a summary on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_cli import console
from ssl_cli.commands.pretrain.evaluate import MEANINGS, TOKENS_PER_S
from ssl_cli.commands.pretrain.examples import EXAMPLES, PredictedText, TextPiece
from ssl_cli.evaluation.html import (
    REPORT,
    Block,
    Figure,
    Metric,
    Note,
    Passage,
    Piece,
    Section,
    format_number,
    metrics_section,
    write_report,
)
from ssl_cli.runs.folder import CONFIG, METRICS

MAX_PRINTED_EXAMPLES = 2
LEGEND = "Held-out text with predictions of the model: correct ones are green, wrong ones red, before what is there."
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
    note = Note("All metrics are of held-out text; docs/pretrain.md has the formulas.")
    shown: list[Block] = [Note(f"{LEGEND} All are in {EXAMPLES}."), *map(_passage, examples)] if examples else []
    sections = [
        metrics_section([Metric(*row) for row in _metric_rows(metrics)], note),
        Section("Figures", figures),
        Section("Predictions", shown),
    ]
    write_report(folder, "pretrain", (folder / CONFIG).read_text(), chosen, sections)


def _metric_rows(metrics: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Return the key, value and meaning of each metric."""
    keys = [*(key for key in ALL_MEANINGS if key in metrics), *(key for key in metrics if key not in ALL_MEANINGS)]
    return [(key, format_number(metrics[key]), ALL_MEANINGS.get(key, "")) for key in keys]


def _passage(example: PredictedText) -> Passage:
    """Return a passage with its predictions, and the target of each wrong one."""
    return Passage([_piece(piece) for piece in example.pieces])


def _piece(piece: TextPiece) -> Piece:
    if piece.prediction is None:
        return Piece(piece.text)
    probability = "" if piece.probability is None else f"{piece.probability:.0%}"
    target = "" if piece.target is None or piece.is_correct else piece.target
    return Piece(piece.prediction, piece.is_correct, probability, target)


def print_summary(metrics: Mapping[str, float], examples: Sequence[PredictedText], figures: Sequence[Figure]) -> None:
    """Print the metrics, a few example predictions, and the names of the files."""
    rows = [list(row) for row in _metric_rows(metrics)]
    console.say(console.table("", ["metric", "value", "meaning"], rows, right={"value"}))
    for example in examples[:MAX_PRINTED_EXAMPLES]:
        console.say(f"\n{example}")
    names = ", ".join(figure.name.removesuffix(".png") for figure in figures)
    shown = f"; predictions: {EXAMPLES}" if examples else ""
    console.say(f"\nfigures: {names}; report: {REPORT}; metrics: {METRICS}{shown}")
