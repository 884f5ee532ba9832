"""JSON lines: one object per line."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ssl_cli.data.io.text import LINE, ReadIssues, read_text, split_text

MAX_LINE_CHARS = 1 << 25  # a longer line is cut, and so is not valid JSON
SUFFIXES = (".jsonl", ".ndjson", ".json")

# The place of each record in its file, and its fields; or the reason why it cannot be read.
Records = Iterable[tuple[str, dict[str, Any] | str]]


def read_json_lines(path: Path, issues: ReadIssues) -> Records:
    """Yield the records of a file, plain or compressed, each with its place (`line 3`). Blank lines are skipped."""
    for number, line in enumerate(split_text(read_text(path, issues), LINE, issues, MAX_LINE_CHARS), 1):
        if not line or line.isspace():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            yield f"line {number:,}", f"it is not JSON ({reason})"
            continue
        is_object = isinstance(record, dict)
        yield f"line {number:,}", record if is_object else "it is not a JSON object: each line must be one, {...}"
