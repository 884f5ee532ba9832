"""The page of ssl score, beside its output: what was flagged, the p-values, and the rows with the largest scores.

It is made from counts and the few rows that it shows, so that the input may be of any size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf

from ssl_cli.commands.detect.contributions import FeatureContribution
from ssl_cli.commands.detect.finished import DetectRun
from ssl_cli.commands.detect.page import reason_lines
from ssl_cli.commands.detect.score_inputs import ImageInput, TableInput
from ssl_cli.commands.detect.score_writer import ScoreWriter
from ssl_cli.data.io.chunks import Chunk
from ssl_cli.errors import InputError
from ssl_cli.evaluation.drift import least_share_unlike
from ssl_cli.evaluation.html import Alert, Block, Figure, Headline, Note, PageTable, Section, render
from ssl_cli.files import write_text

N_TOP = 20  # rows with the largest scores
LEAST_DRIFT = 0.1  # share of rows unlike the calibration rows from which on it is said
GENERATOR = b'<meta name="generator" content="ssl score">'
FIGURE = Figure(
    "p_values.png",
    "The share of rows by p-value. If all rows were like the normal rows of training, every bar would reach the line; "
    "anomalies pile up at the left.",
)


@dataclass(frozen=True)
class TopRow:
    """A row with one of the largest scores, with its kept columns and, if asked for, its contributions."""

    row: int
    score: float
    kept: tuple[str, ...]
    contributions: Sequence[FeatureContribution]


class TopRows:
    """The rows with the largest scores of a stream, in descending order."""

    def __init__(self) -> None:
        self.rows: list[TopRow] = []
        self.kept: list[str] = []  # names of the kept columns

    def add(self, chunk: Chunk, scores: np.ndarray, reasons: Mapping[int, Sequence[FeatureContribution]]) -> None:
        """Take in the valid rows of a chunk with their scores (N,), and reasons of some, by their position."""
        self.kept = list(chunk.kept)
        lowest = self.rows[-1].score if len(self.rows) == N_TOP else -np.inf
        for index in np.argsort(-scores, kind="stable")[:N_TOP]:
            if scores[index] <= lowest:
                break
            kept = tuple(_text(values[int(index)]) for values in chunk.kept.values())
            found = reasons.get(int(index), ())
            self.rows.append(TopRow(int(chunk.row[index]), float(scores[index]), kept, found))
        self.rows = sorted(self.rows, key=lambda each: -each.score)[:N_TOP]


def _text(value: object) -> str:
    value = value.as_py() if hasattr(value, "as_py") else value
    return "" if value is None else str(value)


def page_path(source: Path, output: Path, rejects: Path, overwrite: bool) -> Path | None:
    """Return where the page of an output is written; None beside an output that is no plain file.

    Raises InputError if it would replace the input, the rejects, or without `overwrite` anything but such a page.
    """
    if output.exists() and not output.is_file():
        return None
    path = output.with_name(f"{output.name}.report.html")
    for name, other in (("input", source), ("rejects", rejects)):
        if other.resolve() == path.resolve():
            raise InputError(
                f"{name}={other} is where the page of {output} goes: name another file, or set report=false."
            )
    if path.is_dir() or (path.exists() and not overwrite and not _is_page(path)):
        raise InputError(
            f"{path} exists and isn't a page of ssl score: move it, name another output, or set "
            f"{'report=false' if path.is_dir() else 'overwrite=true or report=false'}."
        )
    return path


def _is_page(path: Path) -> bool:
    with path.open("rb") as file:
        return GENERATOR in file.read(1024)


def write(
    path: Path, writer: ScoreWriter, top: TopRows, finished: DetectRun, rows: TableInput | ImageInput, cfg: DictConfig
) -> None:
    """Write the page to `path`, and its figure into the folder of that file."""
    from ssl_cli.evaluation.plots import p_values  # Matplotlib takes as long to import as all else

    p_values.histogram(path.parent / FIGURE.name, writer.counts)
    chosen = finished.config.choices
    choices = {"model": chosen.model, "data": chosen.data, "run": finished.folder, "input": rows.source}
    sections = [
        Section("P-values", [FIGURE] if writer.n_scored else []),
        Section("Largest scores", _top_table(writer, top)),
        Section("Rejected", _rejects(writer, rows)),
    ]
    opening: list[Block] = [Headline(headline(writer, finished, rows.rows))]
    opening += [Alert(text) for text in (*rows.warnings(), *drift_hints(writer, rows.rows))]
    # Whether it replaced another page is no part of what was done: the same command once more gives the same page.
    config = OmegaConf.to_yaml(OmegaConf.masked_copy(cfg, [str(name) for name in cfg if name != "overwrite"]))
    write_text(path, render("score", cfg.output, config, choices, sections, opening, path.parent, embedded=True))


def headline(writer: ScoreWriter, finished: DetectRun, rows: str) -> str:
    """Return how many rows were flagged, and how many could not be read. `rows` is the word for them."""
    share = f"{writer.n_flagged / max(writer.n_scored, 1):.2%}"
    flagged = f"Flagged {writer.n_flagged:,} of {writer.n_scored:,} {rows} ({share})"
    rejected_rows = rows if writer.n_rejected != 1 else rows.removesuffix("s")
    rejected = f" {writer.n_rejected:,} {rejected_rows} could not be read." if writer.n_rejected else ""
    return f"{flagged} by threshold={finished.config.threshold} of the run.{rejected}"


def drift_hints(writer: ScoreWriter, rows: str) -> list[str]:
    """Return a hint if many of the rows can't be like the calibration rows, whatever their scores are worth."""
    share = least_share_unlike(writer.counts)
    if share < LEAST_DRIFT:
        return []
    return [
        f"at least {share:.0%} of the {rows} differ from the normal {rows} of training (95 % bound): they hold that "
        "many anomalies, or the data have changed since; then a promised rate of false positives doesn't hold"
    ]


def _top_table(writer: ScoreWriter, top: TopRows) -> list[Block]:
    if not top.rows:
        return []
    columns = ["row", *top.kept, "score", "p-value", "flagged"]
    scores = np.array([each.score for each in top.rows])
    flags = writer.flags(scores)
    cells = [
        [f"{each.row:,}", *each.kept, f"{each.score:.4g}", f"{p_value:.3g}", "yes" if flag else "no"]
        for each, p_value, flag in zip(top.rows, writer.p_values(scores), flags, strict=True)
    ]
    why = "why: the columns that contribute most, and their share of the score"
    if writer.explained:
        columns.append(why)
        reasons = [reason_lines(each.contributions) if flag else "" for each, flag in zip(top.rows, flags, strict=True)]
        cells = [[*row, text] for row, text in zip(cells, reasons, strict=True)]
    note = Note(f"The {len(top.rows)} largest of {writer.n_scored:,}. Rows count from 0, as in the output.")
    return [note, PageTable(columns, cells, numbers={"row", "score", "p-value"}, lines={why})]


def _rejects(writer: ScoreWriter, rows: TableInput | ImageInput) -> list[Block]:
    if not writer.n_rejected:
        return []
    cells = [[rows.locate(reject), reject.reason] for reject in writer.examples]
    note = f"{len(cells)} of the {writer.n_rejected:,} {rows.rows} that can't be read; the file of rejects has all."
    return [Note(note), PageTable(["where", "reason"], cells)]
