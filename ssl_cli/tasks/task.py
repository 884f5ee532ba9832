"""What a labelled task is: files -> examples -> rows that a model reads, and its guesses -> answers and metrics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ssl_cli.data.io.records import Record
from ssl_cli.data.labelled.packed_examples import PackedExamples
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.tasks.sources import TaskFiles

Examples = Sequence[Any]  # of a split, in the file's order; each kind of task has its own class for one
RawPredictions = Sequence[
    np.ndarray
]  # what a model gives for each row, in the rows' order: see the objective's `guess`
Prediction = dict[str, Any]  # a line of predictions.jsonl


class Scores(Protocol):
    """Answers beside the truth, as arrays: quick to measure, again and again."""

    def metrics(self, which: np.ndarray | None = None) -> dict[str, float]:
        """Metrics by their names (accuracy, f1), in 0..1, of all answers or of those by index (a bootstrap's)."""


class Task(Protocol):
    """A kind of task; a YAML of conf/task is one of it, by the arguments of its class.

    `objective`: the class that learns it, by its dotted name. `monitor`: the metric of the dev split by which the best
    weights are kept; of all metrics here more is better. `meanings`, where a task has it: what its own metrics are.
    """

    method: ClassVar[str]
    monitor: str

    def read(self, published: TaskFiles) -> dict[str, Examples]:
        """The examples of each split: train, dev, and where there are such, test and others (dev_mismatched, ax).

        Raises InputError, which names file and line, for what is missing or wrong. Labels are absent (None) in splits
        that are published without.
        """

    def texts(self, examples: Examples) -> Iterable[str]:
        """All text of the examples: a tokenizer is trained on it where none is taken over."""

    def labels(self, examples: Examples) -> list[str]:
        """The classes, in the order of their numbers; none where the task has no classes."""

    def options(self, labels: Sequence[str]) -> dict[str, Any]:
        """Arguments of the objective besides its network and its dropout."""

    def rows(
        self, examples: Examples, frame: SequenceTemplate, labels: Sequence[str], training: bool
    ) -> PackedExamples:
        """The examples as a model reads them. `learning`: only those that can be learned from, with their targets;
        otherwise every one. `rows.warnings` counts what was cut off or left out, in words."""

    def decode(
        self, examples: Examples, rows: PackedExamples, guesses: RawPredictions, labels: Sequence[str]
    ) -> list[Prediction]:
        """One a line of predictions.jsonl, an example each, in order: `id`, what was asked, `label` where it is known
        and `answer`, with probabilities or scores."""

    def scores(self, answers: Sequence[Prediction]) -> Scores | None:
        """What measures these answers; None where their labels aren't known."""

    def submission(self, split: str, answers: Sequence[Prediction]) -> dict[str, str]:
        """Files to hand in for this split: name -> content; none where nothing is handed in."""

    def records(self, path: Path, labels: Sequence[str]) -> Iterator[Record]:
        """A user's file of any size, record by record, as `given` takes them. Raises InputError where it can't be read
        at all."""

    def given(self, record: Mapping[str, Any]) -> Any:
        """An example without a label, of a user's record (a JSON object, or a CSV's row by column), for ssl predict.

        Raises InputError in a few words, without the place, where the record lacks what is needed."""


@runtime_checkable
class Tunes(Protocol):
    """A task that learns something itself besides the weights, on the dev split: a threshold."""

    def tuned(self, answers: Sequence[Prediction]) -> list[Prediction]:
        """The answers of the dev split, by what was learned from them; it is kept from now on."""

    def learned(self) -> dict[str, Any]:
        """What is kept, as JSON; nothing, where there was nothing to learn."""

    def restore(self, learned: Mapping[str, Any]) -> None:
        """Take that back. Raises InputError where it is damaged."""
