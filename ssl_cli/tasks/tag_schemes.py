"""Schemes by which tags mark entities (IOB1, BIO and BIOES), and their conversion to BIO."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Literal

from ssl_cli.data.labelled.conll import Sentence, TaggedSentences
from ssl_cli.errors import InputError
from ssl_cli.evaluation.metrics.token_classification import OUTSIDE, entities, parse_tag

Scheme = Literal["auto", "iob1", "bio", "bioes", "none"]
ENTITY_SCHEMES = ("bio", "iob1", "bioes")  # auto takes the one with the fewest violations, the first of equal ones


def is_violation(before: str, tag: str, scheme: str) -> bool:
    """Return whether a tag can't follow the one before it.

    In BIO each entity begins with B; in IOB1 only one that directly follows another of its type; in BIOES an entity
    begins with B and ends with E, or is a single S.
    """
    (prefix_before, type_before), (prefix, type) = parse_tag(before) or (OUTSIDE, ""), parse_tag(tag) or (OUTSIDE, "")
    is_open = prefix_before in "BI"
    continues = is_open and type_before == type
    if scheme == "bioes":
        return not continues if prefix in "IE" else is_open
    return prefix in "ES" or (prefix == {"bio": "I", "iob1": "B"}[scheme] and not continues)


def violations(sentences: TaggedSentences, scheme: str) -> list[tuple[Sentence, int]]:
    """Return where the tags violate a scheme: the sentence, and the index of the word (its length: at its end)."""
    found = []
    for sentence in sentences:
        tags = (OUTSIDE, *(sentence.tags or ()), OUTSIDE)
        found += [(sentence, k) for k, (before, tag) in enumerate(pairwise(tags)) if is_violation(before, tag, scheme)]
    return found


def detect_scheme(sentences: TaggedSentences) -> str:
    """Return the scheme of the tags. Raises InputError, as `check_entity_tags` does."""
    check_entity_tags(sentences)
    return min(ENTITY_SCHEMES, key=lambda scheme: len(violations(sentences, scheme)))


def to_bio(sentences: TaggedSentences, scheme: str) -> TaggedSentences:
    """Return the sentences in BIO, with the entities that conlleval finds; violations of the scheme add a warning.

    Raises InputError, with file and line, for a tag that marks no entity.
    """
    check_entity_tags(sentences)
    converted = [
        sentence
        if sentence.tags is None
        else replace(sentence, tags=bio_tags(entities(sentence.tags), len(sentence.words)))
        for sentence in sentences
    ]
    if not (found := violations(sentences, scheme)):
        return replace(sentences, sentences=converted)
    sentence, k = found[0]
    tags = ("the sentence's start", *(sentence.tags or ()), "the sentence's end")
    warning = (
        f"{len(found):,} tag(s) violate {scheme.upper()}, and are read as conlleval does; the first: "
        f"{sentences.place(sentence, min(k, len(sentence.words) - 1))}, {tags[k + 1]} after {tags[k]}."
    )
    return replace(sentences, sentences=converted, warnings=(*sentences.warnings, warning))


def bio_tags(spans: Sequence[tuple[str, int, int]], length: int) -> tuple[str, ...]:
    """Return the BIO tags of `length` words with these entities: type, first and last word."""
    tags = [OUTSIDE] * length
    for type, first, last in spans:
        tags[first : last + 1] = [f"B-{type}", *[f"I-{type}"] * (last - first)]
    return tuple(tags)


def check_entity_tags(sentences: TaggedSentences) -> None:
    """Raise InputError, with file and line, if a tag marks no entity."""
    for sentence in sentences:
        for k, tag in enumerate(sentence.tags or ()):
            if parse_tag(tag) is None:
                raise InputError(
                    f"{sentences.place(sentence, k)}: the tag {tag!r} marks no entity, as O, B-PER and I-PER do; set "
                    "task.tag to the column with the tags, or task=pos for tags of another kind."
                )
