"""Examples -> framed tokens: one sequence each, or with options one for each of them."""

from array import array
from collections.abc import Iterable, Sequence

import numpy as np

from ssl_cli.data.labelled.packed_examples import TokenizedSequences
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.tasks.examples import LabelledExample

Ids = list[int]
AT_ONCE = 4096  # texts that are encoded together: what the tokenizer gives takes many times their tokens' room


def sequences(
    examples: Sequence[LabelledExample], frame: SequenceTemplate, blank: str | None
) -> tuple[TokenizedSequences, np.ndarray]:
    """All sequences of all examples, in order, and (E,) bool: something of the example was cut off.

    An option is the second text (arXiv 1810.04805, sec. 4.4); or with a `blank` it stands there, in one text.
    """
    asked = (text for example in examples for parts in _texts(example, blank) for text in parts)
    ids_of = _encoded(frame.tokenizer, asked)
    ids, length, start, is_cut = array("i"), list[int](), list[int](), np.zeros(len(examples), bool)
    for number, sequence in ((k, one) for k, example in enumerate(examples) for one in _texts(example, blank)):
        parts = [ids_of[text].tolist() for text in sequence]
        if len(parts) == 3:
            whole = sum(map(len, parts))
            parts = [around(parts[0], parts[1], parts[2], frame.room(pair=False))]
            is_cut[number] |= whole > len(parts[0])
        is_cut[number] |= frame.truncates(*parts)
        framed, second = frame.encode(*parts)
        ids.extend(framed)
        length.append(len(framed))
        start.append(second)
    return _packed(np.array(ids, np.int32), np.array(length, np.int64), np.array(start, np.int64)), is_cut


def _texts(example: LabelledExample, blank: str | None) -> list[tuple[str, ...]]:
    """Of each of its sequences: a text, two, or what stands before an option, the option, and what follows"""
    if example.options is None:
        return [(example.text,) if example.pair is None else (example.text, example.pair)]
    if blank is None:
        first = example.text if example.pair is None else f"{example.text} {example.pair}"
        return [(first, option) for option in example.options]
    before, _, after = example.text.partition(blank)
    return [(before, option, after) for option in example.options]


def _encoded(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Each text once, however often it stands there: MNLI has each premise three times."""
    distinct, found = list(dict.fromkeys(texts)), dict[str, np.ndarray]()
    for first in range(0, len(distinct), AT_ONCE):
        some = distinct[first : first + AT_ONCE]
        encodings = tokenizer.library.encode_batch_fast(some, add_special_tokens=False)
        found |= ((text, np.array(encoding.ids, np.int32)) for text, encoding in zip(some, encodings, strict=True))
    return found


def around(before: Ids, option: Ids, after: Ids, room: int) -> Ids:
    """What fits of a text with the option in the middle, which is kept."""
    left = max(room - len(option), 0)
    n_before = min(len(before), max(left // 2, left - len(after)))
    return [*before[len(before) - n_before :], *option[:room], *after[: left - n_before]]


def _packed(ids: np.ndarray, length: np.ndarray, start: np.ndarray) -> TokenizedSequences:
    """(N,) tokens, (S,) lengths, and (S,) where in each the second text begins"""
    steps = np.stack([start, length - start], 1).ravel()  # (2 S,)
    segment = np.repeat(np.tile(np.array([0, 1], np.int8), len(start)), steps)  # (N,)
    return TokenizedSequences(length, {"ids": ids, "segment": segment})
