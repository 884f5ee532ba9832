"""A batch as the model sees it, for people: what is hidden, replaced or kept, and beneath it what must be guessed."""

from collections.abc import Mapping

from rich.text import Text
from torch import Tensor

from ssl_cli import console
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.models.losses import IGNORED

ROWS = 3  # examples
WIDTH = 110  # columns
COLOURS = {"hidden": "bold red", "replaced": "bold yellow", "kept": "bold green", "special": "dim", "": ""}
VISIBLE = str.maketrans({"▁": "·", " ": "·", "\u3000": "·", "\n": "⏎", "\r": "⏎", "\t": "→"})
PAIRS = {0: "the second text follows the first", 1: "the second text doesn't follow the first"}
Cell = tuple[str, str, str]  # what is seen, what must be said, which kind of token it is


def show(tokenizer: Tokenizer, given: Mapping[str, Tensor]) -> None:
    """Print the first rows of what an objective's `prepare` gives."""
    specials = {token: name for name, token in tokenizer.specials.items()}
    for row in range(min(ROWS, len(given["inputs"]))):
        cells = cells_of(tokenizer, {name: array[row] for name, array in given.items()}, specials)
        counts = {kind: sum(cell[2] == kind for cell in cells) for kind in ("hidden", "replaced", "kept")}
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        pair = f"; {PAIRS[int(given['pair'][row])]}" if "pair" in given else ""
        console.say(f"\nexample {row + 1}: {len(cells)} tokens{told and f', {told}'}{pair}", style="bold")
        for line in lines_of(cells):
            console.say(line)
    legend = Text("\nbeneath: what must be guessed. ")
    if "positions" in given:
        for kind in ("hidden", "replaced", "kept"):
            legend.append(f"{kind} ", COLOURS[kind])
    console.say(legend)


def cells_of(tokenizer: Tokenizer, given: Mapping[str, Tensor], specials: Mapping[int, str]) -> list[Cell]:
    """One row: each token, what must be said there (or nothing), and its kind."""
    inputs: list[int] = given["inputs"].tolist()
    if "positions" in given:
        pairs = zip(given["positions"].tolist(), given["targets"].tolist(), strict=True)
        goals = {place: target for place, target in pairs if target != IGNORED}
    else:
        goals = {place: target for place, target in enumerate(given["targets"].tolist()) if target != IGNORED}
    cells = []
    for place, token in enumerate(inputs):
        goal = goals.get(place)
        kind = "special" if token in specials else ""
        if goal is not None and "positions" in given:
            is_mask = specials.get(token) == "mask"
            kind = "hidden" if is_mask else "kept" if token == goal else "replaced"
        cells.append((visible(tokenizer, token), "" if goal is None else visible(tokenizer, goal), kind))
    return cells


def lines_of(cells: list[Cell]) -> list[Text]:
    """Two lines at a time: tokens, and beneath them what must be said."""
    lines: list[Text] = []
    above, beneath, width = Text(), Text(), 0
    for seen, goal, kind in cells:
        room = max(Text(seen).cell_len, Text(goal).cell_len)
        if width and width + room > WIDTH:
            lines += [above, beneath]
            above, beneath, width = Text(), Text(), 0
        above.append(seen, COLOURS[kind]).append(" " * (room - Text(seen).cell_len + 1))
        beneath.append(goal, "italic").append(" " * (room - Text(goal).cell_len + 1))
        width += room + 1
    return [*lines, above, beneath]


def visible(tokenizer: Tokenizer, token: int) -> str:
    """A token with its blanks shown, and bytes as the text they are"""
    name = tokenizer.token(token)
    if tokenizer.is_byte_level and token not in tokenizer.specials.values():
        name = tokenizer.decode([token])
    return with_blanks(name)


def with_blanks(text: str) -> str:
    """A text whose blanks can be seen"""
    return console.harmless(text.translate(VISIBLE))
