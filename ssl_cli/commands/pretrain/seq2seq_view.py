"""Print a batch of an encoder-decoder: the source that it reads, what its decoder reads, and what that is to write."""

from collections.abc import Mapping, Sequence
from shutil import get_terminal_size

from torch import Tensor

from ssl_cli import console
from ssl_cli.commands.pretrain.batch_view import MARKS, MAX_COLUMNS, Cell, cell_lines, visible_token
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.printable import Styled

MAX_EXAMPLES = 2
MAX_LINES = 3  # of the source, and pairs of lines of the decoder, so that all stays at about twenty lines
MARKERS = ("mask", "sentinel")  # what stands for a missing token or span
STYLES = {"mask": "bold red", "sentinel": "bold yellow", "missing": "bold green", "special": "dim"}
STYLES |= {"target": "", "": ""}


def show(tokenizer: Tokenizer, inputs: Mapping[str, Tensor]) -> None:
    """Print the beginnings of the first pairs that a method's `make_inputs` returns, below a legend."""
    kinds = {token: "mask" if role == "mask" else "special" for role, token in tokenizer.specials.items()}
    kinds |= dict.fromkeys(tokenizer.sentinels, "sentinel")
    (n_pairs, n_source), n_target = inputs["source"].shape, inputs["targets"].shape[1]
    pairs = [
        pair_cells(tokenizer, {name: array[row] for name, array in inputs.items()}, kinds)
        for row in range(min(MAX_EXAMPLES, n_pairs))
    ]
    console.say(legend([cell for pair in pairs for cells in pair for cell in cells]))
    columns = min(MAX_COLUMNS, get_terminal_size((MAX_COLUMNS, 1)).columns - 1)
    for number, (source, decoder) in enumerate(pairs, 1):
        n_missing = int(inputs["missing"][number - 1].sum())
        size = f"a source of {n_source} tokens, a target of {n_target}, {n_missing} of them missing in the source"
        console.say(f"\nexample {number}: {size}", style="bold")
        lines = cell_lines(source, columns, STYLES)[::2]
        console.say("source" + _cut(len(lines)), style="dim")
        for line in lines[:MAX_LINES]:
            console.say(line)
        lines = cell_lines(decoder, columns, STYLES)
        console.say("decoder" + _cut(len(lines) // 2), style="dim")
        for line in lines[: 2 * MAX_LINES]:
            console.say(line)


def _cut(n_lines: int) -> str:
    return ", its beginning" if n_lines > MAX_LINES else ""


def legend(cells: Sequence[Cell]) -> Styled:
    """Return what lines, colours and marks mean, of those that the cells have."""
    markers = [kind for kind in MARKERS if any(cell.kind == kind for cell in cells)]
    text = Styled().append("The encoder reads the source")
    if markers:
        text.append(", where ")
        for kind in markers:
            text.append(f"a {kind}", STYLES[kind]).append(" or " if kind != markers[-1] else "")
        text.append(" stands for what was taken from it")
    text.append(". The decoder reads the upper line of each pair and is to write the lower one, the ")
    text.append("missing", STYLES["missing"]).append(" tokens among them. ")
    shown = [token for cell in cells for token in (cell.token, cell.target)]
    marks = [f"{mark} {meaning}" for mark, meaning in MARKS.items() if any(mark in token for token in shown)]
    return text.append(f"{', '.join(marks)}." if marks else "")


def pair_cells(
    tokenizer: Tokenizer, inputs: Mapping[str, Tensor], kinds: Mapping[int, str]
) -> tuple[list[Cell], list[Cell]]:
    """Return the cells of one source, and of its decoder: tokens read, and below them tokens to be written.

    `kinds`: special token -> a key of STYLES.
    """
    source = [Cell(visible_token(tokenizer, token), "", kinds.get(token, "")) for token in inputs["source"].tolist()]
    read, written, missing = (inputs[name].tolist() for name in ("inputs", "targets", "missing"))
    decoder = [
        Cell(
            visible_token(tokenizer, token),
            visible_token(tokenizer, target),
            kinds.get(token, ""),
            "missing" if is_missing else kinds.get(target, ""),
        )
        for token, target, is_missing in zip(read, written, missing, strict=True)
    ]
    return source, decoder
