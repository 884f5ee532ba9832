"""Token classification metrics: entities as conlleval counts them, and accuracy of words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

Span = tuple[str, int, int]  # type, first and last word
ALIASES = {"L": "E", "U": "S", "M": "I"}  # prefixes of BILOU and BMES
PREFIXES = "BIES"
OUTSIDE = "O"


@cache
def parse_tag(tag: str) -> tuple[str, str] | None:
    """Return the prefix and type of a tag: B-PER -> (B, PER), O -> (O, ""); None if it is not an entity tag.

    The prefixes are B, I, E (last word) and S (single word).
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, type = tag.partition("-")
    prefix = ALIASES.get(prefix, prefix)
    return (prefix, type) if dash and type and prefix and prefix in PREFIXES else None


def entities(tags: Sequence[str]) -> list[Span]:
    """Return the entities of a sentence, as conlleval and seqeval's default mode find them.

    An entity begins at B or S, after E or S, and wherever the type differs from that before: I-PER after O begins one.
    Raises ValueError for a tag that `parse_tag` does not know.
    """
    spans: list[Span] = []
    before = OUTSIDE, ""
    for place, tag in enumerate(tags):
        parsed = parse_tag(tag)
        if parsed is None:
            raise ValueError(f"{tag} is not an entity tag")
        prefix, type = parsed
        if prefix != OUTSIDE:
            begins = before[1] != type or prefix in "BS" or before[0] in "ES"
            first = place if begins else spans.pop()[1]
            spans.append((type, first, place))
        before = parsed
    return spans


@dataclass(frozen=True)
class TagScores:
    """Counts of predicted and true spans, and the metrics that follow from them.

    A span is an entity; without `entities` it is a word with its tag. `counts` (S, 5) of each sentence: correct spans,
    predicted spans, true spans, correct words, words. `counts_by_type`: (correct, predicted, true) spans of each type.
    """

    counts: np.ndarray
    counts_by_type: dict[str, tuple[int, int, int]]
    entities: bool

    @classmethod
    def from_tags(
        cls, truth: Sequence[Sequence[str]], predictions: Sequence[Sequence[str]], entities: bool
    ) -> "TagScores":
        """Count the spans of true and predicted tags, a sequence for each sentence."""
        counts = np.zeros((len(truth), 5), np.int64)
        n_correct, n_predicted, n_true = Counter[str](), Counter[str](), Counter[str]()
        for row, true_tags, predicted_tags in zip(counts, truth, predictions, strict=True):
            true, predicted = (_spans(tags, entities) for tags in (true_tags, predicted_tags))
            correct = true & predicted
            n_correct_words = sum(map(str.__eq__, true_tags, predicted_tags))
            row[:] = len(correct), len(predicted), len(true), n_correct_words, len(true_tags)
            for counter, spans in ((n_correct, correct), (n_predicted, predicted), (n_true, true)):
                counter.update(span[0] for span in spans)
        types = sorted(n_predicted | n_true)
        return cls(counts, {type: (n_correct[type], n_predicted[type], n_true[type]) for type in types}, entities)

    def metrics(self, index: np.ndarray | None = None) -> dict[str, float]:
        """Return the metrics of all sentences, or of those at `index`, in 0..1; 0 if there is nothing to divide by."""
        counts = self.counts if index is None else self.counts[index]
        n_correct, n_predicted, n_true, n_correct_words, n_words = counts.sum(0).tolist()
        accuracy = {"accuracy": ratio(n_correct_words, n_words)}
        if not self.entities:
            return accuracy
        precision, recall, f1 = precision_recall_f1(n_correct, n_predicted, n_true)
        return {"entity_f1": f1, "entity_precision": precision, "entity_recall": recall} | accuracy

    def by_type(self) -> dict[str, tuple[float, float, float, int]]:
        """Return precision, recall, F1 and the number of true spans of each entity type, or of each tag."""
        return {type: (*precision_recall_f1(*counts), counts[2]) for type, counts in self.counts_by_type.items()}


def _spans(tags: Sequence[str], are_entities: bool) -> set[Span]:
    return set(entities(tags)) if are_entities else {(tag, place, place) for place, tag in enumerate(tags)}


def precision_recall_f1(n_correct: int, n_predicted: int, n_true: int) -> tuple[float, float, float]:
    """Return precision, recall and F1."""
    return ratio(n_correct, n_predicted), ratio(n_correct, n_true), ratio(2 * n_correct, n_predicted + n_true)


def ratio(part: int, whole: int) -> float:
    """Return `part` divided by `whole`, or 0 if `whole` is 0."""
    return part / whole if whole else 0.0
