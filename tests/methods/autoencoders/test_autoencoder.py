"""Autoencoder: against a naive transcription of its formulas."""

import pytest
import torch
from torch import Tensor

from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.autoencoder import Autoencoder
from ssl_cli.models.convnet import ConvAutoencoder
from ssl_cli.models.mlp import MLPAutoencoder


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.randn(40, 5)


@pytest.fixture
def images() -> Tensor:
    torch.manual_seed(0)
    return torch.randint(256, (30, 1, 3, 4), dtype=torch.uint8)


def network(shape: list[int] | None = None) -> MLPAutoencoder:
    torch.manual_seed(1)
    return MLPAutoencoder(shape=shape or [5], hidden=[8], latent=3, activation="tanh")


def test_the_loss_is_the_mean_squared_error(x: Tensor) -> None:
    model = Autoencoder(network())
    naive = sum((model.reconstruct({"x": row[None]})[0, j] - row[j]) ** 2 for row in x for j in range(5)) / x.numel()
    torch.testing.assert_close(model({"x": x})["loss"], naive)


def test_cross_entropy_of_pixels(images: Tensor) -> None:
    model, x = Autoencoder(network([1, 3, 4]), loss="cross_entropy"), images.float() / 255
    p = model.reconstruct({"x": x})
    assert p.shape == x.shape and bool(((p > 0) & (p < 1)).all())
    torch.testing.assert_close(model({"x": x})["loss"], -(x * p.log() + (1 - x) * (1 - p).log()).mean())


def test_cross_entropy_is_rejected_for_tables() -> None:
    with pytest.raises(InputError, match=r"model\.loss is for images"):
        Autoencoder(network(), loss="cross_entropy")


def test_two_outputs_per_latent_are_rejected() -> None:
    with pytest.raises(InputError, match=r"model\.network\.outputs_per_latent must be 1 for this model, not 2"):
        Autoencoder(MLPAutoencoder([5], [8], 3, outputs_per_latent=2))


def test_score_is_in_units_of_the_usual_training_error(x: Tensor) -> None:
    model = Autoencoder(network())
    with torch.no_grad():
        plain = (model.reconstruct({"x": x}) - x).square()
        torch.testing.assert_close(model.score({"x": x}), plain.mean(1))  # before: every feature has the same weight
        model.fit_statistics(x)
        torch.testing.assert_close(model.spread, plain.mean(0).sqrt() + 0.01)
        torch.testing.assert_close(model.score({"x": x}), (plain / model.spread**2).mean(1))
        expected, part = model.explain({"x": x}, [slice(0, 2), slice(2, 5)])
        torch.testing.assert_close(expected, model.reconstruct({"x": x}))
        torch.testing.assert_close(part.sum(1) / 5, model.score({"x": x}))


def test_statistics_of_bytes_equal_those_of_numbers(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    of_bytes, of_numbers = Autoencoder(network([1, 3, 4])), Autoencoder(network([1, 3, 4]))
    with torch.inference_mode():
        of_bytes.fit_statistics(images)
        of_numbers.fit_statistics(images.float() / 255)
        assert all(torch.equal(a, b) for a, b in zip(of_bytes.buffers(), of_numbers.buffers(), strict=True))
        monkeypatch.setattr("ssl_cli.methods.autoencoders.autoencoder.STATISTICS_BATCH", 7)
        of_numbers.fit_statistics(images)  # in parts
    for a, b in zip(of_bytes.buffers(), of_numbers.buffers(), strict=True):
        torch.testing.assert_close(a, b)


def test_generated_codes_have_the_mean_and_covariance_of_the_training_codes(x: Tensor) -> None:
    model = Autoencoder(network())
    with torch.inference_mode():
        model.fit_statistics(x)
        codes = model.embed({"x": x})
        torch.testing.assert_close(model.code_mean, codes.mean(0))
        torch.testing.assert_close(model.code_factor @ model.code_factor.T, codes.T.cov(correction=0))
        drawn = []
        model.decode = lambda z: drawn.append(z) or z  # type: ignore[method-assign]
        torch.manual_seed(0)
        model.generate(50_000)
    torch.testing.assert_close(drawn[0].mean(0), codes.mean(0), atol=0.02, rtol=0)
    torch.testing.assert_close(drawn[0].T.cov(), codes.T.cov(correction=0), atol=0.02, rtol=0)


@pytest.mark.parametrize("bias", [0.0, 0.1, -7.3, 1e3])
def test_a_collapsed_code_generates_its_only_value(x: Tensor, bias: float) -> None:
    model = Autoencoder(network())
    with torch.inference_mode():
        model.network.encoder[-1].weight.zero_()
        model.network.encoder[-1].bias.fill_(bias)
        model.fit_statistics(x)
        wanted = model.decode(torch.full((9, 3), bias))
        torch.testing.assert_close(model.generate(9), wanted, atol=1e-3, rtol=1e-3)


def test_fewer_rows_than_latent_dimensions(x: Tensor) -> None:
    model = Autoencoder(network())
    with torch.inference_mode():
        model.fit_statistics(x[:2])
        assert model.generate(4).isfinite().all()
        torch.testing.assert_close(
            model.code_factor @ model.code_factor.T, model.embed({"x": x[:2]}).T.cov(correction=0), atol=1e-6, rtol=0
        )


def test_a_sigmoid_decoder_is_initialized_to_the_mean_image() -> None:
    torch.manual_seed(0)
    x = torch.randint(0, 256, (50, 1, 8, 8), dtype=torch.uint8)
    model = Autoencoder(MLPAutoencoder([1, 8, 8], [16], 3), output="sigmoid")
    model.initialize_from_data(x, 0, lambda _: None)
    mean = x.double().mean(0) / 255
    torch.testing.assert_close(model.network.output_bias.sigmoid().view(1, 8, 8).double(), mean, rtol=1e-4, atol=1e-4)
    channels = Autoencoder(ConvAutoencoder([2, 8, 8], [4], 3), output="sigmoid")
    x = torch.cat([x, x // 2], dim=1)
    channels.initialize_from_data(x, 0, lambda _: None)
    by_channel = x.double().mean((0, 2, 3)) / 255
    torch.testing.assert_close(channels.network.output_bias.sigmoid().double(), by_channel, rtol=1e-4, atol=1e-4)
    linear = Autoencoder(MLPAutoencoder([1, 8, 8], [16], 3))
    before = linear.network.output_bias.clone()
    linear.initialize_from_data(x[:, :1], 0, lambda _: None)
    assert torch.equal(linear.network.output_bias, before)
