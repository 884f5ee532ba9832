"""Submission files of leaderboards: GLUE's tables and CLUE's JSON lines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

Files = Annotated[dict[str, str], "split -> name of its submission file"]


class Submission(Protocol):
    """A format of submission files."""

    def files_of(self, split: str, predictions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Return the submission files of a split: name -> content; empty if the leaderboard takes none."""


@dataclass(frozen=True)
class GlueTable(Submission):
    """`index<TAB>prediction` under that header.

    Labels are written as in the data files. Numbers are clipped to `bounds` and have 3 decimals
    (gluebenchmark.com/faq).
    """

    files: Files
    bounds: Annotated[list[float] | None, "smallest and largest number that is submitted"] = None

    def files_of(self, split: str, predictions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Return the table of a split."""
        if split not in self.files:
            return {}
        lines = [f"{prediction['id']}\t{self._formatted(prediction['prediction'])}\n" for prediction in predictions]
        return {self.files[split]: "".join(["index\tprediction\n", *lines])}

    def _formatted(self, value: str | float) -> str:
        if isinstance(value, str):
            return value
        low, high = self.bounds or (value, value)
        return f"{min(max(value, low), high):.3f}"


@dataclass(frozen=True)
class ClueLines(Submission):
    """`{"id": 0, "label": "1"}` on each line, as CLUE's baselines write it; `extra` adds further fields."""

    files: Files
    key: Annotated[str, "name of the field with the prediction"] = "label"
    extra: Annotated[dict[str, str], "further fields, the same on every line"] = field(default_factory=dict)

    def files_of(self, split: str, predictions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Return the JSON lines of a split."""
        if split not in self.files:
            return {}
        rows = ({"id": each["id"], self.key: each["prediction"], **self.extra} for each in predictions)
        return {self.files[split]: "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)}
