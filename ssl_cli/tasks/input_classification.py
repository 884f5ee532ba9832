"""Classification of whole inputs that are no text, utterances or images: labels drawn by the seed, and predictions."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, Protocol

import numpy as np

from ssl_cli.config.types import Range
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.classification import ClassScores
from ssl_cli.evaluation.metrics.probes import stratified_order
from ssl_cli.tasks.task import Prediction, RawPredictions, Scores

ClassMetric = Literal["accuracy", "macro_f1", "matthews"]
ClassMetrics = Annotated[list[ClassMetric], "metrics to compute"]
Monitor = Annotated[ClassMetric, "metric on dev that selects the best weights"]
LabelCount = Annotated[Annotated[int, Range(2)] | None, "labels to learn from; null: all"]
SPLITS = {"train": "train", "val": "dev", "test": "test", "unheard": "unheard"}  # of the data -> of the task


class LabelledInputs(Protocol):
    """The inputs of a split, with a name for each, and the index of its class, (N,)."""

    @property
    def names(self) -> Sequence[str]:
        """Return the inputs' names, such as those of their files."""

    @property
    def label(self) -> np.ndarray:
        """Return the index of each input's class, (N,)."""

    def __len__(self) -> int: ...


class InputClassification:
    """A class for each whole input.

    With `labels` a model learns from so many training inputs, drawn by the seed, as many of each class as can be.
    """

    def __init__(self, metrics: Sequence[ClassMetric], monitor: ClassMetric, labels: int | None):
        if monitor not in metrics:
            raise InputError(f"task.monitor={monitor} is not one of task.metrics: {', '.join(metrics)}.")
        self.n_labels, self.metrics = labels, tuple(metrics)
        self.monitor: str = monitor

    def draw(self, label: np.ndarray, seed: int, of_each: str, inputs: str) -> np.ndarray:
        """Return which of the training inputs with these classes (N,) to learn from, in ascending order.

        They are stratified by class, with one of each at least. Raises InputError if there aren't as many as asked for,
        or fewer are asked for than there are classes; `of_each` is what a class is, `inputs` what is classified.
        """
        if self.n_labels is None:
            return np.arange(len(label))
        n_classes = len(np.unique(label))
        if not n_classes <= self.n_labels <= len(label):
            raise InputError(
                f"task.labels={self.n_labels}: it must be a number from {n_classes:,}, one for each {of_each}, to "
                f"{len(label):,}, the labelled training {inputs}; or null for all."
            )
        order = stratified_order(label, np.random.default_rng([seed, 7]))
        _, first = np.unique(label[order], return_index=True)  # the place of each class's first
        others = np.delete(order, first)
        return np.sort(np.concatenate([order[first], others[: self.n_labels - n_classes]]))

    def decode(
        self, names: Sequence[str], raw_predictions: RawPredictions, classes: Sequence[str], label: np.ndarray | None
    ) -> list[Prediction]:
        """Return a line of predictions.jsonl for each input, given its name and its class, if known."""
        predictions = []
        for k, (name, logits) in enumerate(zip(names, raw_predictions, strict=True)):
            exponentials = np.exp(logits.astype(float) - logits.max())
            probabilities = [round(share, 6) for share in (exponentials / exponentials.sum()).tolist()]
            best = int(logits.argmax())
            known = {} if label is None else {"label": classes[int(label[k])]}
            by_class = dict(zip(classes, probabilities, strict=True))
            predicted = {"prediction": classes[best], "probability": probabilities[best], "probabilities": by_class}
            predictions.append({"id": name} | known | predicted)
        return predictions

    def scores(self, predictions: Sequence[Prediction]) -> Scores | None:
        """Return the scores of the predictions, or None if a label is unknown."""
        if not predictions or any("label" not in prediction for prediction in predictions):
            return None
        index = {name: k for k, name in enumerate(predictions[0]["probabilities"])}
        truth, predicted = (
            np.array([index[prediction[name]] for prediction in predictions]) for name in ("label", "prediction")
        )
        return ClassScores(truth, predicted, len(index), self.metrics)

    def submission(self, split: str, predictions: Sequence[Prediction]) -> Mapping[str, str]:
        """Return no file: there is no leaderboard."""
        return {}
