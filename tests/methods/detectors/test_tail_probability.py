"""Tail probabilities of scores, and their harmonic mean, against naive formulas."""

import numpy as np
import pytest
import torch

from ssl_cli.methods.detectors.margins import Margins
from ssl_cli.methods.detectors.tail_probability import TailProbability, harmonic_mean


def test_the_body_is_counted_and_the_tail_is_exponential() -> None:
    scores = torch.from_numpy(np.random.default_rng(0).exponential(3.0, 2000))
    probability = TailProbability().fit(scores)
    at = torch.quantile(scores, torch.tensor([0.1, 0.5, 0.85], dtype=torch.float64))
    naive = -np.log([(scores >= value).float().mean() for value in at])
    np.testing.assert_allclose(probability(at).numpy(), naive, atol=0.02)
    far = probability(torch.tensor([30.0, 33.0])).numpy()
    np.testing.assert_allclose(far[1] - far[0], 3 / 3.0, rtol=0.2)  # an exponential of mean 3 has this slope
    np.testing.assert_allclose(far[0], 30 / 3.0, rtol=0.2)


def test_order_is_kept_also_beyond_all_reference_scores() -> None:
    scores = torch.randn(500, generator=torch.Generator().manual_seed(0))
    at = torch.linspace(-6, 60, 400)
    improbable = TailProbability().fit(scores)(at)
    assert (improbable.diff() >= 0).all()
    assert (improbable[at > scores.max()].diff() > 0).all()
    assert torch.isfinite(improbable).all()


def test_equal_reference_scores_give_finite_probabilities() -> None:
    probability = TailProbability().fit(torch.full((10,), 2.5))
    improbable = probability(torch.tensor([2.0, 2.5, 2.6]))
    assert torch.isfinite(improbable).all() and improbable[2] > improbable[1]
    again = TailProbability().load(probability.state())
    assert torch.equal(again(torch.tensor([2.0, 2.6])), improbable[[0, 2]])


def test_harmonic_mean_is_that_of_wilson() -> None:
    p = np.array([[0.5, 1e-6, 0.2], [0.01, 0.3, 0.2], [0.9, 0.9, 0.2]])  # three probabilities of three rows
    weights = np.array([4.0, 1.0, 1.0])
    naive = weights.sum() / (weights[:, None] / p).sum(0)
    mean = harmonic_mean([torch.from_numpy(-np.log(row)) for row in p], list(weights))
    np.testing.assert_allclose(mean.numpy(), -np.log(naive), rtol=1e-12)


@pytest.mark.parametrize("n", [4, 15, 30, 200])
def test_the_rarest_value_of_few_rows_is_no_proof(n: int) -> None:
    x = np.random.default_rng(0).normal(size=(n, 1)).astype(np.float32)
    margins = Margins()
    margins.fit(x, seed=0)
    new = torch.tensor([[x.max() + 1], [100.0]])  # both beyond all of the n rows, which is all that counting can say
    reference, terms = (
        [of.amax(1) for of in margins.rarity(*each)] for each in ((torch.from_numpy(x), True), (new, False))
    )
    for scores, of_new in zip(reference, terms, strict=True):
        assert (TailProbability().fit(scores)(of_new) < np.log(n + 1) + 2).all()


def test_a_row_far_out_is_above_one_that_is_only_beyond_all_others() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(15, 1)))
    margins = Margins()
    margins.fit(x.numpy().astype(np.float32), seed=0)
    tails = TailProbability().fit(margins.rarity(x.float(), left_out=True)[1].amax(1))
    joint = TailProbability().fit(x[:, 0].abs().log())
    new = torch.tensor([[3.0], [100.0]])
    beyond = tails(margins.rarity(new)[1].amax(1))
    score = harmonic_mean([joint(new[:, 0].log()), beyond], (4, 1))
    assert score[1] > score[0] + 1
