"""JSON lines: an object a line."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ssl_cli.data.io.text import LINE, ReadIssues, parted, pieces

LONGEST_LINE = 1 << 25  # characters; a longer one is cut, and so is broken
SUFFIXES = (".jsonl", ".ndjson", ".json")

# Where each record stands in its file, and its fields; or the reason why it can't be read.
Records = Iterable[tuple[str, dict[str, Any] | str]]


def json_lines(path: Path, faults: ReadIssues) -> Records:
    for number, line in enumerate(parted(pieces(path, faults), LINE, faults, LONGEST_LINE), 1):
        if not line or line.isspace():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            yield f"line {number:,}", f"it is no JSON ({reason})"
            continue
        is_object = isinstance(record, dict)
        yield f"line {number:,}", record if is_object else "it is no JSON object: each line must be one, {...}"
