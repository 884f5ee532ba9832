"""Suites of tasks, such as GLUE: their tasks, the score of each, and the submission files of each."""

from collections.abc import Mapping
from statistics import fmean
from typing import Annotated

from ssl_cli.errors import InputError


class Suite:
    """Tasks that are trained one by one and scored together.

    The score of a task is the mean of its metrics, and the score of the suite the mean over its tasks, as in GLUE
    (arXiv 1804.07461, section 3), where the two test sets of MNLI make one score.
    """

    def __init__(
        self,
        tasks: Annotated[dict[str, list[str]], "task -> the metrics whose mean is its score"],
        submission: Annotated[dict[str, list[str]], "task -> its submission files"],
    ):
        if not tasks or not all(tasks.values()):
            raise InputError("A suite must have tasks, and for each task the metrics of its score.")
        if unknown := [name for name in submission if name not in tasks]:
            raise InputError(f"A suite can't submit files for {unknown[0]}, which is not one of its tasks.")
        self.tasks, self.submission = tasks, submission

    def score(self, task: str, metrics: Mapping[str, float]) -> float | None:
        """Return the score of a task, or None if one of its metrics is missing."""
        names = self.tasks[task]
        return fmean(metrics[name] for name in names) if all(name in metrics for name in names) else None

    def average(self, scores: Mapping[str, float]) -> float | None:
        """Return the mean over the tasks that have a score, or None if none has."""
        return fmean(scores.values()) if scores else None
