"""ssl score: score a file of any size, or a folder of images, with a finished run, a piece at a time."""

import time
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.detect.finished import DetectRun
from ssl_cli.commands.detect.score_inputs import ImageInput, TableInput
from ssl_cli.commands.detect.score_writer import ScoredFile
from ssl_cli.data.images.reader import ImageReader
from ssl_cli.errors import InputError
from ssl_cli.methods.scoring import score_rows
from ssl_cli.runs.folder import find_run
from ssl_cli.runs.output_files import places


def run(cfg: DictConfig) -> Path:
    """Score `cfg.input` into `cfg.output`, whose path it returns."""
    finished = DetectRun(
        find_run(cfg.run, cfg.paths.outputs, "detect", finished=True), tuple((cfg.trust or "").split())
    )
    source, output, rejects = places(cfg)
    given = rows_of(finished, source, cfg)
    threshold = None if finished.config.threshold == "fdr" else finished.metrics["threshold/value"]
    out = ScoredFile(finished.calibration, threshold, finished.config.get("fdr"), given.keep)
    started = time.monotonic()
    console.say(f"score {source} with {finished.folder}")
    with out.writing(output, rejects), console.progress(f"scoring, {given.unit}", given.total) as advance:
        for chunk, x, done in given:
            scores = score_rows(finished.model, x)
            refuse_broken(scores, finished.folder)
            out.add(chunk, scores)
            advance(done, f"{out.scored / (time.monotonic() - started):,.0f} {given.rows}/s")
    print_summary(out, rejects, finished, given, time.monotonic() - started)
    return output


def rows_of(finished: DetectRun, source: Path, cfg: DictConfig) -> TableInput | ImageInput:
    """What is to be scored, of the kind that the run has learned from."""
    options = (source, list(cfg.keep), cfg.header, cfg.delimiter)
    if isinstance(finished.encoder, ImageReader):
        return ImageInput(finished.encoder, *options)
    return TableInput(finished.encoder, *options)


def refuse_broken(scores: np.ndarray, folder: Path) -> None:
    if not np.isfinite(scores).all():
        raise InputError(f"The model of {folder} gives scores that are NaN or infinite: train it again.")


def print_summary(
    out: ScoredFile, rejects: Path, finished: DetectRun, given: TableInput | ImageInput, seconds: float
) -> None:
    """What became of every row that came in."""
    if out.rejected:
        told = "; ".join(f"{given.place(reject)}: {reject.reason}" for reject in out.examples)
        if not out.scored:
            raise InputError(
                f"None of the {out.rejected:,} {given.rows} can be read; {rejects} has the reasons ({told})."
            )
        console.warn(f"{out.rejected:,} {given.rows} can't be read and are in {rejects}: {told}")
    for remark in given.remarks():
        console.warn(remark)
    total = out.scored + out.rejected
    console.say(f"{given.rows}: {total:,} in = {out.scored:,} scored + {out.rejected:,} rejected")
    rule = f"threshold={finished.config.threshold} of the run"
    console.say(f"flagged: {out.flagged:,} ({out.flagged / max(out.scored, 1):.2%}) by {rule}")
    console.say(f"{out.scored / seconds:,.0f} {given.rows}/s over {seconds:.1f} s")
