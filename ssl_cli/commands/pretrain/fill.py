"""ssl fill: the likeliest words for the blanks of a text, by a finished run of BERT."""

import json
from dataclasses import asdict
from pathlib import Path

from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finished import runs_that_can
from ssl_cli.commands.pretrain.batch_view import with_blanks
from ssl_cli.commands.pretrain.finished import MASK, MaskCandidate, PretrainRun, reopen
from ssl_cli.data.io.lines import numbered_lines
from ssl_cli.errors import InputError
from ssl_cli.runs.outputs import write_whole


def run(cfg: DictConfig) -> Path | None:
    """Answer every mask of `cfg.text`, or of the lines of `cfg.input`; returns the output's path where there is one."""
    texts, output = texts_of(cfg), place(cfg)
    fills = runs_that_can("fill in a mask (model=bert)", "mask_logits", trust=tuple((cfg.trust or "").split()))
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust, fills)
    found = [(text, answers(finished, text, cfg.n, place)) for place, text in texts]
    console.say(f"fill with {finished.folder}")
    for text, masks in found:
        print_summary(text, masks)
    if output is not None:
        write_whole(output, "".join(line(text, masks) for text, masks in found).encode())
    return output


def answers(finished: PretrainRun, text: str, n: int, place: str) -> list[list[MaskCandidate]]:
    """InputErrors begin with the place that the text is from."""
    try:
        return finished.fill(text, n)
    except InputError as error:
        raise InputError(f"{place}{error}") from error


def line(text: str, masks: list[list[MaskCandidate]]) -> str:
    row = {"text": text, "masks": [[asdict(answer) for answer in answers] for answers in masks]}
    return json.dumps(row, ensure_ascii=False) + "\n"


def texts_of(cfg: DictConfig) -> list[tuple[str, str]]:
    """What is to be filled in, each text with the place that it is from, as a message begins."""
    if cfg.text is not None and cfg.input is not None:
        raise InputError("text= and input= are two things to fill in: say one of them.")
    if cfg.input is not None:
        lines = numbered_lines("input", cfg.input)
        return [(f"input={cfg.input}, line {number:,}: ", text) for number, text in lines.items()]
    texts = [cfg.text] if isinstance(cfg.text, str) else list(cfg.text or [])
    if not texts:
        raise InputError(f'There is no text to fill in: say text="Birds can {MASK}.", or input=FILE.')
    return [("", text) for text in texts]


def place(cfg: DictConfig) -> Path | None:
    """Where the answers go. Raises InputError where something would be overwritten, or there is no folder."""
    if cfg.output is None:
        return None
    output = Path(cfg.output).expanduser()
    if not output.parent.is_dir():
        raise InputError(f"output={output}: there is no folder {output.parent}; make it first.")
    if output.is_dir():
        raise InputError(f"output={output} is a folder; name a file in it.")
    if output.exists() and not cfg.overwrite:
        raise InputError(f"output={output} exists: name another file, or say overwrite=true.")
    if cfg.input is not None and output.exists() and output.resolve() == Path(cfg.input).expanduser().resolve():
        raise InputError(f"output={output} is the input itself: name another file.")
    return output


def print_summary(text: str, masks: list[list[MaskCandidate]]) -> None:
    """A text, and beneath it a column of answers for each of its masks, the likeliest on top."""
    names = ["answer"] if len(masks) == 1 else [f"answer {k + 1}" for k in range(len(masks))]
    columns = [column for name in names for column in (name, "probability")]
    rows = [
        [cell for answer in row for cell in (shown(answer.token), f"{answer.probability:.1%}")]
        for row in zip(*masks, strict=True)
    ]
    console.say(console.table(text, columns, rows, right={"probability"}))


def shown(token: str) -> str:
    return with_blanks(token) if token.isspace() else token
