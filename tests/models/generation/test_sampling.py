"""Sampling equals transformers', and tokens are drawn as often as their probabilities say."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_cli.models.generation import sampling
from ssl_cli.models.generation.sampling import Sampling, apply_repetition_penalty, sample_index, top_candidates

LOGITS = torch.tensor([[0.0, 3.0, 1.0, 2.0, -1.0], [2.0, 2.5, -4.0, 0.5, 1.0]])


def shares(logits: Tensor, **options: Any) -> Tensor:
    """Return the share of each token, (B, V), over evenly spaced draws."""
    n = 20_000
    counts = torch.zeros_like(logits)
    for row, row_logits in enumerate(logits):
        u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        chosen = Sampling(**options).choose(row_logits.expand(n, -1), None, u)
        counts[row] = chosen.bincount(minlength=logits.shape[1]) / n
    return counts


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"temperature": 0.5},
        {"top_k": 2},
        {"top_k": 99},
        {"top_p": 0.6},
        {"top_p": 1.0},
        {"top_p": 0.01},
        {"min_p": 0.2},
        {"min_p": 1.0},
        {"temperature": 2.0, "top_k": 4, "top_p": 0.8, "min_p": 0.3},
    ],
)
def test_the_shares_are_those_of_transformers(options: dict[str, Any]) -> None:
    warpers = pytest.importorskip("transformers").generation.logits_process
    processors = {
        "temperature": warpers.TemperatureLogitsWarper,
        "top_k": warpers.TopKLogitsWarper,
        "top_p": warpers.TopPLogitsWarper,
        "min_p": warpers.MinPLogitsWarper,
    }
    logits = LOGITS.clone()
    for name, value in options.items():
        logits = processors[name](value)(torch.zeros(2, 1, dtype=torch.long), logits)
    torch.testing.assert_close(shares(LOGITS, **options), logits.softmax(-1), atol=2e-4, rtol=0)


def test_a_penalty_is_that_of_transformers() -> None:
    process = pytest.importorskip("transformers").generation.logits_process.RepetitionPenaltyLogitsProcessor(1.5)
    ids = torch.tensor([[1, 4, 4], [0, 2, 2]])
    seen = torch.zeros(2, 5, dtype=torch.bool).scatter_(1, ids, True)
    torch.testing.assert_close(apply_repetition_penalty(LOGITS, seen, 1.5), process(ids, LOGITS))


def test_a_penalty_may_change_what_is_likeliest() -> None:
    seen = torch.tensor([[False, True, False, False, False]] * 2)
    u = torch.zeros(2)
    assert Sampling(temperature=0).choose(LOGITS, seen, u).tolist() == [1, 1]
    assert Sampling(temperature=0, repetition_penalty=2.0).choose(LOGITS, seen, u).tolist() == [3, 0]


def test_zero_and_tiny_temperature_choose_the_likeliest_token() -> None:
    u = torch.tensor([0.999, 0.001])
    for temperature in (0.0, 1e-12):
        assert Sampling(temperature).choose(LOGITS * 100, None, u).tolist() == [1, 1]


def test_a_token_with_zero_probability_is_never_drawn() -> None:
    """Also at the ends of the unit interval, where it would be the first or the last."""
    logits = torch.tensor([[-torch.inf, 0.0, 0.0, -torch.inf]]).expand(2, -1)
    assert sample_index(logits, torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)).tolist() == [1, 2]


def test_top_p_of_a_large_vocabulary_equals_that_of_a_small_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """top_p examines the likeliest few tokens first, and all tokens if those do not suffice."""
    logits = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    whole = [top_candidates(logits, None, p)[0].isfinite().sum(1) for p in (0.3, 0.97)]
    monkeypatch.setattr(sampling, "TOP_P_CANDIDATES", 12)
    for p, wanted in zip((0.3, 0.97), whole, strict=True):
        values, ids = top_candidates(logits, None, p)
        assert values.isfinite().sum(1).tolist() == wanted.tolist()
        torch.testing.assert_close(values.exp(), torch.where(values.isfinite(), logits.gather(1, ids).exp(), 0.0))
    assert (whole[0] < 12).all() and (whole[1] > 12).all()


def test_a_row_is_sampled_independently_of_the_others() -> None:
    logits = torch.randn(16, 1000, generator=torch.Generator().manual_seed(0)) * 4
    u = torch.rand(16, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for options in ({}, {"top_k": 50}, {"top_p": 0.9}, {"min_p": 0.1}):
        chosen = Sampling(**options).choose(logits, None, u)
        alone = [int(Sampling(**options).choose(logits[k : k + 1], None, u[k : k + 1])) for k in range(16)]
        assert chosen.tolist() == alone


def test_equal_probabilities_are_drawn_equally_often() -> None:
    u = torch.rand(4000, generator=torch.Generator().manual_seed(0))
    counts = sample_index(torch.zeros(4000, 4), u).bincount(minlength=4)
    assert (counts - 1000).abs().max() < 5 * math.sqrt(4000 * 0.25 * 0.75)
