"""Files that leaderboards take: GLUE's tables, CLUE's JSON lines."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

Files = Annotated[dict[str, str], "split -> name of the file that is handed in for it"]


class Submission(Protocol):
    def files_of(self, split: str, answers: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        """Name -> content; empty for a split of which nothing is handed in."""


@dataclass(frozen=True)
class GlueTable(Submission):
    """`index<TAB>prediction` under that header; labels as words or digits, whichever they are in the files; a number is
    kept within `bounds` and has 3 decimals (gluebenchmark.com/faq)."""

    files: Files
    bounds: Annotated[list[float] | None, "least and greatest number that is handed in"] = None

    def files_of(self, split: str, answers: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        if split not in self.files:
            return {}
        lines = [f"{answer['id']}\t{self._said(answer['answer'])}\n" for answer in answers]
        return {self.files[split]: "".join(["index\tprediction\n", *lines])}

    def _said(self, answer: str | float) -> str:
        if isinstance(answer, str):
            return answer
        low, high = self.bounds or (answer, answer)
        return f"{min(max(answer, low), high):.3f}"


@dataclass(frozen=True)
class ClueLines(Submission):
    """`{"id": 0, "label": "1"}` a line, as CLUE's baselines write it; in `extra` what else stands in each."""

    files: Files
    key: Annotated[str, "what the answer is called"] = "label"
    extra: Annotated[dict[str, str], "further fields, the same in every line"] = field(default_factory=dict)

    def files_of(self, split: str, answers: Sequence[Mapping[str, Any]]) -> dict[str, str]:
        if split not in self.files:
            return {}
        rows = ({"id": answer["id"], self.key: answer["answer"], **self.extra} for answer in answers)
        return {self.files[split]: "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)}
