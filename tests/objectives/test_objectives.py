"""Objectives against a naive transcription of their papers' formulas, and their invariances."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from ssl_cli.errors import InputError
from ssl_cli.models.autoencoder import Autoencoder
from ssl_cli.objectives.denoising import Denoising, corrupt
from ssl_cli.objectives.reconstruction import Reconstruction
from ssl_cli.objectives.variational import Variational, gaussian_kl


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(40, 5)


def network() -> Autoencoder:
    torch.manual_seed(1)
    return Autoencoder(n_features=5, hidden=[8], latent=3, activation="tanh")


def test_reconstruction_loss_is_the_mean_squared_error(x: Tensor) -> None:
    model = Reconstruction(network())
    naive = sum((model.network(row[None])[0, j] - row[j]) ** 2 for row in x for j in range(5)) / x.numel()
    torch.testing.assert_close(model({"x": x})["loss"], naive)


def test_score_is_in_units_of_the_training_rows_usual_error(x: Tensor) -> None:
    model = Reconstruction(network())
    with torch.no_grad():
        plain = (model.network(x) - x).square()
        torch.testing.assert_close(model.score({"x": x}), plain.mean(1))  # before: every feature counts alike
        model.measure_spread(x)
        torch.testing.assert_close(model.spread, plain.mean(0).sqrt() + 0.01)
        torch.testing.assert_close(model.score({"x": x}), (plain / model.spread**2).mean(1))


@pytest.mark.parametrize("model", [Reconstruction(network()), Variational(5, [8], 3)], ids=["ae", "vae"])
def test_a_rows_score_depends_on_nothing_but_the_row(model: Reconstruction | Variational, x: Tensor) -> None:
    with torch.no_grad():
        whole = model.score({"x": x})
        torch.testing.assert_close(torch.cat([model.score({"x": row[None]}) for row in x]), whole)
        order = torch.randperm(len(x))
        torch.testing.assert_close(model.score({"x": x[order]}), whole[order])


def test_gaussian_noise_has_its_level() -> None:
    noise = corrupt(torch.zeros(2000, 50), "gaussian", 0.3)
    assert noise.std().item() == pytest.approx(0.3, rel=0.02)


def test_masking_sets_its_share_to_the_mean() -> None:
    masked = corrupt(torch.ones(2000, 50), "masking", 0.2)
    assert (masked == 0).float().mean().item() == pytest.approx(0.2, rel=0.05)
    assert set(masked.unique().tolist()) == {0.0, 1.0}


def test_swap_takes_the_same_feature_of_another_row() -> None:
    x = torch.arange(1000)[:, None] + torch.tensor([[0.0, 1e4, 2e4]])  # column j holds j * 1e4 + row
    swapped = corrupt(x, "swap", 0.4)
    assert torch.equal(swapped // 1e4, x // 1e4)
    assert (swapped != x).float().mean().item() == pytest.approx(0.4, rel=0.1)


def test_denoising_rebuilds_the_clean_input(x: Tensor) -> None:
    model = Denoising(network(), noise="gaussian", level=0.5)
    torch.manual_seed(7)
    loss = model({"x": x})["loss"]
    torch.manual_seed(7)
    noisy = x + 0.5 * torch.randn_like(x)
    torch.testing.assert_close(loss, (model.network(noisy) - x).square().mean())


def test_noise_of_more_than_every_feature_is_refused() -> None:
    with pytest.raises(InputError, match="must be at most 1"):
        Denoising(network(), noise="swap", level=1.5)


def test_kl_against_torch_distributions() -> None:
    mean, log_var = torch.randn(7, 4), torch.randn(7, 4)
    posterior = Independent(Normal(mean, (0.5 * log_var).exp()), 1)
    prior = Independent(Normal(torch.zeros(4), torch.ones(4)), 1)
    torch.testing.assert_close(gaussian_kl(mean, log_var), kl_divergence(posterior, prior))


def test_variational_loss_is_the_negative_elbo(x: Tensor) -> None:
    model = Variational(5, [8], 3, beta=0.7, noise_std=0.5)
    torch.manual_seed(3)
    losses = model({"x": x})
    torch.manual_seed(3)
    mean, log_var = model.posterior(x)
    z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
    log_likelihood = Normal(model.decoder(z), 0.5).log_prob(x).sum(1)
    torch.testing.assert_close(losses["distortion"], -log_likelihood.mean())
    torch.testing.assert_close(losses["loss"], (losses["distortion"] + 0.7 * losses["rate"]) / 5)


def test_variational_noise_is_learned_only_when_asked(x: Tensor) -> None:
    for std, learned in ((None, True), (0.5, False)):
        model = Variational(5, [8], 3, noise_std=std)
        model({"x": x})["loss"].backward()
        assert (model.log_std.grad is not None) is learned
        torch.testing.assert_close(model.log_std.detach(), torch.full((5,), math.log(std or 1.0)))


def test_embed_and_reconstruct_shapes(x: Tensor) -> None:
    for model in (Reconstruction(network()), Variational(5, [8], 3)):
        assert model.embed({"x": x}).shape == (40, 3)
        assert model.reconstruct({"x": x}).shape == x.shape
