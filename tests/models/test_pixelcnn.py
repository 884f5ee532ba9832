"""PixelCNN: the logits of a position depend neither on its own code nor on later ones."""

import math

import pytest
import torch
from torch.nn import functional

from ssl_cli.models.pixelcnn import PixelCNN

GRID = (4, 5)
PLACES = GRID[0] * GRID[1]


@pytest.fixture
def prior() -> PixelCNN:
    torch.manual_seed(0)
    return PixelCNN(num_codes=6, grid=GRID, width=8, layers=3).requires_grad_(False)


def test_a_code_changes_only_the_logits_of_later_positions(prior: PixelCNN) -> None:
    codes = torch.randint(6, (1, *GRID))
    before = prior.logits(codes).flatten(2)  # (1, K, places)
    reached = torch.zeros(PLACES, PLACES, dtype=torch.bool)
    for place in range(PLACES):
        other = codes.flatten(1).clone()
        other[0, place] = (other[0, place] + 1) % 6
        changed = (prior.logits(other.view_as(codes)).flatten(2) != before).any(1)[0]  # (places,)
        assert not changed[: place + 1].any(), place
        reached[place] = changed
    assert reached[:-1].any(1).all()  # every code but the last affects a later position
    assert reached[:, 1:].any(0).all()  # and every position but the first depends on a code


def test_the_loss_is_the_mean_negative_log_likelihood_of_a_code(prior: PixelCNN) -> None:
    codes = torch.randint(6, (3, *GRID))
    naive = 0.0
    for image in range(3):
        for row in range(GRID[0]):
            for column in range(GRID[1]):
                logits = prior.logits(codes[image : image + 1])[0, :, row, column]
                naive -= math.log(float(logits.softmax(0)[codes[image, row, column]]))
    assert float(prior({"codes": codes})["loss"]) == pytest.approx(naive / (3 * PLACES), rel=1e-5)


def test_a_sample_is_drawn_position_by_position_from_the_same_conditionals(prior: PixelCNN) -> None:
    torch.manual_seed(3)
    drawn = prior.sample(4)
    torch.manual_seed(3)
    naive = torch.zeros(4, *GRID, dtype=torch.int64)
    for row in range(GRID[0]):
        for column in range(GRID[1]):
            p = functional.softmax(prior.logits(naive)[:, :, row, column], dim=1)
            naive[:, row, column] = torch.multinomial(p, 1)[:, 0]
    assert torch.equal(drawn, naive)
    assert drawn.shape == (4, *GRID) and len(drawn.unique()) > 1


def test_a_deterministic_prior_draws_its_only_sample(prior: PixelCNN) -> None:
    last = prior.last[-1]
    assert isinstance(last, torch.nn.Conv2d)
    last.weight.mul_(1e4)  # every conditional becomes a single code, which depends on those before
    drawn = prior.sample(3)
    assert torch.equal(prior.logits(drawn).argmax(1), drawn)
    assert torch.equal(drawn[0], drawn[1]) and len(drawn.unique()) > 1


def test_it_learns_a_sequence() -> None:
    torch.manual_seed(0)
    prior = PixelCNN(num_codes=3, grid=(3, 3), width=8, layers=2)
    start = torch.arange(3).repeat(10)[:, None]
    codes = ((start + torch.arange(9)) % 3).view(30, 3, 3)  # each code follows from the one before it
    optimizer = torch.optim.Adam(prior.parameters(), 0.02)
    for _ in range(100):
        optimizer.zero_grad()
        prior({"codes": codes})["loss"].backward()
        optimizer.step()
    assert prior({"codes": codes})["loss"].item() == pytest.approx(
        math.log(3) / 9, abs=0.01
    )  # only the first code is random
    drawn = prior.sample(30).flatten(1)
    assert torch.equal(drawn, (drawn[:, :1] + torch.arange(9)) % 3)
