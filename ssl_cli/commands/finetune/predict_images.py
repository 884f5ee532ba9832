"""Predict images with a finished run of ssl finetune on images, and write the predictions."""

import time
from pathlib import Path

from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finetune.finished_images import FinetunedImageRun
from ssl_cli.commands.finetune.prediction_writer import PredictionWriter
from ssl_cli.data.io.records import Record
from ssl_cli.errors import InputError
from ssl_cli.runs.outputs import file_paths


def predict_images(cfg: DictConfig, finished: FinetunedImageRun) -> Path:
    """Predict the images of `cfg.input`, a file, a folder or a zip of any size, and return `cfg.output`."""
    source, output, rejects = file_paths(cfg)
    if not source.exists():
        raise InputError(f"input={source} is neither a file nor a folder.")
    console.say(f"predict {source} with {finished.folder}")
    out, started_s = PredictionWriter(cfg.escape_formulas), time.monotonic()
    with out.writing(output, rejects), console.progress("predicting, images", None) as advance:
        for batch in finished.reader.read_batches(source):
            if len(batch.x):
                out.add(batch.file_ids.tolist(), finished.predict_named(batch.names, batch.x))
            for row, name, reason in batch.rejected:
                out.reject(Record(row, None, name, name), f"{name}: {reason}")
            advance(batch.n_done, f"of {batch.n_files:,}")
        if not out.n_predicted:
            raise InputError(f"{source} has no image that can be used: {'; '.join(out.first_rejects)}.")
    for warning in finished.reader.warnings:
        console.warn(warning)
    if out.n_rejected:
        console.warn(f"{out.n_rejected:,} files can't be read and are in {rejects}: {'; '.join(out.first_rejects)}")
    total, elapsed_s = out.n_predicted + out.n_rejected, time.monotonic() - started_s
    console.say(f"images: {total:,} in = {out.n_predicted:,} predicted + {out.n_rejected:,} rejected")
    console.say(f"{out.n_predicted / elapsed_s:,.0f} images/s over {elapsed_s:.1f} s")
    return output
