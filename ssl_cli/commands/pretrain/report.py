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
from ssl_cli.printable import Styled
from ssl_cli.runs.folder import CONFIG, METRICS

MAX_PRINTED_EXAMPLES, MAX_PRINTED_CHARS = 2, 500  # passages, and characters of each: with the legend a dozen lines
OF_MASKS = (
    "in brackets the token predicted for a masked one and its probability: [dog 45%] is right, [cat 9%, not dog] is not"
)
OF_CONTINUATIONS = "in brackets what the model continues it with"
VISIBLE = str.maketrans({"\n": "⏎", "\r": "⏎", "\t": "→"})
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
    if examples:
        print_examples(examples[:MAX_PRINTED_EXAMPLES])
    names = ", ".join(figure.name.removesuffix(".png") for figure in figures)
    shown = f"; predictions: {EXAMPLES}" if examples else ""
    console.say(f"\nfigures: {names}; report: {REPORT}; metrics: {METRICS}{shown}")


def print_examples(examples: Sequence[PredictedText]) -> None:
    """Print the beginnings of some passages with their predictions, below a legend: less than twenty lines."""
    has_targets = any(piece.target is not None for example in examples for piece in example.pieces)
    shown = [_styled(example) for example in examples]
    breaks = "; ⏎: a line break" if any("⏎" in passage.plain for passage in shown) else ""
    console.say(f"\nheld-out text, {OF_MASKS if has_targets else OF_CONTINUATIONS}{breaks}", style="bold")
    for passage in shown:
        console.say("")
        console.say(passage)


def _styled(example: PredictedText) -> Styled:
    """Return the beginning of a passage on one line, with right predictions in green and wrong ones in red."""
    passage, n_left = Styled(), MAX_PRINTED_CHARS
    for piece in example.pieces:
        text = str(piece).translate(VISIBLE)
        text = text.lstrip() if not passage.pieces else text
        style = "" if piece.prediction is None else "green" if piece.is_correct else "red"
        if len(text) > n_left:
            is_cut_inside = piece.target is None  # a prediction with its target is whole, or left out
            return passage.append(text[:n_left] if is_cut_inside else "", style).append(" ...")
        passage.append(text, style)
        n_left -= len(text)
    return passage
