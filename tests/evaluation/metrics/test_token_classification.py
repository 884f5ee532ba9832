"""Entities and their F1 against transcriptions of seqeval's get_entities and of conlleval.pl."""

import numpy as np
import pytest

from ssl_cli.evaluation.metrics.token_classification import TagScores, entities

Tags = list[str]


def ends(before: str, tag: str, type_before: str, type_: str) -> bool:
    """Transcription of seqeval.metrics.sequence_labeling.end_of_chunk."""
    if before in ("E", "S"):
        return True
    if (before, tag) in {("B", "B"), ("B", "S"), ("B", "O"), ("I", "B"), ("I", "S"), ("I", "O")}:
        return True
    return before not in ("O", ".") and type_before != type_


def starts(before: str, tag: str, type_before: str, type_: str) -> bool:
    """Transcription of start_of_chunk."""
    if tag in ("B", "S"):
        return True
    if (before, tag) in {("E", "E"), ("E", "I"), ("S", "E"), ("S", "I"), ("O", "E"), ("O", "I")}:
        return True
    return tag not in ("O", ".") and type_before != type_


def get_entities(tags: Tags) -> list[tuple[str, int, int]]:
    before, type_before, begin, found = "O", "", 0, []
    for place, chunk in enumerate([*tags, "O"]):
        tag, type_ = chunk[0], chunk[1:].split("-", maxsplit=1)[-1] or "_"
        if ends(before, tag, type_before, type_):
            found.append((type_before, begin, place - 1))
        if starts(before, tag, type_before, type_):
            begin = place
        before, type_before = tag, type_
    return found


def conlleval(truth: list[Tags], predictions: list[Tags]) -> tuple[int, int, int]:
    """Return correct, predicted and true chunks: the loop of conlleval.pl, which has an O between sentences."""
    correct = predicted = n_true = 0
    inside = False
    last = [("O", ""), ("O", "")]
    pairs = [pair for a, b in zip(truth, predictions, strict=True) for pair in [*zip(a, b, strict=True), ("O", "O")]]
    for pair in pairs:
        now = [(tag[0], tag[2:]) for tag in pair]
        ended = [ends(old[0], new[0], old[1], new[1]) for old, new in zip(last, now, strict=True)]
        begun = [starts(old[0], new[0], old[1], new[1]) for old, new in zip(last, now, strict=True)]
        if inside:
            if all(ended) and last[0][1] == last[1][1]:
                inside, correct = False, correct + 1
            elif ended[0] != ended[1] or now[0][1] != now[1][1]:
                inside = False
        if all(begun) and now[0][1] == now[1][1]:
            inside = True
        n_true, predicted = n_true + begun[0], predicted + begun[1]
        last = now
    return correct, predicted, n_true


def drawn(rng: np.random.Generator, prefixes: str, n: int, length: int) -> list[Tags]:
    tags = ["O", *(f"{prefix}-{type}" for prefix in prefixes for type in ("X", "Y-Z"))]
    return [rng.choice(tags, length).tolist() for _ in range(n)]


@pytest.mark.parametrize("prefixes", ["I", "BI", "BIES"])
def test_entities_equal_seqevals(prefixes: str) -> None:
    for tags in drawn(np.random.default_rng(1), prefixes, 300, 9):
        assert entities(tags) == get_entities(tags), tags


def test_aliases_of_prefixes() -> None:
    assert entities(["B-X", "M-X", "L-X", "U-X"]) == [("X", 0, 2), ("X", 3, 3)]


@pytest.mark.parametrize("seed", range(3))
def test_counts_equal_conllevals(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, predictions = drawn(rng, "BI", 80, 8), drawn(rng, "BI", 80, 8)
    predictions[::3] = [list(tags) for tags in truth[::3]]
    correct, predicted, n_true = conlleval(truth, predictions)
    found = TagScores.from_tags(truth, predictions, entities=True).metrics()
    assert found["entity_precision"] == correct / predicted and found["entity_recall"] == correct / n_true
    p, r = correct / predicted, correct / n_true
    assert found["entity_f1"] == pytest.approx(2 * p * r / (p + r))
    assert found["accuracy"] == np.mean(np.array(truth) == np.array(predictions))


def test_a_bootstrap_sample_has_the_scores_of_its_sentences() -> None:
    rng = np.random.default_rng(0)
    truth, predictions = drawn(rng, "BI", 20, 8), drawn(rng, "BI", 20, 8)
    index = rng.integers(20, size=20)
    again = TagScores.from_tags([truth[k] for k in index], [predictions[k] for k in index], entities=True)
    assert TagScores.from_tags(truth, predictions, entities=True).metrics(index) == again.metrics()


def test_by_type() -> None:
    truth, predictions = [["B-X", "I-X", "O", "B-Y"]], [["B-X", "I-X", "B-Y", "B-Z"]]
    assert TagScores.from_tags(truth, predictions, entities=True).by_type() == {
        "X": (1.0, 1.0, 1.0, 1),
        "Y": (0.0, 0.0, 0.0, 1),
        "Z": (0.0, 0.0, 0.0, 0),
    }
    words = TagScores.from_tags([["N", "V", "N"]], [["N", "N", "N"]], entities=False)
    assert words.metrics() == {"accuracy": 2 / 3}
    assert words.by_type() == {"N": (2 / 3, 1.0, 0.8, 2), "V": (0.0, 0.0, 0.0, 1)}


def test_no_predicted_entity_scores_zero() -> None:
    found = TagScores.from_tags([["B-X"]], [["O"]], entities=True).metrics()
    assert found == {"entity_f1": 0.0, "entity_precision": 0.0, "entity_recall": 0.0, "accuracy": 0.0}
