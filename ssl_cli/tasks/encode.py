"""Tokenization of labelled examples: one token sequence per example, or one per option."""

from array import array
from collections.abc import Iterable, Sequence

import numpy as np

from ssl_cli.data.labelled.packed_examples import TokenizedSequences
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.tasks.examples import LabelledExample

Ids = list[int]
ENCODE_BATCH = 4096  # texts a batch: the tokenizer's output takes many times the memory of their ids


def encode_examples(
    examples: Sequence[LabelledExample], template: SequenceTemplate, blank: str | None
) -> tuple[TokenizedSequences, np.ndarray]:
    """Return the sequences of all examples, in order, and (E,) bool: whether part of the example was cut off.

    An option is the second text (arXiv 1810.04805, sec. 4.4). With a `blank`, it replaces the blank in a single text.
    """
    texts = (text for example in examples for parts in _sequence_texts(example, blank) for text in parts)
    ids_of = encode_distinct(template.tokenizer, texts)
    ids, length, second_start, is_cut = array("i"), list[int](), list[int](), np.zeros(len(examples), bool)
    for k, parts in ((k, parts) for k, example in enumerate(examples) for parts in _sequence_texts(example, blank)):
        part_ids = [ids_of[text].tolist() for text in parts]
        if len(part_ids) == 3:
            n_tokens = sum(map(len, part_ids))
            part_ids = [fit_around(part_ids[0], part_ids[1], part_ids[2], template.max_text_tokens(pair=False))]
            is_cut[k] |= n_tokens > len(part_ids[0])
        is_cut[k] |= template.truncates(*part_ids)
        sequence, start = template.encode(*part_ids)
        ids.extend(sequence)
        length.append(len(sequence))
        second_start.append(start)
    return _packed(np.array(ids, np.int32), np.array(length, np.int64), np.array(second_start, np.int64)), is_cut


def _sequence_texts(example: LabelledExample, blank: str | None) -> list[tuple[str, ...]]:
    """Return the texts of each sequence: one, a pair, or the text before the blank, the option, and the text after."""
    if example.options is None:
        return [(example.text,) if example.pair is None else (example.text, example.pair)]
    if blank is None:
        first = example.text if example.pair is None else f"{example.text} {example.pair}"
        return [(first, option) for option in example.options]
    before, _, after = example.text.partition(blank)
    return [(before, option, after) for option in example.options]


def encode_distinct(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Encode each distinct text once: MNLI has each premise three times."""
    distinct, ids_of = list(dict.fromkeys(texts)), dict[str, np.ndarray]()
    for first in range(0, len(distinct), ENCODE_BATCH):
        batch = distinct[first : first + ENCODE_BATCH]
        encodings = tokenizer.library.encode_batch_fast(batch, add_special_tokens=False)
        ids_of |= ((text, np.array(encoding.ids, np.int32)) for text, encoding in zip(batch, encodings, strict=True))
    return ids_of


def fit_around(before: Ids, option: Ids, after: Ids, room: int) -> Ids:
    """Return at most `room` tokens of a text: the whole option if it fits, and the tokens nearest to it."""
    left = max(room - len(option), 0)
    n_before = min(len(before), max(left // 2, left - len(after)))
    return [*before[len(before) - n_before :], *option[:room], *after[: left - n_before]]


def _packed(ids: np.ndarray, length: np.ndarray, second_start: np.ndarray) -> TokenizedSequences:
    """(N,) tokens, (S,) lengths, and (S,) start of the second text in each sequence -> sequences with segment ids."""
    steps = np.stack([second_start, length - second_start], 1).ravel()  # (2 S,)
    segment = np.repeat(np.tile(np.array([0, 1], np.int8), len(second_start)), steps)  # (N,)
    return TokenizedSequences(length, {"ids": ids, "segment": segment})
