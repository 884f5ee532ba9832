"""Scores of a stream of rows -> a file, written beside its place and moved there when it is whole."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ssl_cli.data.io.chunks import Chunk, Reject
from ssl_cli.evaluation.thresholds import benjamini_hochberg, counts_above
from ssl_cli.runs.output_files import REJECT_COLUMNS, beside, disk_errors_as_input_errors, folder_in, move

ABOVE = "calibration scores above"  # while it isn't known yet which rows are flagged
OWN_COLUMNS = {"row", "score", "p_value", "flagged", ABOVE}


class ScoredFile:
    """Takes chunks with their scores; counts them.

    A row is flagged when its score is above `threshold`; or, where that is None, by Benjamini and Hochberg's procedure
    at `fdr` over the whole file, whose flags are only known at its end: the file is then written twice.
    """

    def __init__(self, calibration: np.ndarray, threshold: float | None, fdr: float, keep: list[str]):
        self.ordered, self.threshold, self.fdr, self.keep = np.sort(calibration), threshold, fdr, keep
        self.counts = np.zeros(len(calibration) + 1, dtype=np.int64)  # rows with so many calibration scores above
        self.scored = self.rejected = self.flagged = 0
        self.examples: list[Reject] = []

    @contextmanager
    def writing(self, output: Path, rejects: Path) -> Iterator[None]:
        """While it is open, `add` may be called. On an error nothing is left behind."""
        with folder_in(output) as here, folder_in(beside(output, rejects)) as there:
            scored, whole, kept = here / "scored", here / "flagged", there / "rejects"
            self._output, self._reject_place = output, rejects
            out, lines = _Table(scored, self._kind(output)), kept.open("w", newline="", encoding="utf-8")
            self._out, self._rejects = out, _reject_writer(lines)
            try:
                yield
                with disk_errors_as_input_errors(output):
                    out.close()
                with disk_errors_as_input_errors(rejects):
                    lines.close()
            finally:
                with suppress(OSError, pa.ArrowException):  # after an error: what it left open
                    out.close()
                    lines.close()
            with disk_errors_as_input_errors(output):
                if self.threshold is None:
                    self._flag(scored, whole, output.suffix)
                    scored = whole
            with disk_errors_as_input_errors(rejects):
                move(kept, rejects)
            if self.scored or not self.rejected:
                with disk_errors_as_input_errors(output):
                    move(scored, output)

    def add(self, chunk: Chunk, scores: np.ndarray) -> None:
        """The sound rows of a chunk with their scores (N,), and its rejects."""
        above = counts_above(self.ordered, scores)
        columns: dict[str, Any] = {name: chunk.table[name] for name in self.keep}
        columns |= {"row": chunk.row, "score": scores, "p_value": (1 + above) / len(self.counts)}
        if self.threshold is None:
            self.counts += np.bincount(above, minlength=len(self.counts))
            columns[ABOVE] = above
        else:
            columns["flagged"] = scores > self.threshold
            self.flagged += int(columns["flagged"].sum())
        with disk_errors_as_input_errors(self._output):
            self._out.write(pa.table(columns))
        with disk_errors_as_input_errors(self._reject_place):
            self._rejects.writerows([reject.row, reject.line, reject.reason, reject.text] for reject in chunk.rejects)
        self.examples += chunk.rejects[: 3 - len(self.examples)]
        self.scored += len(scores)
        self.rejected += len(chunk.rejects)

    def _kind(self, output: Path) -> str:
        return ".parquet" if self.threshold is None else output.suffix

    def _flag(self, scored: Path, whole: Path, suffix: str) -> None:
        """Turn the count of calibration scores above each row into whether it is flagged."""
        most = benjamini_hochberg(self.counts, self.fdr)
        out = _Table(whole, suffix)
        with pyarrow.parquet.ParquetFile(scored) as file:
            # An empty table first: it makes the file where there is no row.
            for table in chain([file.schema_arrow.empty_table()], map(pa.table, file.iter_batches())):
                flagged = table[ABOVE].to_numpy() <= most
                out.write(table.drop_columns(ABOVE).append_column("flagged", pa.array(flagged)))
                self.flagged += int(flagged.sum())
        out.close()


class _Table:
    """A CSV or Parquet file that grows table by table."""

    def __init__(self, path: Path, suffix: str):
        self.path, self.suffix = path, suffix
        self.writer: Any = None  # made with the first table, whose columns the file has

    def write(self, table: pa.Table) -> None:
        if self.writer is None:
            make = pyarrow.parquet.ParquetWriter if self.suffix == ".parquet" else pyarrow.csv.CSVWriter
            self.writer = make(self.path, table.schema)
        self.writer.write_table(table)

    def close(self) -> None:
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.close()


def _reject_writer(lines: TextIO) -> Any:
    writer = csv.writer(lines)
    writer.writerow(REJECT_COLUMNS)
    return writer
