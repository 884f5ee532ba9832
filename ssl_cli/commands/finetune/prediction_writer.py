"""Writer of predictions and rejected records of a stream; both files appear only when they are complete."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from ssl_cli.data.io.records import Record
from ssl_cli.runs.csv_files import CsvWriter, escape_formula
from ssl_cli.runs.outputs import (
    REJECTED_ROW_COLUMNS,
    disk_errors_as_input_errors,
    move_into_place,
    rejects_staging_path,
    temporary_folder,
)
from ssl_cli.tasks.task import Prediction

CHUNK_RECORDS, CHUNK_CHARS = 2048, 1 << 22  # of the records that are predicted together
MAX_NAMED_REJECTS = 3  # rejected records that are named; the others are only counted
MAX_REJECT_CHARS = 10_000  # characters of a rejected record that are kept
ROW = "row"


class PredictionWriter:
    """Writes predictions, each with its record's number as `row`, and rejected records, and counts both."""

    def __init__(self, escape_formulas: bool = False) -> None:
        self.escape_formulas = escape_formulas  # of CSV files
        self.n_predicted = self.n_rejected = 0
        self.first_rejects: list[str] = []  # place and reason of each

    @contextmanager
    def writing(self, output: Path, rejects: Path) -> Iterator[None]:
        """Open both files for `add` and `reject`. On an error no file is left behind."""
        with temporary_folder(output) as here, temporary_folder(rejects_staging_path(output, rejects)) as there:
            parts = {output: here / "predictions", rejects: there / "rejects"}
            with disk_errors_as_input_errors(output):
                predictions, lines = map(_open, parts.values())
            is_csv = output.suffix == ".csv"
            self._predictions = _CsvLines(predictions, self.escape_formulas) if is_csv else _JsonLines(predictions)
            self._rejects, self._output = CsvWriter(lines, self.escape_formulas), output
            self._rejects.write(REJECTED_ROW_COLUMNS)
            try:
                yield
                with disk_errors_as_input_errors(output):
                    self._predictions.end()
                    lines.close()
            finally:
                with suppress(OSError):  # close what an error left open
                    predictions.close()
                    lines.close()
            for place, part in parts.items():
                with disk_errors_as_input_errors(place):
                    move_into_place(part, place)

    def add(self, rows: Iterable[int], predictions: Sequence[Prediction]) -> None:
        """Write predictions and the numbers of their records."""
        with disk_errors_as_input_errors(self._output):
            for row, prediction in zip(rows, predictions, strict=True):
                self._predictions.write({ROW: row, **prediction})
        self.n_predicted += len(predictions)

    def reject(self, entry: Record, reason: str) -> None:
        """Write a rejected record with the reason."""
        with disk_errors_as_input_errors(self._output):
            self._rejects.write([entry.row, entry.line, reason, entry.text[:MAX_REJECT_CHARS]])
        self.n_rejected += 1
        if len(self.first_rejects) < MAX_NAMED_REJECTS:
            place = f"row {entry.row:,}" if entry.line is None else f"line {entry.line:,}"
            self.first_rejects.append(f"{place}: {reason}")


def _open(path: Path) -> TextIO:
    return path.open("w", newline="", encoding="utf-8", errors="replace")


class _JsonLines:
    def __init__(self, file: TextIO):
        self.file = file

    def write(self, prediction: Prediction) -> None:
        self.file.write(json.dumps(prediction, ensure_ascii=False) + "\n")

    def end(self) -> None:
        self.file.close()


class _CsvLines:
    """A CSV with one column per field of the predictions, and one per class for `probabilities`; lists are JSON.

    A field that the first prediction lacks, such as an id, becomes a last column; the file is then written again.
    """

    def __init__(self, file: TextIO, escape_formulas: bool):
        self.file, self.out, self.columns = file, CsvWriter(file, escape_formulas), list[str]()
        self.n_in_header = 0  # columns of the header as it was written

    def write(self, prediction: Prediction) -> None:
        fields = dict(_flat(prediction))
        self.columns += [name for name in fields if name not in self.columns]
        if not self.n_in_header:
            self.n_in_header = len(self.columns)
            self.out.write(self.columns)
        self.out.write([fields.get(name) for name in self.columns])

    def end(self) -> None:
        self.file.close()
        if len(self.columns) > self.n_in_header:
            _widen(Path(self.file.name), self.columns, self.out.escape_formulas)


def _widen(path: Path, columns: list[str], escape_formulas: bool) -> None:
    """Write the rows again with all `columns`; missing values are empty."""
    widened = path.with_name(f"{path.name}-widened")
    with path.open(newline="", encoding="utf-8") as before, _open(widened) as file:
        rows, out = csv.reader(before), CsvWriter(file)  # the rows are escaped already
        next(rows)
        out.write(map(escape_formula, columns) if escape_formulas else columns)
        for row in rows:
            out.write([*row, *[""] * (len(columns) - len(row))])
    widened.replace(path)


def _flat(prediction: Prediction) -> Iterator[tuple[str, Any]]:
    for name, value in prediction.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", part) for key, part in value.items())
        else:
            yield name, json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple) else value


def chunks(entries: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield records in lists of bounded size, shorter for long records, so that memory doesn't grow with the file."""
    chunk, n_chars = list[Record](), 0
    for entry in entries:
        chunk.append(entry)
        n_chars += len(entry.text)
        if len(chunk) == CHUNK_RECORDS or n_chars >= CHUNK_CHARS:
            yield chunk
            chunk, n_chars = [], 0
    if chunk:
        yield chunk
