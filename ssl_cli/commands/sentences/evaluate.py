"""What a model of sentences is worth: likelihood beside the decoder without a code, what the code holds, sentences."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ssl_cli.commands.reconstruct.evaluate import ACTIVE_NATS
from ssl_cli.commands.sentences.codec import SentenceCodec, interpolate
from ssl_cli.commands.sentences.prepare import TokenizedSentences
from ssl_cli.data.sentences.rows import SentenceRows
from ssl_cli.data.sentences.sources import TEST
from ssl_cli.data.sentences.words import sentence_words
from ssl_cli.evaluation.metrics.latents import active_units, mutual_information
from ssl_cli.methods.scoring import device_of
from ssl_cli.training.seeding import reseed

MAX_SENTENCES = 1000  # of the test split
ELBO_SAMPLES = 16
N_EXAMPLES, N_SAMPLES, N_LINES, STEPS = 20, 12, 4, 6  # reconstructions, samples, interpolations and their sentences


@dataclass(frozen=True)
class SentenceEvaluation:
    """Metrics of a run; pairs of sentences and what was rebuilt from their codes; samples of the prior; lines of
    sentences between two; and the mean KL divergence of each number of the code, in nats, (Z,)."""

    metrics: dict[str, float]
    rebuilt: list[tuple[str, str]] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    interpolations: list[list[str]] = field(default_factory=list)
    rates: np.ndarray = field(default_factory=lambda: np.zeros(0))


def evaluate(
    codec: SentenceCodec, baseline: SentenceCodec | None, sentences: TokenizedSentences, seed: int, samples: int
) -> SentenceEvaluation:
    """Measure a model on the test sentences, and write some with it. All random draws follow from the seed."""
    texts = sentences.splits[TEST].texts[:MAX_SENTENCES]
    rows = sentences.rows[TEST].take(np.arange(len(texts)))
    n_words = sum(len(sentence_words(text)) for text in texts) + len(texts)  # an end counts as a word
    if not codec.model.latent:
        return SentenceEvaluation({"test/lm_perplexity": perplexity(codec, rows, n_words, seed, 1)})
    mean, log_var = codec.posterior(rows)
    noise = np.random.default_rng([seed, 19]).standard_normal(mean.shape)
    rates = (0.5 * (np.square(mean) + np.exp(log_var) - 1 - log_var)).mean(0, dtype=np.float64)
    rebuilt = codec.decode(mean)
    metrics = {
        "elbo": drawn(codec, seed, lambda batch: codec.model.lower_bound(batch, ELBO_SAMPLES), rows) / len(texts),
        "iw_perplexity": perplexity(codec, rows, n_words, seed, samples),
        "kl": float(rates.sum()),
        "kl_active_dims": int((rates >= ACTIVE_NATS).sum()),
        "active_units": active_units(mean),
        "mutual_information": mutual_information(mean, log_var, noise),
        "word_accuracy": word_accuracy(texts, rebuilt),
        "other_word_accuracy": word_accuracy(texts, [*rebuilt[1:], rebuilt[0]]),
    }
    if baseline is not None:
        metrics["lm_perplexity"] = perplexity(baseline, rows, n_words, seed, 1)
    return SentenceEvaluation(
        {f"test/{name}": value for name, value in metrics.items()},
        list(zip(texts, rebuilt, strict=True))[:N_EXAMPLES],
        codec.decode(noise[:N_SAMPLES]),
        interpolations(codec, mean),
        rates,
    )


def perplexity(codec: SentenceCodec, rows: SentenceRows, n_words: int, seed: int, samples: int) -> float:
    """Return the importance-weighted perplexity per word, ends included: an upper bound that samples make tighter."""
    total = drawn(codec, seed, lambda batch: codec.model.log_likelihood(batch, samples), rows)
    return math.exp(-total / n_words)


def drawn(codec: SentenceCodec, seed: int, function: Callable[[dict[str, Any]], Tensor], rows: SentenceRows) -> float:
    """Return the sum of a function's values over rows, with draws that follow from the seed."""
    with torch.random.fork_rng():
        reseed(seed, 0, 0, device_of(codec.model))
        return codec.sum_of(function, rows)


def word_accuracy(texts: list[str], rebuilt: list[str]) -> float:
    """Return the share of the words of sentences that stand at the same place in what was rebuilt from their codes."""
    pairs = [(sentence_words(text), sentence_words(other)) for text, other in zip(texts, rebuilt, strict=True)]
    hits = sum(one == other for text, written in pairs for one, other in zip(text, written, strict=False))
    return hits / sum(len(text) for text, _ in pairs)


def interpolations(codec: SentenceCodec, mean: np.ndarray) -> list[list[str]]:
    """Return sentences on lines between the codes of the first test sentences, two by two."""
    ends = list(zip(mean[0::2], mean[1::2], strict=False))[:N_LINES]
    return [codec.decode(interpolate(first, last, STEPS)) for first, last in ends]
