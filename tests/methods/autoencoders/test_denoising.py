"""DenoisingAutoencoder: each kind of noise, and the loss against the clean input."""

import pytest
import torch
from torch import Tensor

from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.denoising import DenoisingAutoencoder, Noise, corrupt
from ssl_cli.models.mlp import MLPAutoencoder


def network(shape: list[int] | None = None) -> MLPAutoencoder:
    torch.manual_seed(1)
    return MLPAutoencoder(shape=shape or [5], hidden=[8], latent=3, activation="tanh")


def test_gaussian_noise_has_its_level() -> None:
    noise = corrupt(torch.zeros(2000, 50), "gaussian", 0.3)
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.01)


def test_masking_sets_its_share_to_the_mean() -> None:
    masked = corrupt(torch.ones(2000, 50), "masking", 0.2)
    assert (masked == 0).float().mean().item() == pytest.approx(0.2, rel=0.05)
    assert set(masked.unique().tolist()) == {0.0, 1.0}


def test_swap_takes_the_same_feature_of_another_row() -> None:
    x = torch.arange(1000)[:, None] + torch.tensor([[0.0, 1e4, 2e4]])  # column j holds j * 1e4 + row
    swapped = corrupt(x, "swap", 0.4)
    assert torch.equal(swapped // 1e4, x // 1e4)
    assert (swapped != x).float().mean().item() == pytest.approx(0.4, rel=0.1)


@pytest.mark.parametrize("channels", [1, 3])
def test_salt_and_pepper_make_a_pixel_white_or_black(channels: int) -> None:
    x = torch.rand(500, channels, 8, 9) * 0.8 + 0.1  # neither black nor white
    noisy = corrupt(x, "salt_pepper", 0.3)
    assert noisy.shape == x.shape and noisy.dtype == x.dtype
    white, black, same = ((noisy == 1).all(1), (noisy == 0).all(1), (noisy == x).all(1))  # (B, H, W)
    assert bool((white | black | same).all())  # the channels of a pixel are corrupted together
    assert white.float().mean().item() == pytest.approx(0.15, rel=0.1)
    assert black.float().mean().item() == pytest.approx(0.15, rel=0.1)


@pytest.mark.parametrize("noise", ["gaussian", "masking", "swap", "salt_pepper"])
def test_the_target_is_the_clean_input(noise: Noise) -> None:
    model, x = DenoisingAutoencoder(network([1, 2, 4]), noise=noise, level=0.5), torch.rand(40, 1, 2, 4)
    torch.manual_seed(7)
    loss = model({"x": x})["loss"]
    torch.manual_seed(7)
    noisy = corrupt(x, noise, 0.5)
    assert not torch.equal(noisy, x)
    torch.testing.assert_close(loss, (model.reconstruct({"x": noisy}) - x).square().mean())
    torch.manual_seed(7)
    assert torch.equal(model.corrupt(x), noisy)


def test_scores_reconstructions_and_codes_have_no_noise() -> None:
    model, batch = DenoisingAutoencoder(network(), noise="gaussian", level=5.0), {"x": torch.randn(40, 5)}
    for ask in (model.score, model.reconstruct, model.embed):
        assert torch.equal(ask(batch), ask(batch))
    torch.testing.assert_close(model.reconstruct(batch), model.network.decode(model.network.encode(batch["x"])))


def test_invalid_noise_is_rejected() -> None:
    with pytest.raises(InputError, match="must be at most 1"):
        DenoisingAutoencoder(network(), noise="swap", level=1.5)
    with pytest.raises(InputError, match=r"model\.noise=salt_pepper is for images"):
        DenoisingAutoencoder(network(), noise="salt_pepper", level=0.5)
    assert isinstance(DenoisingAutoencoder(network(), noise="gaussian", level=1.5), DenoisingAutoencoder)


def test_corrupt_does_not_change_its_input() -> None:
    x = torch.rand(20, 1, 3, 3)
    before: Tensor = x.clone()
    for noise in ("gaussian", "masking", "swap", "salt_pepper"):
        corrupt(x, noise, 0.5)
    assert torch.equal(x, before)
