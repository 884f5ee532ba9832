"""ssl score: score a file of any size, or a folder of images, with a finished run, batch by batch."""

import time
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.detect import score_page
from ssl_cli.commands.detect.contributions import explain_rows
from ssl_cli.commands.detect.finished import DetectRun
from ssl_cli.commands.detect.score_inputs import ImageInput, TableInput
from ssl_cli.commands.detect.score_page import TopRows
from ssl_cli.commands.detect.score_writer import Reasons, ScoreWriter
from ssl_cli.data.images.reader import ImageReader
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import Explains
from ssl_cli.methods.scoring import score_rows
from ssl_cli.runs.folder import find_run
from ssl_cli.runs.outputs import file_paths

MAX_REASONS = 3  # rows whose reasons are printed

def run(cfg: DictConfig) -> Path:
    """Score `cfg.input` into `cfg.output`, and return its path."""
    trust = tuple((cfg.trust or "").split())
    finished = DetectRun(find_run(cfg.run, cfg.paths.outputs, "detect", finished=True), trust)
    source, output, rejects = file_paths(cfg)
    page = score_page.page_path(source, output, rejects, cfg.overwrite) if cfg.report else None
    rows = open_input(finished, source, cfg)
    if cfg.explain:
        finished.require(Explains, "explain its scores (explain=true)")
    threshold = None if finished.config.threshold == "fdr" else finished.metrics["threshold/value"]
    fdr = (finished.config.get("fdr"), finished.fdr_method)
    writer = ScoreWriter(finished.calibration, threshold, fdr, cfg.escape_formulas, cfg.explain)
    top, start = TopRows(), time.monotonic()

    def write_page(path: Path) -> None:
        score_page.write(path, writer, top, finished, rows, cfg)

    console.say(f"score {source} with {finished.folder}")
    with (
        writer.open(output, rejects, page, write_page),
        console.progress(f"scoring, {rows.unit}", rows.total) as advance,
    ):
        for chunk, x, n_done in rows:
            scores = score_rows(finished.model, x)
            check_finite(scores, finished.folder)
            reasons = explain(finished, rows, x, writer.flaggable(scores)) if cfg.explain else {}
            writer.add(chunk, scores, reasons)
            top.add(chunk, scores, reasons)
            advance(n_done, f"{writer.n_scored / (time.monotonic() - start):,.0f} {rows.rows}/s")
    print_summary(writer, rejects, finished, rows, time.monotonic() - start)
    if cfg.explain:
        print_reasons(top, writer)
    if page is not None:
        console.say(f"report: {page}")
    return output


def explain(finished: DetectRun, rows: TableInput | ImageInput, x: np.ndarray, chosen: np.ndarray) -> Reasons:
    """Return the contributions to the scores of those rows of x (N, D) that are `chosen`, (N,) bool, by position."""
    assert isinstance(rows, TableInput), "images are refused with explain=true"
    index = np.flatnonzero(chosen).tolist()
    found = explain_rows(finished.model, rows.preprocessor, x[chosen], index, rows.texts)
    return dict(zip(index, found, strict=True))


def print_reasons(top: TopRows, writer: ScoreWriter) -> None:
    """Print the reasons of the flagged rows with the largest scores."""
    for each in [each for each in top.rows if writer.flags(np.array([each.score]))[0]][:MAX_REASONS]:
        said = "; ".join(feature.reason for feature in each.contributions)
        console.say(f"row {each.row}, score {each.score:.4g}: {said}")


def open_input(finished: DetectRun, source: Path, cfg: DictConfig) -> TableInput | ImageInput:
    """Return the rows of `source`: of a table or images, whichever the run was trained on."""
    options = (source, list(cfg.keep), cfg.header, cfg.delimiter, cfg.explain)
    if isinstance(finished.preprocessor, ImageReader):
        return ImageInput(finished.preprocessor, *options)
    return TableInput(finished.preprocessor, *options)


def check_finite(scores: np.ndarray, folder: Path) -> None:
    """Raise InputError if a score is not finite: the weights of the run are damaged."""
    if not np.isfinite(scores).all():
        raise InputError(f"The model of {folder} gives scores that are NaN or infinite: train it again.")


def print_summary(
    writer: ScoreWriter, rejects: Path, finished: DetectRun, rows: TableInput | ImageInput, elapsed_s: float
) -> None:
    """Print how many rows were scored, rejected and flagged. Raises InputError if all were rejected."""
    if writer.n_rejected:
        examples = "; ".join(f"{rows.locate(reject)}: {reject.reason}" for reject in writer.examples)
        if not writer.n_scored:
            raise InputError(
                f"None of the {writer.n_rejected:,} {rows.rows} can be read; {rejects} has the reasons ({examples})."
            )
        console.warn(f"{writer.n_rejected:,} {rows.rows} can't be read and are in {rejects}: {examples}")
    for warning in (*rows.warnings(), *score_page.drift_hints(writer, rows.rows)):
        console.warn(warning)
    total = writer.n_scored + writer.n_rejected
    console.say(f"{rows.rows}: {total:,} in = {writer.n_scored:,} scored + {writer.n_rejected:,} rejected")
    rule = f"threshold={finished.config.threshold} of the run"
    console.say(f"flagged: {writer.n_flagged:,} ({writer.n_flagged / max(writer.n_scored, 1):.2%}) by {rule}")
    console.say(f"{writer.n_scored / elapsed_s:,.0f} {rows.rows}/s over {elapsed_s:.1f} s")
