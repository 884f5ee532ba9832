"""Report of a finished pretraining run: report.html in its folder, and a summary on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ssl_cli import console
from ssl_cli.commands.pretrain.evaluate import MEANINGS, TOKENS_PER_S
from ssl_cli.commands.pretrain.examples import EXAMPLES
from ssl_cli.commands.pretrain.predicted_text import PredictedText, TextPiece, visible_breaks
from ssl_cli.commands.pretrain.restored import RestoredText
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
MAX_SOURCE_CHARS = 230  # of a source and of what was written for it
OF_MASKS = (
    "in brackets the token predicted for a masked one and its probability: [dog 45%] is right, [cat 9%, not dog] is not"
)
OF_CONTINUATIONS = "in brackets what the model continues it with"
OF_RESTORED = "restored: in brackets what the source does not show, or is wrong: [dog] is right, [cat, not dog] is not"
LEGEND = "Held-out text with predictions of the model: correct ones are green, wrong ones red, before what is there."
LEGEND_OF_RESTORED = (
    "Held-out text as the model reads it, then what it wrote: what the source does not show is green, what is wrong "
    "red, before what is right; at the end the whole target."
)
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
    legend = LEGEND_OF_RESTORED if any(isinstance(example, RestoredText) for example in examples) else LEGEND
    shown: list[Block] = [Note(f"{legend} All are in {EXAMPLES}."), *map(_passage, examples)] if examples else []
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
    pieces = [_piece(piece) for piece in example.pieces]
    if isinstance(example, RestoredText):
        return Passage([Piece(f"{example.source}\n\n"), *pieces], closing=example.right)
    return Passage(pieces)


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
    shown = [part for example in examples for part in _printed(example)]
    breaks = "; ⏎: a line break" if any("⏎" in passage.plain for passage in shown) else ""
    console.say(f"\nheld-out text, {_meaning_of_brackets(examples)}{breaks}", style="bold")
    for passage in shown:
        console.say("")
        console.say(passage)


def _meaning_of_brackets(examples: Sequence[PredictedText]) -> str:
    """Return what stands in brackets in the passages."""
    if any(isinstance(example, RestoredText) for example in examples):
        return OF_RESTORED
    has_targets = any(piece.target is not None for example in examples for piece in example.pieces)
    return OF_MASKS if has_targets else OF_CONTINUATIONS


def _printed(example: PredictedText) -> list[Styled]:
    """Return the beginning of a passage; of a restored text, those of its source and of what was written."""
    if not isinstance(example, RestoredText):
        return [_styled(example.pieces, MAX_PRINTED_CHARS)]
    source, wrote = TextPiece(f"source: {example.source}"), [TextPiece("wrote: "), *example.pieces]
    return [_styled([source], MAX_SOURCE_CHARS), _styled(wrote, MAX_SOURCE_CHARS)]


def _styled(pieces: Sequence[TextPiece], n_left: int) -> Styled:
    """Return the beginning of a passage on one line, with right predictions in green and wrong ones in red."""
    passage = Styled()
    for piece in pieces:
        text = visible_breaks(str(piece))
        text = text.lstrip() if not passage.pieces else text
        style = "" if piece.prediction is None else "green" if piece.is_correct else "red"
        if len(text) > n_left:
            # A prediction with its probability and target is whole, or left out.
            is_cut_inside = piece.target is None or piece.probability is None
            return passage.append(text[:n_left] if is_cut_inside else "", style).append(" ...")
        passage.append(text, style)
        n_left -= len(text)
    return passage
