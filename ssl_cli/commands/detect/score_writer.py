"""Writer of ssl score: scores of a stream of rows -> a file that appears at its place only when it is complete."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from ssl_cli.commands.detect.contributions import FeatureContribution, column_names, reason_columns
from ssl_cli.data.io.chunks import Chunk, RejectedRow
from ssl_cli.evaluation.conformal import FdrMethod, counts_above, max_above
from ssl_cli.runs.csv_files import FORMULA, CsvWriter, escape_formula
from ssl_cli.runs.outputs import (
    REJECTED_ROW_COLUMNS,
    disk_errors_as_input_errors,
    move_into_place,
    rejects_staging_path,
    temporary_folder,
)

ABOVE = "calibration scores above"  # column that stands for `flagged` until the threshold is known
OWN_COLUMNS = {"row", "score", "p_value", "flagged", ABOVE}
MAX_EXAMPLES = 3  # rejected rows
Reasons = Mapping[int, Sequence[FeatureContribution]]  # by the position of a row in its chunk
WritePage = Callable[[Path], None]


class ScoreWriter:
    """Writes chunks of rows with their scores, and counts them.

    A row is flagged if its score is above `threshold`. If that is None, all rows of the file are judged together by
    `fdr`, a false discovery rate and its method. Then the flags are known only at the end, and the file is written
    twice. With `explained` the file has columns for the reasons of flagged rows. `escape_formulas` concerns the texts
    of CSV files.
    """

    def __init__(
        self,
        calibration: np.ndarray,
        threshold: float | None,
        fdr: tuple[float, FdrMethod],
        escape_formulas: bool,
        explained: bool,
    ):
        self.calibration, self.threshold, self.fdr = np.sort(calibration), threshold, fdr
        self.escape_formulas, self.explained = escape_formulas, explained
        self.max_above = -1  # calibration scores above a flagged row's, as `fdr` has it once all rows are written
        self.counts = np.zeros(len(calibration) + 1, dtype=np.int64)  # [n]: rows with n calibration scores above
        self.n_scored = self.n_rejected = self.n_flagged = 0
        self.examples: list[RejectedRow] = []

    @contextmanager
    def open(self, output: Path, rejects: Path, page: Path | None, write_page: WritePage) -> Iterator[None]:
        """Open the files for `add`, and move them into place at the end. On an error nothing is left behind.

        `write_page` writes the page to a path, once all rows are counted; with `page` None there is none.
        """
        with (
            temporary_folder(output) as folder,
            temporary_folder(rejects_staging_path(output, rejects)) as reject_folder,
        ):
            scored, flagged, rejected = folder / "scored", folder / "flagged", reject_folder / "rejects"
            self._output_path, self._rejects_path = output, rejects
            table = self._table_file(scored, ".parquet" if self.threshold is None else output.suffix)
            reject_file = rejected.open("w", newline="", encoding="utf-8")
            self._table, self._rejects = table, CsvWriter(reject_file, self.escape_formulas)
            self._rejects.write(REJECTED_ROW_COLUMNS)
            try:
                yield
                with disk_errors_as_input_errors(output):
                    table.close()
                with disk_errors_as_input_errors(rejects):
                    reject_file.close()
            finally:
                with suppress(OSError, pa.ArrowException):  # after an error, files may still be open
                    table.close()
                    reject_file.close()
            with disk_errors_as_input_errors(output):
                if self.threshold is None:
                    self._write_flags(scored, flagged, output.suffix)
                    scored = flagged
            with disk_errors_as_input_errors(rejects):
                move_into_place(rejected, rejects)
            if self.n_scored or not self.n_rejected:
                if page is not None:
                    with disk_errors_as_input_errors(page):
                        write_page(folder / "page")
                        move_into_place(folder / "page", page)
                with disk_errors_as_input_errors(output):
                    move_into_place(scored, output)

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """Return the conformal p-values (N,) of scores."""
        return (1 + counts_above(self.calibration, scores)) / len(self.counts)

    def flaggable(self, scores: np.ndarray) -> np.ndarray:
        """Return which rows are flagged, (N,) bool; with `fdr`, which can be, as none has a larger p-value."""
        if self.threshold is not None:
            return scores > self.threshold
        rate, method = self.fdr
        return self.p_values(scores) <= (rate if method == "bh" else 0.5)  # see `max_above`

    def flags(self, scores: np.ndarray) -> np.ndarray:
        """Return which rows are flagged, (N,) bool, once all rows are written."""
        if self.threshold is None:
            return counts_above(self.calibration, scores) <= self.max_above
        return scores > self.threshold

    def add(self, chunk: Chunk, scores: np.ndarray, reasons: Reasons) -> None:
        """Write the valid rows of a chunk with their scores (N,) and the reasons of some, and its rejected rows."""
        above = counts_above(self.calibration, scores)
        columns: dict[str, Any] = dict(chunk.kept)
        columns |= {"row": chunk.row, "score": scores, "p_value": (1 + above) / len(self.counts)}
        self.counts += np.bincount(above, minlength=len(self.counts))
        if self.threshold is None:
            columns[ABOVE] = above
        else:
            columns["flagged"] = self.flags(scores)
            self.n_flagged += int(columns["flagged"].sum())
        if self.explained:
            columns |= reason_columns(len(scores), reasons)
        with disk_errors_as_input_errors(self._output_path):
            self._table.write(pa.table(columns))
        with disk_errors_as_input_errors(self._rejects_path):
            for reject in chunk.rejects:
                self._rejects.write([reject.row, reject.line, reject.reason, reject.text])
        self.examples += chunk.rejects[: MAX_EXAMPLES - len(self.examples)]
        self.n_scored += len(scores)
        self.n_rejected += len(chunk.rejects)

    def _table_file(self, path: Path, suffix: str) -> "_TableFile":
        return _TableFile(path, suffix, self.escape_formulas and suffix == ".csv")

    def _write_flags(self, scored: Path, flagged: Path, suffix: str) -> None:
        """Copy the file `scored` to `flagged`, with the column `flagged` instead of ABOVE."""
        self.max_above = max_above(self.counts, *self.fdr)
        output = self._table_file(flagged, suffix)
        with pyarrow.parquet.ParquetFile(scored) as file:
            # The empty table creates the file even if there are no rows.
            for table in chain([file.schema_arrow.empty_table()], map(pa.table, file.iter_batches())):
                flags = table[ABOVE].to_numpy() <= self.max_above
                output.write(self._with_flags(table, flags))
                self.n_flagged += int(flags.sum())
        output.close()


    def _with_flags(self, table: pa.Table, flags: np.ndarray) -> pa.Table:
        """Return a table with `flagged` in the place of ABOVE, and with reasons in flagged rows only."""
        table = table.set_column(table.column_names.index(ABOVE), "flagged", pa.array(flags))
        for name in column_names() if self.explained else []:
            column = table[name]
            only_flagged = pc.if_else(pa.array(flags), column, pa.scalar(None, column.type))
            table = table.set_column(table.column_names.index(name), name, only_flagged)
        return table


class _TableFile:
    """A CSV or Parquet file that tables are appended to."""

    def __init__(self, path: Path, suffix: str, escape_formulas: bool):
        self.path, self.suffix, self.escape_formulas = path, suffix, escape_formulas
        self.writer: Any = None  # created with the first table, which has the file's columns

    def write(self, table: pa.Table) -> None:
        if self.escape_formulas:
            table = pa.table({escape_formula(name): _escape(table[name]) for name in table.column_names})
        if self.writer is None:
            writer_class = pyarrow.parquet.ParquetWriter if self.suffix == ".parquet" else pyarrow.csv.CSVWriter
            self.writer = writer_class(self.path, table.schema)
        self.writer.write_table(table)

    def close(self) -> None:
        writer, self.writer = self.writer, None
        if writer is not None:
            writer.close()


def _escape(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column in which no text is a formula; few texts are looked at one by one."""
    if not (pa.types.is_string(values.type) or pa.types.is_large_string(values.type)):
        return values
    values = values.combine_chunks()
    mask = pc.fill_null(pc.match_substring_regex(values, f"^{FORMULA}"), False)
    escaped = [escape_formula(text) for text in values.filter(mask).to_pylist()]
    return pc.replace_with_mask(values, mask, pa.array(escaped, values.type))
