"""How well words were tagged: entities as conlleval counts them, and single words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

Span = tuple[str, int, int]  # type, first and last word
ALIASES = {"L": "E", "U": "S", "M": "I"}  # of BILOU and BMES
KINDS = "BIES"
OUTSIDE = "O"


@cache
def parted(tag: str) -> tuple[str, str] | None:
    """B-PER -> (B, PER); O -> (O, ""); None for what marks no entity. The kinds are B, I, E (last), S (single)."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    kind, dash, of = tag.partition("-")
    kind = ALIASES.get(kind, kind)
    return (kind, of) if dash and of and kind and kind in KINDS else None


def entities(tags: Sequence[str]) -> list[Span]:
    """The entities in a sentence, as conlleval and seqeval's default mode find them: one begins at B or S, after E or
    S, and wherever the type is another than before; so I-PER after O begins one. Raises ValueError for a tag that
    `parted` doesn't know."""
    found: list[Span] = []
    before = OUTSIDE, ""
    for place, tag in enumerate(tags):
        now = parted(tag)
        if now is None:
            raise ValueError(f"{tag} marks no entity")
        kind, of = now
        if kind != OUTSIDE:
            begins = before[1] != of or kind in "BS" or before[0] in "ES"
            first = place if begins else found.pop()[1]
            found.append((of, first, place))
        before = now
    return found


@dataclass(frozen=True)
class TagScores:
    """Answers beside the truth. `counts` (S, 5) by sentence: spans found, answered, and there; words right, and all.

    A span is an entity, or where there are `entities` none, a word with its tag; `of` counts spans by their type.
    """

    counts: np.ndarray
    of: dict[str, tuple[int, int, int]]  # type -> found, answered, there
    entities: bool

    @classmethod
    def of_tags(cls, truth: Sequence[Sequence[str]], answers: Sequence[Sequence[str]], entities: bool) -> "TagScores":
        """Of the tags of each sentence."""
        counts = np.zeros((len(truth), 5), np.int64)
        found, answered, there = Counter[str](), Counter[str](), Counter[str]()
        for row, true, told in zip(counts, truth, answers, strict=True):
            real, guessed = (_spans(tags, entities) for tags in (true, told))
            both = real & guessed
            row[:] = len(both), len(guessed), len(real), sum(map(str.__eq__, true, told)), len(true)
            for counter, spans in ((found, both), (answered, guessed), (there, real)):
                counter.update(span[0] for span in spans)
        types = sorted(answered | there)
        return cls(counts, {name: (found[name], answered[name], there[name]) for name in types}, entities)

    def metrics(self, which: np.ndarray | None = None) -> dict[str, float]:
        """Shares in 0..1 over all sentences, or those by index; 0 where there is nothing to share."""
        counts = self.counts if which is None else self.counts[which]
        found, answered, there, right, words = counts.sum(0).tolist()
        accuracy = {"accuracy": share(right, words)}
        if not self.entities:
            return accuracy
        precision, recall, f1 = figures(found, answered, there)
        return {"entity_f1": f1, "entity_precision": precision, "entity_recall": recall} | accuracy

    def by_type(self) -> dict[str, tuple[float, float, float, int]]:
        """Type of entity, or tag -> precision, recall, F1 and how many there are"""
        return {name: (*figures(*counts), counts[2]) for name, counts in self.of.items()}


def _spans(tags: Sequence[str], are_entities: bool) -> set[Span]:
    return set(entities(tags)) if are_entities else {(tag, place, place) for place, tag in enumerate(tags)}


def figures(found: int, answered: int, there: int) -> tuple[float, float, float]:
    """Precision, recall, and F1"""
    return share(found, answered), share(found, there), share(2 * found, answered + there)


def share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
