"""ssl score: score a file of any size with a finished run, a chunk of rows at a time."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.data.chunks import Reject, Types
from ssl_cli.data.reading import FileLayout
from ssl_cli.data.streaming import stream
from ssl_cli.detection.scored import OWN_COLUMNS, REJECT_COLUMNS, REJECTS, ScoredFile
from ssl_cli.errors import InputError
from ssl_cli.loading import Run
from ssl_cli.runs import find_run
from ssl_cli.scoring import score_rows

MB = 1 << 20


def run(cfg: DictConfig) -> Path:
    """Score `cfg.input` into `cfg.output`, whose path it returns."""
    finished = Run(find_run(cfg.run, cfg.paths.outputs, "detect", finished=True), tuple((cfg.trust or "").split()))
    source, output, rejects = places(cfg)
    threshold = None if finished.config.threshold == "fdr" else finished.metrics["threshold/value"]
    out = ScoredFile(finished.calibration, threshold, finished.config.get("fdr"), list(cfg.keep))
    unexpected: dict[str, int] = {}  # column -> missing values, where it had none in training
    started = time.monotonic()
    console.say(f"score {source} with {finished.folder}")
    with (
        out.writing(output, rejects),
        console.progress("scoring, MB", max(1, source.stat().st_size // MB)) as advance,
    ):
        for chunk in stream(source, columns(finished, cfg), layout(finished, cfg)):
            scores = score_rows(finished.model, finished.encoder.transform(chunk.table))
            refuse_broken(scores, finished.folder)
            out.add(chunk, scores)
            count_missing(finished, chunk.table, unexpected)
            advance(chunk.done // MB, f"{out.scored / (time.monotonic() - started):,.0f} rows/s")
    tell(out, rejects, finished, unexpected, time.monotonic() - started)
    return output


def places(cfg: DictConfig) -> tuple[Path, Path, Path]:
    """Input, output and rejects. Raises InputError where something would be overwritten or there is no folder."""
    source, output = Path(cfg.input).expanduser(), Path(cfg.output).expanduser()
    rejects = output.with_name(REJECTS) if cfg.rejects is None else Path(cfg.rejects).expanduser()
    if not source.is_file():
        raise InputError(f"input={source} is not a file.")
    for name, path in (("output", output), ("rejects", rejects)):
        if not path.parent.is_dir():
            raise InputError(f"{name}={path}: there is no folder {path.parent}; make it first.")
        if path.is_dir():
            raise InputError(f"{name}={path} is a folder; name a file in it.")
        if path.exists() and path.resolve() == source.resolve():
            raise InputError(f"{name}={path} is the input itself: name another file.")
    if output.resolve() == rejects.resolve():
        raise InputError(f"output and rejects are both {output}: name two files.")
    if output.exists() and not cfg.overwrite:
        raise InputError(f"output={output} exists: name another file, or say overwrite=true.")
    if rejects.is_file() and not cfg.overwrite and not is_ours(rejects):
        raise InputError(f"rejects={rejects} exists and is none of ours: name another, or say overwrite=true.")
    return source, output, rejects


def is_ours(rejects: Path) -> bool:
    """Whether a file is the rejects of an earlier run, which a new one replaces."""
    with rejects.open("rb") as file:
        return file.readline().strip() == ",".join(REJECT_COLUMNS).encode()


def columns(finished: Run, cfg: DictConfig) -> Types:
    """The columns to read from the input, and as what."""
    if taken := OWN_COLUMNS & set(cfg.keep):
        raise InputError(f"keep={', '.join(sorted(taken))}: the output has a column of that name already.")
    return dict.fromkeys(cfg.keep, pa.string()) | finished.encoder.read_as


def layout(finished: Run, cfg: DictConfig) -> FileLayout:
    """How the input lies in its file: as the training file did, but for what the command line says."""
    trained = finished.encoder.layout
    header = trained.header if cfg.header is None else cfg.header
    return replace(trained, header=header, delimiter=cfg.delimiter or trained.delimiter)


def refuse_broken(scores: np.ndarray, folder: Path) -> None:
    if not np.isfinite(scores).all():
        raise InputError(f"The model of {folder} gives scores that are NaN or infinite: train it again.")


def count_missing(finished: Run, table: pa.Table, unexpected: dict[str, int]) -> None:
    for column in finished.encoder.columns:
        if column["kind"] == "number" and not column["missing"]:
            values = table[column["name"]]
            n_missing = pc.sum(pc.is_null(values, nan_is_null=True)).as_py() or 0
            unexpected[column["name"]] = unexpected.get(column["name"], 0) + n_missing


def tell(out: ScoredFile, rejects: Path, finished: Run, unexpected: dict[str, int], seconds: float) -> None:
    """What became of every row that came in."""
    if out.rejected:
        told = "; ".join(f"{_place(reject)}: {reject.reason}" for reject in out.examples)
        if not out.scored:
            raise InputError(f"None of the {out.rejected:,} rows can be read; {rejects} has the reasons ({told}).")
        console.warn(f"{out.rejected:,} rows can't be read and are in {rejects}: {told}")
    if some := [f"{name} {count:,}" for name, count in unexpected.items() if count]:
        console.warn(f"missing values, of which training had none, count as the training mean: {', '.join(some)}")
    total = out.scored + out.rejected
    console.say(f"rows: {total:,} in = {out.scored:,} scored + {out.rejected:,} rejected")
    rule = f"threshold={finished.config.threshold} of the run"
    console.say(f"flagged: {out.flagged:,} ({out.flagged / max(out.scored, 1):.2%}) by {rule}")
    console.say(f"{out.scored / seconds:,.0f} rows/s over {seconds:.1f} s")


def _place(reject: Reject) -> str:
    return f"row {reject.row}" if reject.line is None else f"line {reject.line}"
