"""Losses of projections of two views, each against a naive transcription of its paper."""

import cmath
import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ssl_cli.methods.contrastive.losses import NTXent, SIGRegLoss

B, D = 6, 5


@pytest.fixture
def z() -> Tensor:
    torch.manual_seed(0)
    first = torch.randn(B, D)
    return torch.stack([first, 0.7 * first + 0.5 * torch.randn(B, D) + 0.3])


def cosine(a: Tensor, b: Tensor) -> float:
    return float(a @ b / (a.norm() * b.norm()))


def test_nt_xent_is_the_formula(z: Tensor) -> None:
    losses, rows = NTXent(temperature=0.3)(z), [*z[0], *z[1]]
    total, n_nearest = 0.0, 0
    for i, row in enumerate(rows):
        other = (i + B) % (2 * B)
        similarity = {k: cosine(row, rows[k]) for k in range(2 * B) if k != i}
        among = sum(math.exp(value / 0.3) for value in similarity.values())
        total -= math.log(math.exp(similarity[other] / 0.3) / among)
        n_nearest += max(similarity, key=lambda k: similarity[k]) == other
    assert float(losses["loss"]) == pytest.approx(total / (2 * B), rel=1e-5)
    assert float(losses["pair_accuracy"]) == pytest.approx(n_nearest / (2 * B))


@pytest.mark.parametrize("temperature", [0.1, 0.5, 2.0])
def test_nt_xent_has_its_floor_where_views_agree_and_images_are_orthogonal(temperature: float) -> None:
    z = 3 * torch.eye(D).expand(2, -1, -1)
    floor = math.log(1 + (2 * D - 2) * math.exp(-1 / temperature))
    assert float(NTXent(temperature)(z)["loss"]) == pytest.approx(floor, rel=1e-4, abs=1e-6)


def test_sigreg_is_the_integral_over_both_sides_of_zero() -> None:
    torch.manual_seed(0)
    z = torch.randn(3, B, D) + 0.4
    torch.manual_seed(1)
    losses = SIGRegLoss(gaussian_weight=0.1, directions=4, knots=9, max_t=2.0)(z)
    torch.manual_seed(1)
    directions = functional.normalize(torch.randn(D, 4), dim=0)
    places = [k * 2.0 / 8 for k in range(-8, 9)]
    gaussian = invariance = 0.0
    for view in z:
        for direction in directions.T:
            values = []
            for t in places:
                empirical = sum(cmath.exp(1j * t * float(row @ direction)) for row in view) / B
                values.append(abs(empirical - math.exp(-t * t / 2)) ** 2 * math.exp(-t * t / 2))
            trapezia = [0.25 * (a + b) / 2 for a, b in pairwise(values)]
            gaussian += B * sum(trapezia) / (3 * 4)
    for b in range(B):
        for d in range(D):
            mean = sum(float(view[b, d]) for view in z) / 3
            invariance += sum((float(view[b, d]) - mean) ** 2 for view in z) / (3 * B * D)
    assert float(losses["gaussian"]) == pytest.approx(gaussian, rel=1e-4)
    assert float(losses["invariance"]) == pytest.approx(invariance, rel=1e-4)
    assert float(losses["loss"]) == pytest.approx(0.9 * invariance + 0.1 * gaussian, rel=1e-4)


def test_a_standard_gaussian_is_nearer_to_one_than_a_point_or_a_wide_one() -> None:
    torch.manual_seed(0)
    z = torch.randn(1, 2000, D)
    distance = {scale: float(SIGRegLoss(1.0)(scale * z)["loss"]) for scale in (0.0, 1.0, 3.0)}
    assert distance[1.0] < 3 and min(distance[0.0], distance[3.0]) > 100
