"""ssl predict: a finished run of ssl finetune answers new texts, or a file of any size, some thousand at a time."""

import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finetune.display import told
from ssl_cli.commands.finetune.finished import FinetuneRun, reopen
from ssl_cli.commands.finetune.prediction_writer import AT_ONCE, PredictionFile, chunks
from ssl_cli.data.io.records import Record
from ssl_cli.errors import InputError
from ssl_cli.runs.output_files import places

ASKED = ("text", "pair", "question", "context")


def run(cfg: DictConfig) -> Path | None:
    """Answer what the command line asks, or `cfg.input` into `cfg.output`, whose path it returns."""
    refuse_unclear(cfg)
    if cfg.input is not None:
        return answer_file(cfg)
    records = asked(cfg)
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    if cfg.pair is not None and not getattr(finished.task, "has_pair", False):
        raise InputError(f"pair= has no say: {finished.folder} has learned from one text at a time.")
    answers = finished.predict(records, cfg.precision)
    console.say(f"predict with {finished.folder}")
    for answer in answers:
        for part in told(answer, finished.labels):
            console.say(part)
    return None


# --- what the command line asks -----------------------------------------------------------------------------


def refuse_unclear(cfg: DictConfig) -> None:
    """Raise InputError where it isn't said what is to be answered, or where that should go."""
    given = [name for name in ASKED if cfg[name] is not None]
    if cfg.input is None and not given:
        raise InputError(
            'There is nothing to answer: say text="A touching film.", or question="..." context="...", or input=FILE '
            "output=FILE.jsonl."
        )
    if cfg.input is None and (cfg.output is not None or cfg.rejects is not None):
        raise InputError("output= and rejects= are for a file of records: say input=FILE.")
    if cfg.input is not None and given:
        raise InputError(f"{given[0]}= and input= are two things to answer: say one of them.")
    if cfg.input is not None and cfg.output is None:
        raise InputError("input= needs a file for its answers: say output=FILE.jsonl, or FILE.csv.")


def asked(cfg: DictConfig) -> list[dict[str, str]]:
    """A record for each text, or question."""
    given = {name: [cfg[name]] if isinstance(cfg[name], str) else list(cfg[name] or []) for name in ASKED}
    text, pair, question, context = given.values()
    if (text or pair) and (question or context):
        raise InputError("text= and question= are for different tasks: say one of them.")
    if question or context:
        if not (question and context):
            raise InputError('A question is answered from a passage: say question="..." context="...".')
        return [{"question": one, "context": context[0]} for one in question]
    if not text:
        raise InputError("pair= is a second text: say text= for the first.")
    if pair and len(pair) != len(text):
        raise InputError(f"There must be a pair for each text: text has {len(text)}, pair {len(pair)}.")
    return [{"text": one} | ({"pair": pair[k]} if pair else {}) for k, one in enumerate(text)]


# --- files --------------------------------------------------------------------------------------------------


def answer_file(cfg: DictConfig) -> Path:
    """Answer a file's records."""
    source, output, rejects = places(cfg)
    if not source.is_file():
        raise InputError(f"input={source} is {'a folder, not a file' if source.is_dir() else 'not a file'}.")
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    console.say(f"predict {source} with {finished.folder}")
    out, started = PredictionFile(), time.monotonic()
    with out.writing(output, rejects), console.progress("answering, records", None) as advance:
        for chunk in chunks(finished.task.records(source, finished.labels)):
            answer_chunk(finished, chunk, out, cfg.precision)
            if not out.answered and out.rejected >= AT_ONCE:  # a file of another kind
                break
            advance(out.answered + out.rejected, f"{out.answered / (time.monotonic() - started):,.0f} records/s")
        if not out.answered and out.rejected:
            raise InputError(f"input={source}: nothing in it can be answered: {'; '.join(out.named)}.")
        if not out.answered:
            raise InputError(f"input={source} holds no records.")
    print_summary(out, rejects, time.monotonic() - started)
    return output


def answer_chunk(finished: FinetuneRun, chunk: list[Record], out: PredictionFile, precision: Any) -> None:
    rows, examples = [], []
    for entry in chunk:
        try:
            if isinstance(entry.record, str):
                raise InputError(entry.record)
            examples.append(finished.task.given(entry.record))
            rows.append(entry.row)
        except InputError as error:
            out.reject(entry, str(error).rstrip("."))
    out.add(rows, finished.answered(examples, precision))


def print_summary(out: PredictionFile, rejects: Path, seconds: float) -> None:
    """What became of every record that came in."""
    if out.rejected:
        console.warn(f"{out.rejected:,} records can't be read and are in {rejects}: {'; '.join(out.named)}")
    total = out.answered + out.rejected
    console.say(f"records: {total:,} in = {out.answered:,} answered + {out.rejected:,} rejected")
    console.say(f"{out.answered / seconds:,.0f} records/s over {seconds:.1f} s")
