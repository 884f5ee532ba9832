"""A suite of tasks, such as GLUE: which they are, how each is scored, and what is handed in for each."""

from collections.abc import Mapping
from statistics import fmean
from typing import Annotated

from ssl_cli.errors import InputError


class Suite:
    """Tasks that are learned one by one, and scored together.

    The score of the suite is the mean over its tasks, of each of which several metrics make one score, their mean:
    so GLUE does it (arXiv 1804.07461, section 3), where MNLI's two test sets make one score, too.
    """

    def __init__(
        self,
        tasks: Annotated[dict[str, list[str]], "task -> the metrics whose mean is its score"],
        submission: Annotated[dict[str, list[str]], "task -> the files that are handed in for it"],
    ):
        if not tasks or not all(tasks.values()):
            raise InputError("A suite must have tasks, and for each of them the metrics that make its score.")
        if strange := [name for name in submission if name not in tasks]:
            raise InputError(f"A suite can't hand in files for {strange[0]}, which is none of its tasks.")
        self.tasks, self.submission = tasks, submission

    def score(self, task: str, metrics: Mapping[str, float]) -> float | None:
        """Of one task; None where one of the metrics is missing that make it."""
        names = self.tasks[task]
        return fmean(metrics[name] for name in names) if all(name in metrics for name in names) else None

    def average(self, scores: Mapping[str, float]) -> float | None:
        """Over the tasks that have a score; None where there is none."""
        return fmean(scores.values()) if scores else None
