"""Examples -> framed tokens: one sequence each, or with options one for each of them."""

from collections.abc import Sequence
from itertools import chain

import numpy as np

from ssl_cli.data.example_rows import Sequences
from ssl_cli.data.framing import Frame
from ssl_cli.data.tokenizer import Tokenizer
from ssl_cli.tasks.examples import Example

Ids = list[int]


def sequences(examples: Sequence[Example], frame: Frame, blank: str | None) -> tuple[Sequences, np.ndarray]:
    """All sequences of all examples, in order, and (E,) bool: something of the example was cut off.

    An option is the second text (arXiv 1810.04805, sec. 4.4); or with a `blank` it stands there, in one text.
    """
    asked = [_texts(example, blank) for example in examples]
    ids_of = _encoded(frame.tokenizer, chain.from_iterable(chain.from_iterable(asked)))
    framed, is_cut = [], np.zeros(len(examples), bool)
    for number, sequence in ((number, one) for number, several in enumerate(asked) for one in several):
        parts = [ids_of[text] for text in sequence]
        if len(parts) == 3:
            whole = sum(map(len, parts))
            parts = [around(parts[0], parts[1], parts[2], frame.room(pair=False))]
            is_cut[number] |= whole > len(parts[0])
        is_cut[number] |= frame.cuts(*parts)
        framed.append(frame.joined(*parts))
    return _packed(framed), is_cut


def _texts(example: Example, blank: str | None) -> list[tuple[str, ...]]:
    """Of each of its sequences: a text, two, or what stands before an option, the option, and what follows"""
    if example.options is None:
        return [(example.text,) if example.pair is None else (example.text, example.pair)]
    if blank is None:
        first = example.text if example.pair is None else f"{example.text} {example.pair}"
        return [(first, option) for option in example.options]
    before, _, after = example.text.partition(blank)
    return [(before, option, after) for option in example.options]


def _encoded(tokenizer: Tokenizer, texts: chain[str]) -> dict[str, Ids]:
    """Each text once, however often it stands there: MNLI has each premise three times."""
    distinct = list(dict.fromkeys(texts))
    found = tokenizer.library.encode_batch_fast(distinct, add_special_tokens=False)
    return {text: encoding.ids for text, encoding in zip(distinct, found, strict=True)}


def around(before: Ids, option: Ids, after: Ids, room: int) -> Ids:
    """What fits of a text with the option in the middle, which is kept."""
    left = max(room - len(option), 0)
    n_before = min(len(before), max(left // 2, left - len(after)))
    return [*before[len(before) - n_before :], *option[:room], *after[: left - n_before]]


def _packed(framed: list[tuple[Ids, int]]) -> Sequences:
    length = np.array([len(ids) for ids, _ in framed], np.int64)  # (S,)
    start = np.array([start for _, start in framed], np.int64)  # (S,) of the second text
    ids = np.fromiter(chain.from_iterable(ids for ids, _ in framed), np.int64, int(length.sum()))  # (N,)
    along = np.arange(len(ids)) - np.repeat(np.cumsum(length) - length, length)
    return Sequences(length, {"ids": ids, "segment": (along >= np.repeat(start, length)).astype(np.int64)})
