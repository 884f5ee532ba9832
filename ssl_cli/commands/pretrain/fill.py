"""ssl fill: predict what is missing in a text with a finished run of a BERT or an encoder-decoder."""

import json
from dataclasses import asdict
from itertools import zip_longest
from pathlib import Path

from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finished import runs_that_can
from ssl_cli.commands.pretrain.batch_view import visible_whitespace
from ssl_cli.commands.pretrain.finished import PretrainRun, reopen
from ssl_cli.commands.pretrain.gaps import MASK, MaskCandidate
from ssl_cli.data.io.lines import read_numbered_lines
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import FillsMasks, WritesText
from ssl_cli.runs.outputs import write_output_file


def run(cfg: DictConfig) -> Path | None:
    """Fill every mask of `cfg.text`, or of the lines of `cfg.input`. Return the path of the output file, if any."""
    texts, output = read_texts(cfg), output_path(cfg)
    ability, trust = "fill in a mask (model=bert, bart, mass or t5)", tuple((cfg.trust or "").split())
    run_filter = runs_that_can(ability, FillsMasks, WritesText, trust=trust)
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust, run_filter)
    filled = [(text, fill_text(finished, text, cfg.n, place)) for place, text in texts]
    console.say(f"fill with {finished.folder}")
    for text, masks in filled:
        print_summary(text, masks)
    if output is not None:
        write_output_file(output, "".join(to_json_line(text, masks) for text, masks in filled).encode())
    return output


def fill_text(finished: PretrainRun, text: str, n: int, place: str) -> list[list[MaskCandidate]]:
    """Return the candidates of each mask. An InputError begins with the place that the text is from."""
    try:
        return finished.fill(text, n)
    except InputError as error:
        raise InputError(f"{place}{error}") from error


def to_json_line(text: str, masks: list[list[MaskCandidate]]) -> str:
    """Return a line of the output file."""
    row = {"text": text, "masks": [[asdict(candidate) for candidate in candidates] for candidates in masks]}
    return json.dumps(row, ensure_ascii=False) + "\n"


def read_texts(cfg: DictConfig) -> list[tuple[str, str]]:
    """Return (place, text) of each text to fill in; a message about it begins with the place."""
    if cfg.text is not None and cfg.input is not None:
        raise InputError("text= and input= both name texts to fill in: set one of them.")
    if cfg.input is not None:
        lines = read_numbered_lines("input", cfg.input)
        return [(f"input={cfg.input}, line {number:,}: ", text) for number, text in lines.items()]
    texts = [cfg.text] if isinstance(cfg.text, str) else list(cfg.text or [])
    if not texts:
        raise InputError(f'There is no text to fill in: set text="Birds can {MASK}.", or input=FILE.')
    return [("", text) for text in texts]


def output_path(cfg: DictConfig) -> Path | None:
    """Return the path of the output file. Raises InputError if it has no folder, or would overwrite something."""
    if cfg.output is None:
        return None
    output = Path(cfg.output).expanduser()
    if not output.parent.is_dir():
        raise InputError(f"output={output}: there is no folder {output.parent}; make it first.")
    if output.is_dir():
        raise InputError(f"output={output} is a folder; name a file in it.")
    if output.exists() and not cfg.overwrite:
        raise InputError(f"output={output} exists: name another file, or set overwrite=true.")
    if cfg.input is not None and output.exists() and output.resolve() == Path(cfg.input).expanduser().resolve():
        raise InputError(f"output={output} is the input itself: name another file.")
    return output


def print_summary(text: str, masks: list[list[MaskCandidate]]) -> None:
    """Print a text, and below it a column of candidates for each mask, the most likely first."""
    names = ["candidate"] if len(masks) == 1 else [f"candidate {k + 1}" for k in range(len(masks))]
    columns = [column for name in names for column in (name, "probability")]
    rows = [
        [cell for candidate in row for cell in cells(candidate)] for row in zip_longest(*masks)  # phrases may be fewer
    ]
    console.say(console.table(text, columns, rows, right={"probability"}))


def cells(candidate: MaskCandidate | None) -> tuple[str, str]:
    """Return a candidate as it is printed: its token, with visible whitespace if it is nothing else, and its share."""
    if candidate is None:
        return "", ""
    token = visible_whitespace(candidate.token) if candidate.token.isspace() else candidate.token
    return token or "(nothing)", f"{candidate.probability:.1%}"
