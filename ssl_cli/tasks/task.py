"""Protocols of a labelled task: files -> examples -> rows that a model reads, and raw predictions -> metrics."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np

from ssl_cli.data.io.records import Record
from ssl_cli.data.labelled.pair_template import PairTemplate
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.data.tokenizers.seq2seq_template import Style
from ssl_cli.data.tokenizers.tokenizer import Tokenizer

Examples = Sequence[Any]  # of a split, in the file's order; each task has its own class of examples
RawPredictions = Sequence[np.ndarray]  # the model's output for each row, in order: see the head's `raw_predictions`
Prediction = dict[str, Any]  # a line of predictions.jsonl


class Scores(Protocol):
    """Predictions compared with the truth, as arrays, so that computing metrics again and again is fast."""

    def metrics(self, which: np.ndarray | None = None) -> dict[str, float]:
        """Return metrics in 0..1 by name (accuracy, f1) of all predictions, or of those with the indices `which`."""


class ScoredTask(Protocol):
    """What a task of any modality says of its predictions; `monitor` is the metric on dev that selects the weights."""

    monitor: str

    def scores(self, predictions: Sequence[Prediction]) -> Scores | None:
        """Return the scores of the predictions, or None if their labels are unknown."""

    def submission(self, split: str, predictions: Sequence[Prediction]) -> Mapping[str, str]:
        """Return the files to submit for a split: name -> content; empty if there are none."""


@runtime_checkable
class Task(ScoredTask, Protocol):
    """A kind of task on text. Each YAML of conf/task is one instance, with the arguments of its class.

    `method` is the dotted name of what learns it, and `network` that of the network inside. `monitor` is the metric on
    dev that selects the best weights; more is better.
    """

    method: ClassVar[str]
    network: ClassVar[str]
    source: ClassVar[type]

    def read(self, source: Any) -> dict[str, Examples]:
        """Return the examples of each split: train, dev, and optionally test and others (dev_mismatched, ax).

        Labels are None in splits that are published without. Raises InputError, which names file and line, for what is
        missing or wrong.
        """

    def texts(self, examples: Examples) -> Iterable[str]:
        """Yield all text of the examples, to train a tokenizer if none is loaded."""

    def labels(self, examples: Examples) -> list[str]:
        """Return the classes in the order of their indices; none if the task has no classes."""

    def options(self, labels: Sequence[str]) -> dict[str, Any]:
        """Return the arguments of the method besides its network, and those that follow from the template."""

    def template(
        self, tokenizer: Tokenizer, network: Mapping[str, Any], style: Style | None, max_length: int
    ) -> SequenceTemplate | PairTemplate:
        """Return how a network with these options reads a text of at most `max_length` tokens, and writes one.

        `style` is bart or t5 for an encoder-decoder or its encoder. Raises InputError if a special token is missing.
        """

    def rows(self, examples: Examples, template: Any, labels: Sequence[str], training: bool) -> Any:
        """Return the examples as a model reads them, PackedExamples or PackedPairs.

        With `training` only those that can be learned from, with their targets; otherwise all. `rows.warnings` has a
        sentence for each kind of loss, such as texts that were cut.
        """

    def decode(
        self, examples: Examples, rows: Any, raw_predictions: RawPredictions, labels: Sequence[str]
    ) -> list[Prediction]:
        """Return the lines of predictions.jsonl, one per example, in order.

        Each has `id`, the fields of the example, `label` if it is known, and `prediction`, with probabilities or
        scores.
        """

    def records(self, path: Path, labels: Sequence[str]) -> Iterator[Record]:
        """Yield the records of a user's file of any size, for `to_example`. Raises InputError if it can't be read."""

    def to_example(self, record: Mapping[str, Any]) -> Any:
        """Return the example, without a label, of a user's record: a JSON object, or a row of a CSV by column.

        Raises InputError with a short reason, without the place, if the record lacks a field.
        """


@runtime_checkable
class TakesPairs(Protocol):
    """A task of texts that may be of pairs of texts."""

    @property
    def has_pair(self) -> bool:
        """Return whether an example is a pair."""


@runtime_checkable
class GeneratesText(Protocol):
    """A task whose predictions are texts, of at most `max_target` tokens.

    A validation reads and writes `validation_examples` of dev. `summary_metric` is the metric that compares runs: the
    weights may be selected by their loss, which says nothing of the texts.
    """

    max_target: int
    validation_examples: int
    summary_metric: str


@runtime_checkable
class DescribesMetrics(Protocol):
    """A task with metrics of its own, and what each of them means."""

    meanings: Mapping[str, str]


@runtime_checkable
class ScoresByType(Protocol):
    """Scores that are also known for each type of entity."""

    def by_type(self) -> dict[str, tuple[float, float, float, int]]:
        """Return precision, recall, F1 and the number of true spans of each type."""


@runtime_checkable
class Tunes(Protocol):
    """A task that tunes a parameter besides the weights on the dev split, such as a threshold."""

    def tune(self, predictions: Sequence[Prediction]) -> list[Prediction]:
        """Tune the parameter on the predictions of the dev split, keep it, and return the predictions by it."""

    def learned(self) -> dict[str, Any]:
        """Return the tuned parameters as JSON; empty if there was nothing to tune."""

    def restore(self, learned: Mapping[str, Any]) -> None:
        """Restore the tuned parameters. Raises InputError if they are damaged."""
