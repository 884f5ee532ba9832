"""The ways in which tags mark entities: IOB1, BIO and BIOES; each read as BIO."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal

from ssl_cli.data.labelled.conll import Sentence, TaggedSentences
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.token_classification import OUTSIDE, entities, parted

Scheme = Literal["auto", "iob1", "bio", "bioes", "none"]
MARKING = ("bio", "iob1", "bioes")  # that which is broken least is meant; the first of those that are equal


def breaks(before: str, tag: str, scheme: str) -> bool:
    """Whether a tag can't follow the one before it. BIO: each entity begins with B; IOB1: only one that follows another
    of its type at once; BIOES: with B or, alone, S, and ends with E."""
    (kind_before, of_before), (kind, of) = parted(before) or (OUTSIDE, ""), parted(tag) or (OUTSIDE, "")
    is_open = kind_before in "BI"
    goes_on = is_open and of_before == of
    if scheme == "bioes":
        return not goes_on if kind in "IE" else is_open
    return kind in "ES" or (kind == {"bio": "I", "iob1": "B"}[scheme] and not goes_on)


def broken(sentences: TaggedSentences, scheme: str) -> list[tuple[Sentence, int]]:
    """Where the tags break a scheme: before which word of which sentence, or at its end."""
    found = []
    for sentence in sentences:
        tags = (OUTSIDE, *(sentence.tags or ()), OUTSIDE)
        found += [
            (sentence, place) for place, (before, tag) in enumerate(pairwise(tags)) if breaks(before, tag, scheme)
        ]
    return found


def scheme_of(sentences: TaggedSentences) -> str:
    """Which scheme a file's tags are in. Raises InputError, as `refuse_others` does."""
    refuse_others(sentences)
    return min(MARKING, key=lambda scheme: len(broken(sentences, scheme)))


def as_bio(sentences: TaggedSentences, scheme: str) -> TaggedSentences:
    """The same in BIO, its entities as conlleval finds them; tags that break their scheme are counted and told.

    Raises InputError, with file and line, for a tag that marks no entity.
    """
    refuse_others(sentences)
    listed = [
        one if one.tags is None else replace(one, tags=bio(entities(one.tags), len(one.words))) for one in sentences
    ]
    if not (faults := broken(sentences, scheme)):
        return replace(sentences, listed=listed)
    sentence, place = faults[0]
    tags = ("the sentence's start", *(sentence.tags or ()), "the sentence's end")
    told = (
        f"{len(faults):,} tag(s) break {scheme.upper()}, and are read as conlleval does; the first: "
        f"{sentences.place(sentence, min(place, len(sentence.words) - 1))}, {tags[place + 1]} after {tags[place]}."
    )
    return replace(sentences, listed=listed, warnings=(*sentences.warnings, told))


def bio(spans: Sequence[tuple[str, int, int]], length: int) -> tuple[str, ...]:
    tags = [OUTSIDE] * length
    for of, first, last in spans:
        tags[first : last + 1] = [f"B-{of}", *[f"I-{of}"] * (last - first)]
    return tuple(tags)


def refuse_others(sentences: TaggedSentences) -> None:
    for sentence in sentences:
        for place, tag in enumerate(sentence.tags or ()):
            if parted(tag) is None:
                raise InputError(
                    f"{sentences.place(sentence, place)}: the tag {tag!r} marks no entity, as O, B-PER and I-PER do; "
                    "say which column holds the tags by task.tag, or task=pos for tags of another kind."
                )
