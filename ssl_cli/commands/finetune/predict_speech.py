"""Predict recordings with a finished run of ssl finetune on speech, and write the predictions."""

import time
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finetune.finished_speech import FinetunedSpeechRun
from ssl_cli.commands.finetune.prediction_writer import PredictionWriter
from ssl_cli.data.audio.reader import ReadSpeech
from ssl_cli.data.io.records import Record
from ssl_cli.errors import InputError
from ssl_cli.runs.outputs import file_paths

MIN_SECONDS = 5  # of a speaker, for its mean and deviation: one digit alone took accuracy from .95 to .70


def warn_of_short_voices(finished: FinetunedSpeechRun, speech: ReadSpeech) -> None:
    """Warn if a speaker that the run doesn't know has too few seconds to be normalized by, where the run does that."""
    reader, lengths = finished.reader, np.diff(speech.begin)
    unknown = set(speech.speakers) - set(reader.speakers)
    seconds = [
        sum(length for length, speaker in zip(lengths, speech.speakers, strict=True) if speaker == name)
        / reader.settings.frames_per_s
        for name in unknown
    ]
    if reader.normalization == "speaker" and seconds and min(seconds) < MIN_SECONDS:
        console.warn(
            f"this run normalizes frames by speaker, and has {min(seconds):.1f} s of one that it doesn't know: "
            f"predictions are better from {MIN_SECONDS} s, several recordings of a speaker in one folder"
        )


def predict_recordings(cfg: DictConfig, finished: FinetunedSpeechRun) -> Path:
    """Predict the recordings of `cfg.input`, a file or a folder, and return `cfg.output`.

    The files of a folder are read together: with data.normalization=speaker, those of a speaker are normalized alike.
    """
    source, output, rejects = file_paths(cfg)
    if not source.exists():
        raise InputError(f"input={source} is neither a file nor a folder.")
    console.say(f"predict {source} with {finished.folder}")
    started_s, speech = time.monotonic(), finished.read(source)
    warn_of_short_voices(finished, speech)
    # Counted in the order of their names, those that can't be read among them.
    rejected = dict(speech.rejected)
    row = {name: k for k, name in enumerate(sorted([*speech.names, *rejected]))}
    out = PredictionWriter(cfg.escape_formulas)
    with out.writing(output, rejects):
        for name, reason in rejected.items():
            out.reject(Record(row[name], None, name, name), f"{name}: {reason}")
        predictions = finished.predict_utterances(speech.names, finished.normalized(speech))
        out.add([row[name] for name in speech.names], predictions)
    if out.n_rejected:
        console.warn(f"{out.n_rejected:,} files can't be read and are in {rejects}: {'; '.join(out.first_rejects)}")
    total, elapsed_s = out.n_predicted + out.n_rejected, time.monotonic() - started_s
    console.say(f"recordings: {total:,} in = {out.n_predicted:,} predicted + {out.n_rejected:,} rejected")
    console.say(f"{out.n_predicted / elapsed_s:,.0f} recordings/s over {elapsed_s:.1f} s")
    return output
