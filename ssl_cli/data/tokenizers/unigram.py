"""A unigram vocabulary (Kudo, arXiv 1804.10959), learned so that the same text always gives the same one.

The library's own trainer adds up in the order of a hash map, which is another in each process. Here the pieces that
byte pair encoding finds are the seed, the expectation is over the best segmentation alone (hard EM), and what it uses
least is pruned: whole counts throughout.
"""

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
import tokenizers
from tokenizers import models, trainers

SEEDS, LONGEST = 3, 16  # times as many pieces to begin with; characters of a piece
SHRINK, ROUNDS = 0.6, 2  # share of the pieces that each pruning leaves, and EM steps before it
WORDS, CHARACTERS = 1 << 18, 1 << 21  # the most frequent words, so many at most, which counts are over


def learn_pieces(
    texts: Iterable[str], empty: tokenizers.Tokenizer, specials: list[str], unk: int, size: int
) -> models.Unigram:
    """The model whose vocabulary is `specials`, then at most `size` pieces; `empty` normalises and cuts the texts.

    All single characters stay, so that no more of them may be in the texts than `size`.
    """
    counted: Counter[str] = Counter()
    kept = _counting(texts, counted)
    trainer = trainers.BpeTrainer(
        vocab_size=SEEDS * size, min_frequency=2, max_token_length=LONGEST, show_progress=False
    )
    seeds = tokenizers.Tokenizer.from_str(empty.to_str())
    seeds.train_from_iterator(kept, trainer)
    pieces = [piece for piece, _ in sorted(seeds.get_vocab().items(), key=lambda item: item[1])]
    ranked = sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:WORDS]
    n_words = 1 + int(np.searchsorted(np.cumsum([len(word) for word, _ in ranked]), CHARACTERS))
    words, times = [word for word, _ in ranked[:n_words]], np.array([count for _, count in ranked[:n_words]])
    used = _used(seeds, words, times)
    while True:
        for _ in range(ROUNDS):
            model = _model(pieces, used, specials, unk)
            empty.model = model
            used = _used(empty, words, times)[len(specials) :]
        if len(pieces) <= size:
            return _model(pieces, used, specials, unk)
        is_long = np.array([len(piece) > 1 for piece in pieces])
        order = np.lexsort((np.arange(len(pieces)), -used, is_long))  # characters first, then the most used
        keep = np.sort(order[: max(size, int(SHRINK * len(pieces)))])
        pieces, used = [pieces[place] for place in keep], used[keep]


def _counting(texts: Iterable[str], counted: Counter[str]) -> Iterable[str]:
    """The texts as they come; their words are counted on the way."""
    for text in texts:
        counted.update(text.split())
        yield text


def _used(by: tokenizers.Tokenizer, words: list[str], times: np.ndarray) -> np.ndarray:
    """(V,) how often each piece is used when the words are encoded"""
    used = np.zeros(by.get_vocab_size(), np.int64)
    for start in range(0, len(words), 1 << 14):
        found = by.encode_batch_fast(words[start : start + (1 << 14)], add_special_tokens=False)
        for one, count in zip(found, times[start : start + (1 << 14)].tolist(), strict=True):
            for piece in one.ids:
                used[piece] += count
    return used


def _model(pieces: list[str], used: np.ndarray, specials: list[str], unk: int) -> models.Unigram:
    total = math.log(max(1, int(used.sum())))
    # Rounded, so that no library's logarithm shows; what was never used scores as if it had been half a time.
    scores = [round(math.log(max(0.5, count)) - total, 4) for count in used.tolist()]
    vocabulary = [(name, 0.0) for name in specials] + list(zip(pieces, scores, strict=True))
    return models.Unigram(vocabulary, unk_id=unk, byte_fallback=False)
