"""Answers of a stream of records -> a file, and what can't be read -> another; each there when it is whole."""

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from ssl_cli.data.io.records import Record
from ssl_cli.runs.output_files import REJECT_COLUMNS, beside, disk_errors_as_input_errors, folder_in, move
from ssl_cli.tasks.task import Prediction

AT_ONCE, CHARACTERS = 2048, 1 << 22  # records and characters that are answered together
NAMED = 3  # rejects that are named; the others are counted
LONGEST_TEXT = 10_000  # characters of a reject that are kept
ROW = "row"


class PredictionFile:
    """Takes answers, each with the record's number as `row`, and rejects; counts both."""

    def __init__(self) -> None:
        self.answered = self.rejected = 0
        self.named: list[str] = []  # the first rejects: where, and why

    @contextmanager
    def writing(self, output: Path, rejects: Path) -> Iterator[None]:
        """While it is open, `add` and `reject` may be called. On an error nothing is left behind."""
        with folder_in(output) as here, folder_in(beside(output, rejects)) as there:
            parts = {output: here / "answers", rejects: there / "rejects"}
            with disk_errors_as_input_errors(output):
                answers, lines = map(_opened, parts.values())
            self._answers = _CsvLines(answers) if output.suffix == ".csv" else _JsonLines(answers)
            self._rejects, self._output = csv.writer(lines), output
            self._rejects.writerow(REJECT_COLUMNS)
            try:
                yield
                with disk_errors_as_input_errors(output):
                    self._answers.end()
                    lines.close()
            finally:
                with suppress(OSError):  # after an error: what it left open
                    answers.close()
                    lines.close()
            for place, part in parts.items():
                with disk_errors_as_input_errors(place):
                    move(part, place)

    def add(self, rows: Iterable[int], answers: Sequence[Prediction]) -> None:
        with disk_errors_as_input_errors(self._output):
            for row, answer in zip(rows, answers, strict=True):
                self._answers.write({ROW: row, **answer})
        self.answered += len(answers)

    def reject(self, entry: Record, reason: str) -> None:
        with disk_errors_as_input_errors(self._output):
            self._rejects.writerow([entry.row, entry.line, reason, entry.text[:LONGEST_TEXT]])
        self.rejected += 1
        if len(self.named) < NAMED:
            place = f"row {entry.row:,}" if entry.line is None else f"line {entry.line:,}"
            self.named.append(f"{place}: {reason}")


def _opened(path: Path) -> TextIO:
    return path.open("w", newline="", encoding="utf-8", errors="replace")


class _JsonLines:
    def __init__(self, file: TextIO):
        self.file = file

    def write(self, answer: Prediction) -> None:
        self.file.write(json.dumps(answer, ensure_ascii=False) + "\n")

    def end(self) -> None:
        self.file.close()


class _CsvLines:
    """The answers' fields are the columns; `probabilities` by class are a column each, lists are JSON.

    A field that the first answer lacks, such as an id, becomes a last column: the file is then written once more.
    """

    def __init__(self, file: TextIO):
        self.file, self.out, self.columns = file, csv.writer(file), list[str]()
        self.n_written = 0  # columns under the header that stands there

    def write(self, answer: Prediction) -> None:
        flat = dict(_flat(answer))
        self.columns += [name for name in flat if name not in self.columns]
        if not self.n_written:
            self.n_written = len(self.columns)
            self.out.writerow(self.columns)
        self.out.writerow([flat.get(name) for name in self.columns])

    def end(self) -> None:
        self.file.close()
        if len(self.columns) > self.n_written:
            _widen(Path(self.file.name), self.columns)


def _widen(path: Path, columns: list[str]) -> None:
    """The same rows under all `columns`, empty where a row ends before them."""
    widened = path.with_name(f"{path.name}-widened")
    with path.open(newline="", encoding="utf-8") as before, _opened(widened) as file:
        rows, out = csv.reader(before), csv.writer(file)
        next(rows)
        out.writerow(columns)
        out.writerows([*row, *[""] * (len(columns) - len(row))] for row in rows)
    widened.replace(path)


def _flat(answer: Prediction) -> Iterator[tuple[str, Any]]:
    for name, value in answer.items():
        if isinstance(value, dict):
            yield from ((f"{name}.{key}", one) for key, one in value.items())
        else:
            yield name, json.dumps(value, ensure_ascii=False) if isinstance(value, list | tuple) else value


def chunks(entries: Iterable[Record]) -> Iterator[list[Record]]:
    """A few thousand at a time, fewer of long ones: memory doesn't grow with the file."""
    chunk, size = list[Record](), 0
    for entry in entries:
        chunk.append(entry)
        size += len(entry.text)
        if len(chunk) == AT_ONCE or size >= CHARACTERS:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk
