"""Predict recordings with a finished run of ssl finetune on speech, and write the predictions."""

import time
from pathlib import Path

from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finetune.finished_speech import FinetunedSpeechRun
from ssl_cli.commands.finetune.prediction_writer import PredictionWriter
from ssl_cli.data.io.records import Record
from ssl_cli.errors import InputError
from ssl_cli.runs.outputs import file_paths

OF_TEXT = ("text", "pair", "question", "context")


def check_options_of_speech(cfg: DictConfig, finished: FinetunedSpeechRun) -> None:
    """Raise InputError if an option for text is set."""
    if unused := [name for name in OF_TEXT if cfg[name] is not None]:
        raise InputError(
            f"{unused[0]}= is for text, and {finished.folder} was trained on speech: set input=FILE.wav, or a folder, "
            "and output=FILE.csv."
        )
    if cfg.precision != "auto":
        raise InputError("precision= has no effect on speech: leave it out.")


def predict_recordings(cfg: DictConfig, finished: FinetunedSpeechRun) -> Path:
    """Predict the recordings of `cfg.input`, a file or a folder, and return `cfg.output`.

    The files of a folder are read together: with data.normalization=speaker, those of a speaker are normalized alike.
    """
    check_options_of_speech(cfg, finished)
    source, output, rejects = file_paths(cfg)
    if not source.exists():
        raise InputError(f"input={source} is neither a file nor a folder.")
    console.say(f"predict {source} with {finished.folder}")
    started_s, speech = time.monotonic(), finished.read(source)
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
