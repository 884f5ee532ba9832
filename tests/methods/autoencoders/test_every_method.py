"""Every autoencoder: gradients reach all parameters, images are independent, and the state dict is the whole model."""

import io
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ssl_cli.data.images.augment import Augment
from ssl_cli.methods.autoencoders.autoencoder import Autoencoder
from ssl_cli.methods.autoencoders.binary import BinaryAutoencoder
from ssl_cli.methods.autoencoders.categorical import CategoricalAutoencoder
from ssl_cli.methods.autoencoders.deep_belief import DeepBeliefAutoencoder
from ssl_cli.methods.autoencoders.denoising import DenoisingAutoencoder
from ssl_cli.methods.autoencoders.pca import PCA
from ssl_cli.methods.autoencoders.variational import VAE
from ssl_cli.methods.autoencoders.vector_quantized import VQVAE
from ssl_cli.methods.training_protocols import InitializesFromData
from ssl_cli.models.convnet import Classifier, ConvAutoencoder, GridAutoencoder
from ssl_cli.models.images import to_float
from ssl_cli.models.mlp import MLPAutoencoder
from ssl_cli.models.quantizer import Quantizer

SHAPE, N = [2, 6, 8], 33


def mlp(outputs_per_latent: int = 1, activation: str = "gelu") -> MLPAutoencoder:
    return MLPAutoencoder(SHAPE, [10], 4, activation, outputs_per_latent)  # type: ignore[arg-type]


def onehot() -> CategoricalAutoencoder:
    network = MLPAutoencoder(SHAPE, [10], 4, "gelu", outputs_per_latent=2, condition=6)
    return CategoricalAutoencoder(network, Classifier(SHAPE, [4], 8, 6), Augment.deformation())


def vqvae(**options: object) -> VQVAE:
    return VQVAE(GridAutoencoder(SHAPE, [4], 3), Quantizer(8, 3, **options), 4, 1)  # type: ignore[arg-type]


MAKE: dict[str, Callable[[], nn.Module]] = {
    "ae": lambda: Autoencoder(mlp()),
    "ae, cross entropy": lambda: Autoencoder(mlp(), loss="cross_entropy"),
    "conv_ae": lambda: Autoencoder(ConvAutoencoder(SHAPE, [4, 6], 5, blocks=1)),
    "dae": lambda: DenoisingAutoencoder(mlp(), noise="salt_pepper", level=0.3),
    "vae": lambda: VAE(mlp(2), "bernoulli"),
    "vae, binarised": lambda: VAE(mlp(2), "bernoulli", binarize=True, warmup_batches=5),
    "vae, gaussian": lambda: VAE(ConvAutoencoder(SHAPE, [4], 5, outputs_per_latent=2), "gaussian"),
    "binary_ae": lambda: BinaryAutoencoder(mlp()),
    "vqvae": lambda: vqvae(),
    "vqvae, loss": lambda: vqvae(codebook="loss", gradient="rotation", cosine=True),
    "dbn_ae": lambda: DeepBeliefAutoencoder(mlp(activation="sigmoid"), rbm_epochs=1),
    "onehot_ae": onehot,
    "pca": lambda: PCA(SHAPE, 7),
}


@pytest.fixture
def pixels() -> Tensor:
    return torch.randint(256, (N, *SHAPE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def trained(name: str, pixels: Tensor) -> nn.Module:
    """Return a model after all steps of a run, trained for five batches."""
    torch.manual_seed(1)
    model, x = MAKE[name](), to_float(pixels)
    if isinstance(model, PCA):
        model.fit(x.flatten(1).numpy(), seed=0)
        return model.eval()
    if isinstance(model, InitializesFromData):
        model.initialize_from_data(pixels, 0, lambda _: None)
    optimizer = torch.optim.Adam((value for value in model.parameters() if value.requires_grad), 0.01)
    for k in range(5):
        optimizer.zero_grad()
        model({"x": x, "k": k})["loss"].backward()
        optimizer.step()
    model.eval()
    if hasattr(model, "fit_statistics"):
        with torch.inference_mode():
            model.fit_statistics(pixels)
    return model


@pytest.mark.parametrize("name", [name for name in MAKE if name != "pca"])
def test_every_parameter_gets_a_gradient(name: str, pixels: Tensor) -> None:
    torch.manual_seed(1)
    model = MAKE[name]().train()
    losses = model({"x": to_float(pixels), "k": 0})
    assert all(value.dim() == 0 and value.dtype == torch.float32 and value.isfinite() for value in losses.values())
    losses["loss"].backward()
    for parameter, value in model.named_parameters():
        if value.requires_grad:
            assert value.grad is not None and bool((value.grad != 0).any()), parameter


@pytest.mark.parametrize("name", [name for name in MAKE if name != "pca"])
def test_training_reduces_the_loss(name: str, pixels: Tensor) -> None:
    torch.manual_seed(1)
    untrained, x = MAKE[name]().eval(), to_float(pixels)
    torch.manual_seed(2)
    before = float(untrained({"x": x})["loss"].detach())
    after = trained(name, pixels)
    torch.manual_seed(2)
    assert float(after({"x": x})["loss"].detach()) < before


@pytest.mark.parametrize("name", MAKE)
def test_an_image_does_not_depend_on_its_batch(name: str, pixels: Tensor) -> None:
    model, x = trained(name, pixels), to_float(pixels)
    order = torch.randperm(N)
    with torch.inference_mode():
        for ask in (model.embed, model.reconstruct, model.score):
            whole = ask({"x": x})
            assert len(whole) == N and whole.dtype == torch.float32 and bool(whole.isfinite().all())
            torch.testing.assert_close(torch.cat([ask({"x": image[None]}) for image in x]), whole, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(ask({"x": x[order]}), whole[order], atol=1e-4, rtol=1e-4)
            padded = torch.cat([x[:5], torch.full((59, *SHAPE), 1.0)])
            torch.testing.assert_close(ask({"x": padded})[:5], whole[:5], atol=1e-4, rtol=1e-4)
        assert model.reconstruct({"x": x}).shape == x.shape
        assert model.score({"x": x}).shape == (N,)


@pytest.mark.parametrize("name", MAKE)
def test_the_state_dict_restores_the_model(name: str, pixels: Tensor) -> None:
    model, x = trained(name, pixels), to_float(pixels)
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    torch.manual_seed(99)  # the random weights of the new model must not matter
    again = MAKE[name]().eval()
    again.load_state_dict(torch.load(file, weights_only=True))
    with torch.inference_mode():
        for ask in ("score", "embed", "reconstruct"):
            assert torch.equal(getattr(again, ask)({"x": x}), getattr(model, ask)({"x": x})), ask
        torch.manual_seed(3)
        drawn = model.generate(6)
        torch.manual_seed(3)
        assert torch.equal(again.generate(6), drawn)
        assert drawn.shape == (6, *SHAPE) and bool(drawn.isfinite().all())


@pytest.mark.parametrize("name", MAKE)
def test_the_same_seed_trains_the_same_model(name: str, pixels: Tensor) -> None:
    one, two = trained(name, pixels).state_dict(), trained(name, pixels).state_dict()
    assert all(torch.equal(one[part], two[part]) for part in one)


@pytest.mark.parametrize("name", [name for name in MAKE if name != "pca"])
def test_it_trains_in_half_precision(name: str, pixels: Tensor) -> None:
    torch.manual_seed(1)
    model = MAKE[name]().train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model({"x": to_float(pixels), "k": 0})["loss"]
    loss.backward()
    assert loss.isfinite()
    assert all(bool(value.grad.isfinite().all()) for value in model.parameters() if value.grad is not None)
