"""Rebuild recordings with a finished run: WAV files, spectrograms, and a table of their errors."""

from itertools import islice
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.speech.evaluate import frame_distortion_db
from ssl_cli.commands.speech.finished import SpeechRun, frame_scale, utterances_of
from ssl_cli.commands.speech.wav_files import wav_names, write_wav
from ssl_cli.evaluation.plots.spectrograms import Sound, spectrogram_columns
from ssl_cli.runs.csv_files import write_csv
from ssl_cli.runs.outputs import (
    check_output_is_apart,
    check_output_is_free,
    output_folder,
    warn_about_rejected_files,
    write_rejected_files,
)

ERRORS, ERROR_COLUMNS, FIGURES = "errors.csv", ["name", "file", "mcd_db"], "figures"
MAX_FIGURES = 10


def rebuild_speech(cfg: DictConfig, finished: SpeechRun) -> Path:
    """Rebuild recordings into a folder: a WAV of each, the spectrograms of the first, and a table of their errors."""
    source = Path(cfg.input).expanduser()
    check_output_is_apart(source, cfg.output)
    check_output_is_free(cfg.output, cfg.overwrite)
    finished.use_vocoder(cfg.vocoder)
    speech = finished.read(source)
    files, rate_hz = wav_names(speech.names), finished.reader.settings.sample_rate_hz
    console.say(f"rebuild {source} with {finished.folder}")
    default_parent = Path(cfg.paths.outputs) / "rebuilt" / finished.folder.resolve().name
    with output_folder(cfg.output, cfg.overwrite, default_parent) as (folder, place):
        rebuilt = finished.reconstruct(speech)
        errors = [frame_distortion_db(*pair) for pair in zip(utterances_of(speech), rebuilt, strict=True)]
        for file, log_mels in zip(files, rebuilt, strict=True):
            write_wav(folder / file, finished.waveform(log_mels), rate_hz)
        shown = zip(speech.names, files, utterances_of(speech), rebuilt, strict=True)
        for name, file, *pair in islice(shown, MAX_FIGURES):
            figure = (folder / FIGURES / file).with_suffix(".png")
            figure.parent.mkdir(parents=True, exist_ok=True)
            sounds = [Sound("original", pair[0]), Sound("rebuilt", pair[1])]
            spectrogram_columns(figure, name, [sounds], frame_scale(finished))
        rows = zip(speech.names, files, (f"{error:.4g}" for error in errors), strict=True)
        table = [dict(zip(ERROR_COLUMNS, row, strict=True)) for row in rows]
        write_csv(folder / ERRORS, ERROR_COLUMNS, table, cfg.escape_formulas)
        write_rejected_files(folder, speech.rejected, cfg.escape_formulas)
    warn_about_rejected_files(speech.rejected, len(files))
    total = len(files) + len(speech.rejected)
    console.say(f"recordings: {total:,} in = {len(files):,} rebuilt + {len(speech.rejected):,} rejected")
    console.say(f"mel-cepstral distortion {np.mean(errors):.2f} dB, without the loss of making a waveform")
    return place
