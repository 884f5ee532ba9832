"""Print a batch as the model sees it: masked, replaced and kept tokens, and below each token its target."""

from collections.abc import Mapping, Sequence
from shutil import get_terminal_size
from typing import NamedTuple

from torch import Tensor

from ssl_cli import console
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.models.losses import IGNORE_INDEX
from ssl_cli.printable import Styled, escape_controls, width_of

MAX_ROWS = 2  # rows that are shown
MAX_PAIRS = 3  # pairs of lines of each, so that all stays under twenty lines
MAX_COLUMNS = 110  # of a line, or as many as the terminal has
CORRUPTIONS = ("masked", "replaced", "kept")
STYLES = {"masked": "bold red", "replaced": "bold yellow", "kept": "bold green"}
STYLES |= {"special": "dim", "target": "italic", "": ""}
VISIBLE = str.maketrans({"▁": "·", " ": "·", "\u3000": "·", "\n": "⏎", "\r": "⏎", "\t": "→"})
CORRUPTION_MEANINGS = {"masked": "[MASK]", "replaced": "another token", "kept": "the token itself"}
MARKS = {"·": "a blank", "⏎": "a line break", "→": "a tab", "##": "the word goes on"}
PAIR_LABELS = {0: "the second text follows the first", 1: "the second text doesn't follow the first"}


class Cell(NamedTuple):
    """A token of the input, its target ("" if it has none), and the kind of each: a key of STYLES."""

    token: str
    target: str
    kind: str
    target_kind: str = "target"


def show(tokenizer: Tokenizer, inputs: Mapping[str, Tensor]) -> None:
    """Print the beginnings of the first rows of the inputs that a method's `make_inputs` returns, below a legend."""
    specials = {token: name for name, token in tokenizer.specials.items()}
    n_rows = min(MAX_ROWS, len(inputs["inputs"]))
    rows = [
        row_cells(tokenizer, {name: array[row] for name, array in inputs.items()}, specials) for row in range(n_rows)
    ]
    console.say(legend("positions" in inputs, [cell.token for cells in rows for cell in cells]))
    for row, cells in enumerate(rows):
        counts = {kind: sum(cell.kind == kind for cell in cells) for kind in CORRUPTIONS}
        corrupted = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        pair = f"; {PAIR_LABELS[int(inputs['pair'][row])]}" if "pair" in inputs else ""
        lines = cell_lines(cells, min(MAX_COLUMNS, get_terminal_size((MAX_COLUMNS, 1)).columns - 1))
        cut = "; it begins" if len(lines) > 2 * MAX_PAIRS else ""
        title = f"\nexample {row + 1}: {len(cells)} tokens{corrupted and f', {corrupted}'}{pair}{cut}"
        console.say(title, style="bold")
        for line in lines[: 2 * MAX_PAIRS]:
            console.say(line)


def legend(is_masked_lm: bool, tokens: Sequence[str]) -> Styled:
    """Return what the lines, colours and marks mean, of those that the tokens have."""
    text = Styled()
    if is_masked_lm:
        text.append("below each token that is to be predicted: the original. Shown in its place: ")
        for kind, meaning in CORRUPTION_MEANINGS.items():
            text.append(f"{meaning} ({kind})", STYLES[kind]).append("; " if kind != CORRUPTIONS[-1] else ". ")
    else:
        text.append("below each token: the next one, which is to be predicted from all up to there. ")
    marks = [f"{mark} {meaning}" for mark, meaning in MARKS.items() if any(mark in token for token in tokens)]
    return text.append(f"{', '.join(marks)}." if marks else "")


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


def cell_lines(
    cells: list[Cell], max_columns: int = MAX_COLUMNS, styles: Mapping[str, str] = STYLES
) -> list[Styled]:
    """Return pairs of lines, no wider than `max_columns`: tokens, and below them their targets."""
    lines: list[Styled] = []
    upper, lower, width = Styled(), Styled(), 0
    for token, target, kind, target_kind in cells:
        cell_width = max(width_of(token), width_of(target))
        if width and width + cell_width > max_columns:
            lines += [upper, lower]
            upper, lower, width = Styled(), Styled(), 0
        upper.append(token, styles[kind]).append(" " * (cell_width - width_of(token) + 1))
        lower.append(target, styles[target_kind]).append(" " * (cell_width - width_of(target) + 1))
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
