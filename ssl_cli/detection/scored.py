"""Scores of a stream of rows -> a file, written beside its place and moved there when it is whole."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from ssl_cli.data.chunks import Chunk, Reject
from ssl_cli.detection.thresholds import benjamini_hochberg, counts_above

REJECTS = "rejects.csv"


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
        parts = [path.with_name(path.name + ".part") for path in (output, rejects)]
        whole = parts[0].with_name(parts[0].name + ".flagged")
        try:
            with (
                parts[1].open("w", newline="", encoding="utf-8") as lines,
                _Table(parts[0], self._first_kind(output)) as out,
            ):
                self._out, self._rejects = out, _reject_writer(lines)
                yield
            if self.threshold is None:
                self._flag(parts[0], whole, output.suffix)
                whole.replace(parts[0])
            parts[1].replace(rejects)
            if self.scored or not self.rejected:
                parts[0].replace(output)
        finally:
            for path in (*parts, whole):
                path.unlink(missing_ok=True)

    def add(self, chunk: Chunk, scores: np.ndarray) -> None:
        """The sound rows of a chunk with their scores (N,), and its rejects."""
        above = counts_above(self.ordered, scores)
        columns: dict[str, Any] = {name: chunk.table[name] for name in self.keep}
        columns |= {"row": chunk.row, "score": scores, "p_value": (1 + above) / len(self.counts)}
        if self.threshold is None:
            self.counts += np.bincount(above, minlength=len(self.counts))
            columns["above"] = above
        else:
            columns["flagged"] = scores > self.threshold
            self.flagged += int(columns["flagged"].sum())
        self._out.write(pa.table(columns))
        self._rejects.writerows([reject.row, reject.line, reject.reason, reject.text] for reject in chunk.rejects)
        self.examples += chunk.rejects[: 3 - len(self.examples)]
        self.scored += len(scores)
        self.rejected += len(chunk.rejects)

    def _first_kind(self, output: Path) -> str:
        return ".parquet" if self.threshold is None else output.suffix

    def _flag(self, scored: Path, whole: Path, suffix: str) -> None:
        """Turn the count of calibration scores above each row into whether it is flagged."""
        most = benjamini_hochberg(self.counts, self.fdr)
        with pyarrow.parquet.ParquetFile(scored) as file, _Table(whole, suffix) as out:
            for batch in file.iter_batches():
                table = pa.table(batch)
                flagged = table["above"].to_numpy() <= most
                out.write(table.drop_columns("above").append_column("flagged", pa.array(flagged)))
                self.flagged += int(flagged.sum())


class _Table:
    """A CSV or Parquet file that grows table by table."""

    def __init__(self, path: Path, suffix: str):
        self.path, self.suffix = path, suffix
        self.writer: Any = None  # made with the first table, whose columns the file has

    def __enter__(self) -> "_Table":
        return self

    def write(self, table: pa.Table) -> None:
        if self.writer is None:
            make = pyarrow.parquet.ParquetWriter if self.suffix == ".parquet" else pyarrow.csv.CSVWriter
            self.writer = make(self.path, table.schema)
        self.writer.write_table(table)

    def __exit__(self, *_: Any) -> None:
        if self.writer is not None:
            self.writer.close()


def _reject_writer(lines: TextIO) -> Any:
    writer = csv.writer(lines)
    writer.writerow(["row", "line", "reason", "text"])
    return writer
