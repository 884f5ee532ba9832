"""Print a batch as the model sees it: masked, replaced and kept tokens, and below each token its target."""

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from ssl_cli import console
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.models.losses import IGNORE_INDEX
from ssl_cli.printable import Styled, escape_controls, width_of

MAX_ROWS = 3  # rows that are shown
MAX_COLUMNS = 110  # of the terminal
CORRUPTIONS = ("masked", "replaced", "kept")
STYLES = {"masked": "bold red", "replaced": "bold yellow", "kept": "bold green", "special": "dim", "": ""}
VISIBLE = str.maketrans({"▁": "·", " ": "·", "\u3000": "·", "\n": "⏎", "\r": "⏎", "\t": "→"})
PAIR_LABELS = {0: "the second text follows the first", 1: "the second text doesn't follow the first"}


class Cell(NamedTuple):
    """A token of the input, its target ("" if it has none), and its kind: a key of STYLES."""

    token: str
    target: str
    kind: str


def show(tokenizer: Tokenizer, inputs: Mapping[str, Tensor]) -> None:
    """Print the first rows of the inputs that a method's `make_inputs` returns."""
    specials = {token: name for name, token in tokenizer.specials.items()}
    for row in range(min(MAX_ROWS, len(inputs["inputs"]))):
        cells = row_cells(tokenizer, {name: array[row] for name, array in inputs.items()}, specials)
        counts = {kind: sum(cell.kind == kind for cell in cells) for kind in CORRUPTIONS}
        corrupted = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        pair = f"; {PAIR_LABELS[int(inputs['pair'][row])]}" if "pair" in inputs else ""
        console.say(f"\nexample {row + 1}: {len(cells)} tokens{corrupted and f', {corrupted}'}{pair}", style="bold")
        for line in cell_lines(cells):
            console.say(line)
    legend = Styled().append("\nbelow each token: its target. ")
    if "positions" in inputs:
        for kind in CORRUPTIONS:
            legend.append(f"{kind} ", STYLES[kind])
    console.say(legend)


def row_cells(tokenizer: Tokenizer, inputs: Mapping[str, Tensor], specials: Mapping[int, str]) -> list[Cell]:
    """Return a cell for each token of one row; `specials`: id -> role."""
    ids: list[int] = inputs["inputs"].tolist()
    is_masked_lm = "positions" in inputs
    positions = inputs["positions"].tolist() if is_masked_lm else range(len(ids))
    pairs = zip(positions, inputs["targets"].tolist(), strict=True)
    targets = {position: target for position, target in pairs if target != IGNORE_INDEX}
    cells = []
    for position, token in enumerate(ids):
        target = targets.get(position)
        kind = "special" if token in specials else ""
        if target is not None and is_masked_lm:
            is_mask = specials.get(token) == "mask"
            kind = "masked" if is_mask else "kept" if token == target else "replaced"
        cells.append(
            Cell(visible_token(tokenizer, token), "" if target is None else visible_token(tokenizer, target), kind)
        )
    return cells


def cell_lines(cells: list[Cell]) -> list[Styled]:
    """Return pairs of lines, no wider than MAX_COLUMNS: tokens, and below them their targets."""
    lines: list[Styled] = []
    upper, lower, width = Styled(), Styled(), 0
    for token, target, kind in cells:
        cell_width = max(width_of(token), width_of(target))
        if width and width + cell_width > MAX_COLUMNS:
            lines += [upper, lower]
            upper, lower, width = Styled(), Styled(), 0
        upper.append(token, STYLES[kind]).append(" " * (cell_width - width_of(token) + 1))
        lower.append(target, "italic").append(" " * (cell_width - width_of(target) + 1))
        width += cell_width + 1
    return [*lines, upper, lower]


def visible_token(tokenizer: Tokenizer, token: int) -> str:
    """Return a token with visible whitespace; a byte-level token is decoded to text."""
    name = tokenizer.token(token)
    if tokenizer.is_byte_level and token not in tokenizer.specials.values():
        name = tokenizer.decode([token])
    return visible_whitespace(name)


def visible_whitespace(text: str) -> str:
    """Return a text with signs in place of spaces, tabs and line breaks."""
    return escape_controls(text.translate(VISIBLE))
