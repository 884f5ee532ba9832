"""ssl predict: predict with a finished run of ssl finetune: new texts, a file of any size, recordings or images."""

import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finetune.display import rendered
from ssl_cli.commands.finetune.finished import FinetuneRun, reopen
from ssl_cli.commands.finetune.finished_images import FinetunedImageRun
from ssl_cli.commands.finetune.finished_speech import FinetunedSpeechRun
from ssl_cli.commands.finetune.predict_images import predict_images
from ssl_cli.commands.finetune.predict_speech import predict_recordings
from ssl_cli.commands.finetune.prediction_writer import CHUNK_RECORDS, PredictionWriter, chunks
from ssl_cli.commands.finished import Finished
from ssl_cli.data.io.records import Record
from ssl_cli.errors import InputError
from ssl_cli.runs.outputs import file_paths
from ssl_cli.tasks.task import TakesPairs

FIELDS = ("text", "pair", "question", "context")


def run(cfg: DictConfig) -> Path | None:
    """Predict the texts of the command line and print the result, or predict `cfg.input` and return `cfg.output`."""
    check_request(cfg)
    if cfg.input is not None:
        return predict_file(cfg)
    records = requested_records(cfg)
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    check_options_of_text(cfg, finished)
    assert isinstance(finished, FinetuneRun)
    if cfg.pair is not None and not (isinstance(finished.task, TakesPairs) and finished.task.has_pair):
        raise InputError(f"pair= can't be used: {finished.folder} was trained on single texts.")
    predictions = finished.predict(records, cfg.precision)
    console.say(f"predict with {finished.folder}")
    for prediction in predictions:
        for part in rendered(prediction, finished.labels):
            console.say(part)
    return None


# --- texts of the command line ------------------------------------------------------------------------------


def check_request(cfg: DictConfig) -> None:
    """Raise InputError if the input or the output is missing or ambiguous."""
    fields = [name for name in FIELDS if cfg[name] is not None]
    if cfg.input is None and not fields:
        raise InputError(
            'There is no input: set text="A touching film.", or question="..." context="...", or input=FILE '
            "output=FILE.jsonl."
        )
    if cfg.input is None and (cfg.output is not None or cfg.rejects is not None):
        raise InputError("output= and rejects= need a file of records: set input=FILE.")
    if cfg.input is not None and fields:
        raise InputError(f"{fields[0]}= and input= are two inputs: set only one of them.")
    if cfg.input is not None and cfg.output is None:
        raise InputError("input= needs a file for the predictions: set output=FILE.jsonl, or FILE.csv.")


def check_options_of_text(cfg: DictConfig, finished: Finished) -> None:
    """Raise InputError if an option for text is set, and the run is of something else."""
    if isinstance(finished, FinetuneRun):
        return
    kind, suffix = ("images", "png") if isinstance(finished, FinetunedImageRun) else ("speech", "wav")
    if unused := [name for name in FIELDS if cfg[name] is not None]:
        raise InputError(
            f"{unused[0]}= is for text, and {finished.folder} was trained on {kind}: set input=FILE.{suffix}, or a "
            "folder, and output=FILE.csv."
        )
    if cfg.precision != "auto":
        raise InputError(f"precision= has no effect on {kind}: leave it out.")


def requested_records(cfg: DictConfig) -> list[dict[str, str]]:
    """Return a record for each text or question. Raises InputError if one of its fields is missing."""
    fields = {name: [cfg[name]] if isinstance(cfg[name], str) else list(cfg[name] or []) for name in FIELDS}
    texts, pairs, questions, contexts = fields.values()
    if (texts or pairs) and (questions or contexts):
        raise InputError("text= and question= are for different tasks: set only one of them.")
    if questions or contexts:
        if not (questions and contexts):
            raise InputError('A question needs a passage: set question="..." context="...".')
        return [{"question": question, "context": contexts[0]} for question in questions]
    if not texts:
        raise InputError("pair= is the second text: set text= to the first.")
    if pairs and len(pairs) != len(texts):
        raise InputError(f"There must be a pair for each text: text has {len(texts)}, pair {len(pairs)}.")
    return [{"text": text} | ({"pair": pairs[k]} if pairs else {}) for k, text in enumerate(texts)]


# --- files --------------------------------------------------------------------------------------------------


def predict_file(cfg: DictConfig) -> Path:
    """Predict the records of a file and return the path of the predictions."""
    source, output, rejects = file_paths(cfg)
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    check_options_of_text(cfg, finished)
    if isinstance(finished, FinetunedSpeechRun):
        return predict_recordings(cfg, finished)
    if isinstance(finished, FinetunedImageRun):
        return predict_images(cfg, finished)
    assert isinstance(finished, FinetuneRun)
    if not source.is_file():
        raise InputError(f"input={source} is {'a folder, not a file' if source.is_dir() else 'not a file'}.")
    console.say(f"predict {source} with {finished.folder}")
    out, started = PredictionWriter(cfg.escape_formulas), time.monotonic()
    with out.writing(output, rejects), console.progress("predicting, records", None) as advance:
        for chunk in chunks(finished.task.records(source, finished.labels)):
            predict_chunk(finished, chunk, out, cfg.precision)
            if not out.n_predicted and out.n_rejected >= CHUNK_RECORDS:  # the file is of another kind
                break
            elapsed_s = time.monotonic() - started
            advance(out.n_predicted + out.n_rejected, f"{out.n_predicted / elapsed_s:,.0f} records/s")
        if not out.n_predicted and out.n_rejected:
            raise InputError(f"input={source}: no record of it can be used: {'; '.join(out.first_rejects)}.")
        if not out.n_predicted:
            raise InputError(f"input={source} holds no records.")
    print_summary(out, rejects, time.monotonic() - started)
    return output


def predict_chunk(finished: FinetuneRun, chunk: list[Record], out: PredictionWriter, precision: Any) -> None:
    """Predict some records and write the predictions; reject those that can't be read."""
    rows, examples = [], []
    for entry in chunk:
        try:
            if isinstance(entry.record, str):
                raise InputError(entry.record)
            examples.append(finished.task.to_example(entry.record))
            rows.append(entry.row)
        except InputError as error:
            out.reject(entry, str(error).rstrip("."))
    out.add(rows, finished.predict_examples(examples, precision))


def print_summary(out: PredictionWriter, rejects: Path, elapsed_s: float) -> None:
    """Print how many records were predicted and rejected, and the speed."""
    if out.n_rejected:
        console.warn(f"{out.n_rejected:,} records can't be read and are in {rejects}: {'; '.join(out.first_rejects)}")
    total = out.n_predicted + out.n_rejected
    console.say(f"records: {total:,} in = {out.n_predicted:,} predicted + {out.n_rejected:,} rejected")
    console.say(f"{out.n_predicted / elapsed_s:,.0f} records/s over {elapsed_s:.1f} s")
