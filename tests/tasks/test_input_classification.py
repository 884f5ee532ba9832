"""Labels drawn by the seed, and predictions of whole inputs."""

import numpy as np
import pytest

from ssl_cli.errors import InputError
from ssl_cli.tasks.input_classification import InputClassification

LABEL = np.array([0] * 60 + [1] * 30 + [2] * 9 + [4])


def drawn(labels: int | None, seed: int = 0, label: np.ndarray = LABEL) -> np.ndarray:
    return InputClassification(["accuracy"], "accuracy", labels).draw(label, seed, "class", "images")


def test_labels_are_drawn_by_the_seed_in_proportion() -> None:
    first, again, other = drawn(20), drawn(20), drawn(20, seed=1)
    assert first.tolist() == again.tolist() != other.tolist()
    assert (np.diff(first) > 0).all()
    counts = np.bincount(LABEL[first])
    assert np.abs(counts - 20 * np.bincount(LABEL) / 100).max() <= 1
    assert drawn(None).tolist() == drawn(100).tolist() == list(range(100))


@pytest.mark.parametrize("labels", [4, 5, 20])
@pytest.mark.parametrize("seed", range(10))
def test_each_class_has_a_label(labels: int, seed: int) -> None:
    which = drawn(labels, seed)
    assert len(set(which.tolist())) == labels
    assert set(LABEL[which].tolist()) == {0, 1, 2, 4}


@pytest.mark.parametrize("labels", [3, 101])
def test_too_few_and_too_many_labels_are_refused(labels: int) -> None:
    with pytest.raises(InputError, match=rf"task.labels={labels}: it must be a number from 4, one for each class, to "):
        drawn(labels)


def test_what_chooses_the_weights_must_be_a_metric() -> None:
    with pytest.raises(InputError, match=r"task.monitor=macro_f1 is not one of task.metrics: accuracy"):
        InputClassification(["accuracy"], "macro_f1", None)


def test_predictions_have_the_probabilities_of_all_classes() -> None:
    task = InputClassification(["accuracy", "macro_f1"], "accuracy", None)
    raw = [np.array([0.0, np.log(3)]), np.array([2.0, 0.0])]
    predictions = task.decode(["a", "b"], raw, ["no", "yes"], np.array([1, 1]))
    assert predictions[0] == {
        "id": "a",
        "label": "yes",
        "prediction": "yes",
        "probability": 0.75,
        "probabilities": {"no": 0.25, "yes": 0.75},
    }
    scores = task.scores(predictions)
    assert scores is not None
    assert scores.metrics()["accuracy"] == 0.5
    assert task.scores(task.decode(["a"], raw[:1], ["no", "yes"], None)) is None
