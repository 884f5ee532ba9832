"""Phrases for a gap, against every phrase that there is."""

from itertools import product

import pytest
import torch
from torch import nn

from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.generation.packed_weights import Seq2SeqInferenceModel
from ssl_cli.models.generation.phrases import Gap, likeliest_phrases

V, END, SOURCE, BEFORE = 12, 0, [3, 4, 1, 5], [0, 3, 4]
WORDS = range(2, V)


@pytest.fixture(scope="module")
def network() -> EncoderDecoder:
    torch.manual_seed(0)
    made = EncoderDecoder(V, context=12, layers=1, width=16, heads=2, dropout=0.0)
    for weight in made.parameters():
        nn.init.normal_(weight, std=0.3) if weight.dim() > 1 else None
    return made.eval()


def log_probability(network: EncoderDecoder, gap: Gap, phrase: tuple[int, ...]) -> float:
    """Return the log-probability that a phrase is written, then any closer, and after the first one what follows."""
    ids = [*gap.before, *phrase, *gap.closers[:1], *gap.after]
    with torch.inference_mode():
        log_p = network.logits(network(torch.tensor([SOURCE]), torch.tensor([ids])))[0].log_softmax(-1)  # (T, V)
    place = len(gap.before) - 1  # that predicts the first token of the phrase
    total = sum(float(log_p[place + k, token]) for k, token in enumerate(phrase))
    place += len(phrase)
    total += float(log_p[place, gap.closers].logsumexp(0)) if gap.closers else 0.0
    return total + sum(float(log_p[place + 1 + k, token]) for k, token in enumerate(gap.after))


@pytest.mark.parametrize(
    ("closers", "after", "lengths"),
    [([END, 1], [], (0, 2)), ([5], [6, END], (0, 2)), ([5], [6, END], (1, 1)), ([], [], (2, 2)), ([END], [], (0, 1))],
    ids=["sentinels", "text", "text, one token", "fragment", "the end"],
)
def test_the_likeliest_of_all_phrases_are_found(
    network: EncoderDecoder, closers: list[int], after: list[int], lengths: tuple[int, int]
) -> None:
    gap = Gap(BEFORE, closers, after, [END, 1, 7], *lengths)
    words = [token for token in WORDS if token != 7]
    every = {
        phrase: log_probability(network, gap, phrase)
        for length in range(lengths[0], lengths[1] + 1)
        for phrase in product(words, repeat=length)
    }
    found = likeliest_phrases(Seq2SeqInferenceModel(network, "32-true"), SOURCE, gap, n=3)
    best = sorted(every, key=lambda phrase: -every[phrase])[:3]
    assert [tuple(phrase.tokens) for phrase in found[:3]] == best
    for phrase in found:
        assert phrase.log_probability == pytest.approx(every[tuple(phrase.tokens)], abs=1e-4)
