"""VAE: against torch.distributions, naive loops, and a model whose likelihood is known."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Independent, MultivariateNormal, Normal, kl_divergence

from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.variational import VAE, gaussian_kl, kl_by_dimension
from ssl_cli.models.mlp import MLPAutoencoder

IMAGE = [1, 2, 3]


@pytest.fixture
def rows() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(20, 5)


@pytest.fixture
def images() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(20, *IMAGE)


def network(shape: list[int] | None = None) -> MLPAutoencoder:
    torch.manual_seed(1)
    return MLPAutoencoder(shape=shape or [5], hidden=[8], latent=3, activation="tanh", outputs_per_latent=2)


def sample(model: VAE, x: Tensor, seed: int) -> Tensor:
    """Return the draw from the posterior that forward makes after this seed, if it makes no other draw before."""
    torch.manual_seed(seed)
    mean, log_var = model.posterior(x)
    return mean + torch.randn_like(mean) * (0.5 * log_var).exp()


# --- the two terms ---


def test_kl_against_torch_distributions() -> None:
    mean, log_var = torch.randn(7, 4), torch.randn(7, 4)
    posterior, prior = Normal(mean, (0.5 * log_var).exp()), Normal(torch.zeros(4), torch.ones(4))
    torch.testing.assert_close(kl_by_dimension(mean, log_var), kl_divergence(posterior, prior))
    torch.testing.assert_close(gaussian_kl(mean, log_var), kl_divergence(posterior, prior).sum(1))


@pytest.mark.parametrize("std", [0.5, 0.002])
def test_the_loss_is_the_negative_elbo_of_a_gaussian_likelihood(rows: Tensor, std: float) -> None:
    model = VAE(network(), beta=0.7, noise_std=std)
    z = sample(model, rows, 3)
    torch.manual_seed(3)
    losses = model({"x": rows})
    torch.testing.assert_close(losses["distortion"], -Normal(model.decode(z), std).log_prob(rows).sum(1).mean())
    mean, log_var = model.posterior(rows)
    prior = Independent(Normal(torch.zeros(3), torch.ones(3)), 1)
    rate = kl_divergence(Independent(Normal(mean, (0.5 * log_var).exp()), 1), prior).mean()
    torch.testing.assert_close(losses["rate"], rate)
    torch.testing.assert_close(losses["loss"], (losses["distortion"] + 0.7 * rate) / 5)


def test_the_loss_is_the_negative_elbo_of_a_bernoulli_likelihood(images: Tensor) -> None:
    model, x = VAE(network(IMAGE), likelihood="bernoulli"), images.round()
    z = sample(model, x, 3)
    torch.manual_seed(3)
    losses = model({"x": x})
    log_likelihood = Independent(Bernoulli(model.decode(z)), 3).log_prob(x)
    torch.testing.assert_close(losses["distortion"], -log_likelihood.mean())
    torch.testing.assert_close(losses["loss"], (losses["distortion"] + losses["rate"]) / 6)


def test_an_image_has_one_learned_standard_deviation(images: Tensor) -> None:
    model = VAE(network(IMAGE))
    with torch.no_grad():
        model.log_std.fill_(math.log(0.3))
    z = sample(model, images, 3)
    torch.manual_seed(3)
    wanted = -Normal(model.decode(z), 0.3).log_prob(images).flatten(1).sum(1).mean()
    torch.testing.assert_close(model({"x": images})["distortion"], wanted)
    assert model.log_std.shape == (1,)


def test_the_standard_deviation_is_learned_only_if_null(rows: Tensor) -> None:
    for std, learned in ((None, True), (0.5, False)):
        model = VAE(network(), noise_std=std)
        model({"x": rows})["loss"].backward()
        assert (model.log_std.grad is not None) is learned
        torch.testing.assert_close(model.log_std.detach(), torch.full((5,), math.log(std or 1.0)))


def test_the_kl_term_rises_over_the_warm_up(rows: Tensor) -> None:
    model = VAE(network(), beta=2.0, noise_std=1.0, warmup_batches=4)
    for k, weight in enumerate([0.5, 1.0, 1.5, 2.0, 2.0, 2.0]):
        losses = model({"x": rows, "k": k})
        torch.testing.assert_close(losses["loss"], (losses["distortion"] + weight * losses["rate"]) / 5)
    losses = model({"x": rows})  # outside training the weight is beta
    torch.testing.assert_close(losses["loss"], (losses["distortion"] + 2 * losses["rate"]) / 5)


def test_binarized_pixels_are_black_or_white_with_the_grey_value_as_mean(images: Tensor) -> None:
    model = VAE(network(IMAGE), likelihood="bernoulli", binarize=True)
    samples = torch.stack([model.binarized(images) for _ in range(4000)])
    assert set(samples.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(samples.mean(0), images, atol=0.05, rtol=0)
    assert torch.equal(VAE(network(IMAGE), likelihood="bernoulli").binarized(images), images)
    torch.manual_seed(3)
    seen = torch.bernoulli(images)
    mean, log_var = model.posterior(seen)
    z = mean + torch.randn_like(mean) * (0.5 * log_var).exp()
    torch.manual_seed(3)
    wanted = -Independent(Bernoulli(model.decode(z)), 3).log_prob(seen).mean()
    torch.testing.assert_close(model({"x": images})["distortion"], wanted)


def test_options_that_contradict_each_other_are_rejected() -> None:
    with pytest.raises(InputError, match="binarize=true needs likelihood=bernoulli"):
        VAE(network(IMAGE), binarize=True)
    with pytest.raises(InputError, match="noise_std is for a Gaussian likelihood"):
        VAE(network(IMAGE), likelihood="bernoulli", noise_std=0.1)
    with pytest.raises(InputError, match=r"model\.likelihood=bernoulli is for images"):
        VAE(network(), likelihood="bernoulli")
    with pytest.raises(InputError, match=r"model\.network\.outputs_per_latent must be 2"):
        VAE(MLPAutoencoder([5], [8], 3))


# --- bounds on the likelihood ---


@pytest.mark.parametrize("decoder_batch", [1, 60, 10_000])  # one sample, three, or all seven are decoded at a time
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_the_importance_weighted_bound_is_that_of_a_naive_loop(
    images: Tensor, monkeypatch: pytest.MonkeyPatch, likelihood: str, decoder_batch: int
) -> None:
    """arXiv 1509.00519, eq. 8: log mean over k of p(x|z_k) p(z_k) / q(z_k|x)."""
    gaussian = likelihood == "gaussian"
    model = VAE(network(IMAGE), noise_std=0.4) if gaussian else VAE(network(IMAGE), "bernoulli")
    x, draws = images if gaussian else images.round(), torch.randn(7, 20, 3)
    mean, log_var = model.posterior(x)
    posterior = Normal(mean, (0.5 * log_var).exp())
    weights = []
    for noise in draws:
        z = mean + noise * posterior.scale
        of_x = (Normal(model.decode(z), 0.4) if gaussian else Bernoulli(model.decode(z))).log_prob(x).double()
        of_z = Normal(0.0, 1.0).log_prob(z).sum(1) - posterior.log_prob(z).sum(1)
        weights.append((of_x.flatten(1).sum(1) + of_z).exp())
    remaining = list(draws)

    def next_draws(n: int, *_: int, **__: object) -> Tensor:
        return torch.stack([remaining.pop(0) for _ in range(n)])

    monkeypatch.setattr(torch, "randn", next_draws)
    found = model.log_likelihood(x, 7, decoder_batch)
    torch.testing.assert_close(found.double(), torch.stack(weights).mean(0).log(), atol=1e-5, rtol=1e-5)
    assert not remaining


def linear_gaussian() -> tuple[VAE, MultivariateNormal]:
    """Return a model with the decoder x = W z + b + 0.6 noise, whose encoder is only near the true posterior, and the
    marginal of x."""
    torch.manual_seed(2)
    net = MLPAutoencoder([4], [], latent=2, outputs_per_latent=2)
    model = VAE(net, noise_std=0.6).requires_grad_(False)
    weight, bias = net.decoder[0].weight, net.decoder[0].bias
    precision = torch.eye(2) + weight.T @ weight / 0.36
    net.encoder[0].weight.zero_()
    net.encoder[0].weight[:2] = torch.linalg.solve(precision, weight.T) / 0.36
    net.encoder[0].bias[:2] = -net.encoder[0].weight[:2] @ bias
    net.encoder[0].bias[2:] = torch.linalg.inv(precision).diagonal().log() + 0.3
    return model, MultivariateNormal(bias, weight @ weight.T + 0.36 * torch.eye(4))


def test_the_bound_tightens_with_samples_to_the_exact_likelihood() -> None:
    model, marginal = linear_gaussian()
    x = marginal.sample((300,))
    exact = marginal.log_prob(x)
    torch.manual_seed(0)
    bounds = [float(model.log_likelihood(x, samples).mean()) for samples in (1, 5, 50, 2000)]
    assert all(a < b for a, b in pairwise(bounds))
    assert bounds[0] < float(exact.mean()) - 0.02
    assert bounds[-1] == pytest.approx(float(exact.mean()), abs=0.003)
    torch.testing.assert_close(model.log_likelihood(x, 5000), exact, atol=0.15, rtol=0)
    # With one sample the bound is the ELBO.
    elbo = model.elbo(x, samples=400).mean()
    assert float(model.log_likelihood(x.repeat(400, 1), 1).mean()) == pytest.approx(float(elbo), abs=0.01)


def test_the_elbo_gap_is_the_divergence_from_the_true_posterior() -> None:
    """log p(x) - ELBO = KL(q || p(z|x)), which is the same for every row here."""
    model, marginal = linear_gaussian()
    x = marginal.sample((50,))
    weight = model.network.decoder[0].weight
    true = torch.linalg.inv(torch.eye(2) + weight.T @ weight / 0.36)
    mean, log_var = model.posterior(x)
    gap = kl_divergence(MultivariateNormal(mean, torch.diag_embed(log_var.exp())), MultivariateNormal(mean, true))
    torch.manual_seed(0)
    found = marginal.log_prob(x) - model.elbo(x, samples=4000)
    assert float(found.mean()) == pytest.approx(float(gap.mean()), abs=0.01)


# --- scores ---


def test_a_score_is_the_mean_negative_elbo_over_the_saved_noise(rows: Tensor) -> None:
    model = VAE(network(), beta=1.5, noise_std=0.5, score_samples=6)
    mean, log_var = model.posterior(rows)
    naive = torch.zeros(20)
    for noise in model.score_noise:
        z = mean + (0.5 * log_var).exp() * noise
        naive -= Normal(model.decode(z), 0.5).log_prob(rows).sum(1) / 6
    torch.testing.assert_close(model.score({"x": rows}), naive + 1.5 * gaussian_kl(mean, log_var))


def test_scores_are_deterministic(images: Tensor) -> None:
    model = VAE(network(IMAGE), likelihood="bernoulli", binarize=True).eval()
    state = torch.get_rng_state()
    assert torch.equal(model.score({"x": images}), model.score({"x": images}))
    assert torch.equal(torch.get_rng_state(), state)


def test_a_columns_contribution_is_its_squared_error_in_nats(rows: Tensor) -> None:
    model = VAE(network(), noise_std=0.5)
    expected, part = model.explain({"x": rows}, [slice(0, 1), slice(1, 5)])
    torch.testing.assert_close(part.sum(1), (0.5 * ((rows - expected) / 0.5).square()).sum(1))


def test_generated_rows_are_decoded_from_the_prior() -> None:
    model = VAE(network(IMAGE), likelihood="bernoulli")
    torch.manual_seed(4)
    drawn = model.generate(5)
    torch.manual_seed(4)
    assert torch.equal(drawn, model.network.decode(torch.randn(5, 3)).sigmoid())
    assert drawn.shape == (5, *IMAGE)


def test_a_bernoulli_decoder_is_initialized_to_the_mean_image() -> None:
    torch.manual_seed(0)
    x = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8)
    mean = (x.double().mean(0) / 255).float()
    model = VAE(MLPAutoencoder([1, 8, 8], [16], 3, outputs_per_latent=2), likelihood="bernoulli")
    model.initialize_from_data(x, 0, lambda _: None)
    torch.testing.assert_close(model.network.output_bias.sigmoid().view(1, 8, 8), mean, rtol=1e-4, atol=1e-4)
    other = VAE(MLPAutoencoder([1, 8, 8], [16], 3, outputs_per_latent=2))
    before = other.network.output_bias.clone()
    other.initialize_from_data(x, 0, lambda _: None)
    assert torch.equal(other.network.output_bias, before)
