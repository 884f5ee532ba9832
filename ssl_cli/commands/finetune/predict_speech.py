"""Predict recordings with a finished run of ssl finetune on speech, and write the predictions."""

import time
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finetune.finished_speech import FinetunedSpeechRun
from ssl_cli.commands.finetune.prediction_writer import PredictionWriter
from ssl_cli.data.audio.decode import SUFFIXES
from ssl_cli.data.audio.reader import sound_files
from ssl_cli.data.io.records import Record
from ssl_cli.errors import InputError
from ssl_cli.runs.outputs import file_paths

CHUNK_FILES = 256  # recordings that are read and predicted together
OF_TEXT = ("text", "pair", "question", "context")


def predict_recordings(cfg: DictConfig, finished: FinetunedSpeechRun) -> Path:
    """Predict the recordings of `cfg.input`, a file or a folder, and return `cfg.output`."""
    check_options_of_speech(cfg, finished)
    source, output, rejects = file_paths(cfg)
    files = recordings(source)
    console.say(f"predict {source} with {finished.folder}")
    out, started_s = PredictionWriter(cfg.escape_formulas), time.monotonic()
    with out.writing(output, rejects), console.progress("predicting, recordings", len(files)) as advance:
        for first in range(0, len(files), CHUNK_FILES):
            predict_chunk(finished, files[first : first + CHUNK_FILES], first, out)
            advance(out.n_predicted + out.n_rejected, f"{out.n_predicted / (time.monotonic() - started_s):,.0f} files/s")
        if not out.n_predicted:
            raise InputError(f"input={source}: no recording can be used: {'; '.join(out.first_rejects)}.")
    if out.n_rejected:
        console.warn(f"{out.n_rejected:,} files can't be read and are in {rejects}: {'; '.join(out.first_rejects)}")
    total = out.n_predicted + out.n_rejected
    console.say(f"recordings: {total:,} in = {out.n_predicted:,} predicted + {out.n_rejected:,} rejected")
    return output


def check_options_of_speech(cfg: DictConfig, finished: FinetunedSpeechRun) -> None:
    """Raise InputError if an option for text is set."""
    if unused := [name for name in OF_TEXT if cfg[name] is not None]:
        raise InputError(
            f"{unused[0]}= is for text, and {finished.folder} was trained on speech: set input=FILE.wav or a folder, and "
            "output=FILE.csv."
        )
    if cfg.precision != "auto":
        raise InputError("precision= has no effect on speech: leave it out.")


def recordings(source: Path) -> list[Path]:
    """Return the recordings of a folder and below it, or the file itself. Raises InputError if there are none."""
    if source.is_dir():
        return sound_files(source)
    if not source.is_file():
        raise InputError(f"input={source} is neither a file nor a folder.")
    if source.suffix.lower() not in SUFFIXES:
        raise InputError(f"input={source}: this run predicts recordings: a file that ends in {', '.join(SUFFIXES)}.")
    return [source]


def predict_chunk(finished: FinetunedSpeechRun, files: list[Path], first: int, out: PredictionWriter) -> None:
    """Predict some files, which are counted from `first`, and write the predictions; reject those that can't be read."""
    rows, names, utterances = list[int](), list[str](), list[np.ndarray]()
    for row, file in enumerate(files, first):
        speech = finished.reader.read(file)
        for name, reason in speech.rejected:
            out.reject(Record(row, None, name, str(file)), f"{name}: {reason}")
        if speech.names:
            rows.append(row)
            names.append(str(file))
            utterances += finished.utterances(speech)
    if rows:
        out.add(rows, finished.predict_utterances(names, utterances))
