"""Deterministic training of a unigram vocabulary (Kudo, arXiv 1804.10959).

The library's own trainer sums in the order of a hash map, which varies between processes. Here the initial pieces are
those of byte pair encoding, the E step uses only the best segmentation (hard EM), and the least used pieces are
pruned: all counts are integers.
"""

import math
from collections import Counter
from collections.abc import Iterable

import numpy as np
import tokenizers
from tokenizers import models, trainers

SEED_FACTOR = 3  # initial pieces, as a multiple of the vocabulary size
MAX_PIECE_CHARS = 16
KEEP_SHARE, EM_STEPS = 0.6, 2  # share of the pieces that each pruning keeps, and EM steps before it
MAX_WORDS, MAX_TOTAL_CHARS = 1 << 18, 1 << 21  # the counts are over the most frequent words, up to these limits
ENCODE_BATCH_WORDS = 1 << 14


def learn_unigram(
    texts: Iterable[str], empty: tokenizers.Tokenizer, specials: list[str], unk: int, size: int
) -> models.Unigram:
    """Return the model whose vocabulary is `specials` and then at most `size` pieces.

    `empty` normalizes and splits the texts. Single characters are never pruned, so the texts must not have more
    distinct ones than `size`.
    """
    word_counts: Counter[str] = Counter()
    counted_texts = _count_words(texts, word_counts)
    trainer = trainers.BpeTrainer(
        vocab_size=SEED_FACTOR * size, min_frequency=2, max_token_length=MAX_PIECE_CHARS, show_progress=False
    )
    seeds = tokenizers.Tokenizer.from_str(empty.to_str())
    seeds.train_from_iterator(counted_texts, trainer)
    pieces = [piece for piece, _ in sorted(seeds.get_vocab().items(), key=lambda item: item[1])]
    words, counts = _frequent_words(word_counts)
    used = _count_pieces(seeds, words, counts)
    while True:
        for _ in range(EM_STEPS):
            model = _build_model(pieces, used, specials, unk)
            empty.model = model
            used = _count_pieces(empty, words, counts)[len(specials) :]
        if len(pieces) <= size:
            return _build_model(pieces, used, specials, unk)
        is_long = np.array([len(piece) > 1 for piece in pieces])
        order = np.lexsort((np.arange(len(pieces)), -used, is_long))  # characters first, then the most used
        keep = np.sort(order[: max(size, int(KEEP_SHARE * len(pieces)))])
        pieces, used = [pieces[index] for index in keep], used[keep]


def _count_words(texts: Iterable[str], word_counts: Counter[str]) -> Iterable[str]:
    """Yield the texts and count their words on the way."""
    for text in texts:
        word_counts.update(text.split())
        yield text


def _frequent_words(word_counts: Counter[str]) -> tuple[list[str], np.ndarray]:
    """Return the most frequent words and their counts, (W,), up to the limits."""
    ranked = sorted(word_counts.items(), key=lambda item: (-item[1], item[0]))[:MAX_WORDS]
    n_words = 1 + int(np.searchsorted(np.cumsum([len(word) for word, _ in ranked]), MAX_TOTAL_CHARS))
    return [word for word, _ in ranked[:n_words]], np.array([count for _, count in ranked[:n_words]])


def _count_pieces(tokenizer: tokenizers.Tokenizer, words: list[str], counts: np.ndarray) -> np.ndarray:
    """Return how often each piece is used when the words are encoded, (V,)."""
    used = np.zeros(tokenizer.get_vocab_size(), np.int64)
    for start in range(0, len(words), ENCODE_BATCH_WORDS):
        stop = start + ENCODE_BATCH_WORDS
        encodings = tokenizer.encode_batch_fast(words[start:stop], add_special_tokens=False)
        for encoding, count in zip(encodings, counts[start:stop].tolist(), strict=True):
            for piece in encoding.ids:
                used[piece] += count
    return used


def _build_model(pieces: list[str], used: np.ndarray, specials: list[str], unk: int) -> models.Unigram:
    total = math.log(max(1, int(used.sum())))
    # Rounded, so that differences between math libraries vanish; unused pieces score as if used half a time.
    scores = [round(math.log(max(0.5, count)) - total, 4) for count in used.tolist()]
    vocabulary = [(name, 0.0) for name in specials] + list(zip(pieces, scores, strict=True))
    return models.Unigram(vocabulary, unk_id=unk, byte_fallback=False)
