"""Convolutional networks restore the shape of any image."""

import pytest
import torch

from ssl_cli.errors import InputError
from ssl_cli.models.convnet import ConvAutoencoder, GridAutoencoder, feature_map_sizes

SHAPES = [[1, 8, 8], [1, 7, 9], [1, 28, 28], [3, 32, 32], [2, 5, 13], [1, 1, 12], [3, 9, 2]]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("heads", [1, 2])
def test_down_to_a_code_and_back(shape: list[int], heads: int) -> None:
    network = ConvAutoencoder(shape, [4, 6], latent=5, outputs_per_latent=heads, blocks=heads - 1)
    x = torch.rand(3, *shape)
    assert network.encode(x).shape == (3, heads * 5)
    assert network.decode(torch.randn(3, 5)).shape == x.shape


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_down_to_a_grid_and_back(shape: list[int]) -> None:
    network = GridAutoencoder(shape, [4, 6], latent=5)
    x = torch.rand(3, *shape)
    grid = network.encode(x)
    assert grid.shape == (3, 5, *network.grid) == (3, 5, -(-shape[1] // 4), -(-shape[2] // 4))
    assert network.decode(grid).shape == x.shape


def test_each_halving_rounds_up() -> None:
    assert feature_map_sizes([1, 28, 9], 3) == [(28, 9), (14, 5), (7, 3), (4, 2)]


@pytest.mark.parametrize("network", [ConvAutoencoder, GridAutoencoder])
def test_too_small_images_and_rows_are_rejected(network: type[ConvAutoencoder] | type[GridAutoencoder]) -> None:
    assert network([1, 8, 8], [4, 4, 4], latent=2).encode(torch.rand(1, 1, 8, 8)).numel() == 2
    with pytest.raises(
        InputError, match=r"Images of 8 x 8 can't be halved 4 times: give fewer model\.network\.channels"
    ):
        network([1, 8, 8], [4, 4, 4, 4], latent=2)
    with pytest.raises(InputError, match="Images of 1 x 1 can't be halved 1 times"):
        network([1, 1, 1], [4], latent=2)
    with pytest.raises(InputError, match="needs images, not rows of 30 features"):
        network([30], [4], latent=2)


def test_the_decoder_reaches_every_pixel() -> None:
    """Also in an image of odd size, encoder and decoder use every pixel."""
    network = ConvAutoencoder([1, 7, 9], [4, 6], latent=8)
    z = torch.randn(16, 8)
    moved = network.decode(z).var(0)
    assert (moved > 0).all()
    x = torch.rand(1, 1, 7, 9, requires_grad=True)
    network.encode(x).square().sum().backward()
    assert x.grad is not None and (x.grad != 0).all()
