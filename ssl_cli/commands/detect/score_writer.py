"""Writer of ssl score: scores of a stream of rows -> a file that appears at its place only when it is complete."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

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


class ScoreWriter:
    """Writes chunks of rows with their scores, and counts them.

    A row is flagged if its score is above `threshold`. If that is None, all rows of the file are judged together by
    `fdr`, a false discovery rate and its method. Then the flags are known only at the end, and the file is written
    twice. `escape_formulas` concerns the texts of CSV files.
    """

    def __init__(
        self, calibration: np.ndarray, threshold: float | None, fdr: tuple[float, FdrMethod], escape_formulas: bool
    ):
        self.calibration, self.threshold, self.fdr = np.sort(calibration), threshold, fdr
        self.escape_formulas = escape_formulas
        self.counts = np.zeros(len(calibration) + 1, dtype=np.int64)  # [n]: rows with n calibration scores above
        self.n_scored = self.n_rejected = self.n_flagged = 0
        self.examples: list[RejectedRow] = []

    @contextmanager
    def open(self, output: Path, rejects: Path) -> Iterator[None]:
        """Open the files for `add`, and move them into place at the end. On an error nothing is left behind."""
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
                with disk_errors_as_input_errors(output):
                    move_into_place(scored, output)

    def add(self, chunk: Chunk, scores: np.ndarray) -> None:
        """Write the valid rows of a chunk with their scores (N,), and its rejected rows."""
        above = counts_above(self.calibration, scores)
        columns: dict[str, Any] = dict(chunk.kept)
        columns |= {"row": chunk.row, "score": scores, "p_value": (1 + above) / len(self.counts)}
        if self.threshold is None:
            self.counts += np.bincount(above, minlength=len(self.counts))
            columns[ABOVE] = above
        else:
            columns["flagged"] = scores > self.threshold
            self.n_flagged += int(columns["flagged"].sum())
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
        largest = max_above(self.counts, *self.fdr)
        output = self._table_file(flagged, suffix)
        with pyarrow.parquet.ParquetFile(scored) as file:
            # The empty table creates the file even if there are no rows.
            for table in chain([file.schema_arrow.empty_table()], map(pa.table, file.iter_batches())):
                flags = table[ABOVE].to_numpy() <= largest
                output.write(table.drop_columns(ABOVE).append_column("flagged", pa.array(flags)))
                self.n_flagged += int(flags.sum())
        output.close()


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
