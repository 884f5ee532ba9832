"""Random deformations of images."""

import pytest
import torch
from torch import Tensor

from ssl_cli.data.images.augment import Deform


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(40, 1, 8, 8)


def test_no_limits_no_deformation(x: Tensor) -> None:
    torch.testing.assert_close(Deform(0, 0, 0, 0)(x), x, rtol=0, atol=1e-5)


def test_each_image_is_deformed_by_itself_and_anew() -> None:
    x = torch.rand(1, 1, 28, 28).expand(4, 1, 28, 28)
    deform = Deform()
    first = deform(x)
    assert not torch.allclose(first[0], first[1], atol=1e-2)
    assert not torch.allclose(first, deform(x), atol=1e-2)


@pytest.mark.parametrize(
    ("limits", "limit"), [({"shift": 0.1}, 0.1 * 28), ({"turn": 20}, 1e-3), ({"scale": 0.2}, 1e-3)]
)
def test_a_deformation_keeps_its_limits(limits: dict[str, float], limit: float) -> None:
    """The centre of a blob in the middle moves by the shift alone."""
    torch.manual_seed(0)
    places = torch.arange(28).float() - 13.5
    blob = torch.exp(-(places[:, None] ** 2 + places[None] ** 2) / 8).expand(200, 1, 28, 28)
    deformed = Deform(**({"turn": 0, "scale": 0, "shear": 0, "shift": 0} | limits))(blob)[:, 0]
    centre = (deformed.sum(1) * places).sum(1) / deformed.sum((1, 2))
    assert centre.abs().max() <= limit + 0.05
    if "shift" in limits:
        assert centre.abs().max() > 0.8 * limit


def test_twice_the_limits() -> None:
    wide = Deform(turn=10, scale=0.1, shear=0.2, shift=0.05).scaled(2)
    assert (wide.turn, wide.scale, wide.shear, wide.shift) == pytest.approx((20, 0.2, 0.4, 0.1))
