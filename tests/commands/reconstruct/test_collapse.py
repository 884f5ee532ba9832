"""Collapse warnings: given for models that have really collapsed, and only for those."""

from types import SimpleNamespace

import pytest
import torch

from ssl_cli.commands.reconstruct import collapse
from ssl_cli.commands.reconstruct.evaluate import kl_per_dimension
from ssl_cli.commands.reconstruct.predictions import ModelOutputs, model_outputs
from ssl_cli.data.images.datasets import ImageData
from ssl_cli.methods.autoencoders.variational import VAE
from tests.commands.reconstruct.conftest import SMALL, OutputsOf, make_model, train_model


def names(outputs: dict[str, ModelOutputs]) -> list[str]:
    return [warning.name for warning in collapse.collapse_warnings(outputs)]


@pytest.mark.parametrize("name", sorted(SMALL))
def test_healthy_models_get_no_warning(outputs_of: OutputsOf, name: str) -> None:
    # The default beta of beta_vae is too large for 160 images.
    options = {"beta": 0.3} if "vae" in name and name != "vqvae" else {}
    steps = 800 if name == "dbn_ae" else 250  # its logistic units learn slowly
    assert names(outputs_of(name, steps, **options)) == []


def test_a_huge_beta_collapses_the_posterior(outputs_of: OutputsOf) -> None:
    found = collapse.collapse_warnings(outputs_of("beta_vae", beta=500.0))
    assert [warning.name for warning in found] == ["constant output", "posterior collapse"]
    assert "6 of its 6 dimensions" in found[1].text and "model.beta than 500" in found[1].text
    assert "The code is noise" in found[1].text and "network.latent" not in found[1].text


class FixedPosterior(torch.nn.Module):
    """A variational code whose dimensions have the given KL for every image."""

    beta = 1.0
    collapse_advice = VAE.collapse_advice

    def __init__(self, nats: list[float]):
        super().__init__()
        self.network = SimpleNamespace(latent=len(nats))
        self.mean = torch.nn.Parameter((2 * torch.tensor(nats)).sqrt())

    def posterior(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = self.mean.detach().expand(len(x), -1)
        return mean, torch.zeros_like(mean)


@pytest.mark.parametrize(
    ("nats", "warns"),
    [
        ([2.0] * 3 + [0.0] * 37, False),  # pruned; three of forty are more than one in twenty
        ([2.0] * 2 + [0.0] * 38, True),
        ([2.0] + [0.0] * 5, True),
        ([2.0, 2.0, 0.0], False),
        ([2.0], False),
        ([0.02] * 40, True),  # all are active, but have less than one nat together
        ([0.0] * 8, True),
    ],
)
def test_pruned_dimensions_are_no_collapse(digits: ImageData, nats: list[float], warns: bool) -> None:
    outputs = ModelOutputs(FixedPosterior(nats), digits.splits["test"])
    warning = collapse.collapsed_posterior(kl_per_dimension(outputs), outputs.model, "an image")
    assert (warning is not None) == warns
    if warning is not None:
        assert f"{nats.count(0.0)} of its {len(nats)} dimensions" in warning.text
        assert ("model.network.latent=" in warning.text) == (0 < nats.count(0.0) < len(nats))


def test_a_far_codebook_without_replacement_is_hardly_used(digits: ImageData) -> None:
    x = digits.splits["train"].x
    model = make_model("vqvae", [1, 8, 8], **{"quantizer.dead_code_threshold": 0.0})
    model.initialize_from_data(torch.from_numpy(x), 0, lambda _: None)
    model.initialize_from_data = lambda *_: None
    with torch.no_grad():  # move all but two of the codes away from all vectors
        model.quantizer.vectors[2:] += 1e3
        model.quantizer.sums.copy_(model.quantizer.vectors)
    (warning,) = [
        a for a in collapse.collapse_warnings(model_outputs(train_model(model, x), digits)) if a.name == "unused codes"
    ]
    assert "2 of 16 codes occur" in warning.text and "dead_code_threshold=0.05" in warning.text


def test_empty_classes(digits: ImageData) -> None:
    model = make_model("onehot_ae", [1, 8, 8], entropy_weight=0.0, mutual_info_weight=0.0)
    with torch.no_grad():
        last = [part for part in model.classifier.modules() if isinstance(part, torch.nn.Linear)][-1]
        last.bias[0] += 1e4
    (warning,) = [
        a for a in collapse.collapse_warnings(model_outputs(model.eval(), digits)) if a.name == "unused classes"
    ]
    assert "1 of 6 classes occur" in warning.text and "model.entropy_weight than 0" in warning.text


def test_bits_that_never_change(digits: ImageData) -> None:
    model = make_model("binary_ae", [1, 8, 8])
    with torch.no_grad():
        model.network.encoder[-1].bias[:5] = 1e4
    (warning,) = [
        a
        for a in collapse.collapse_warnings(model_outputs(train_model(model, digits.splits["train"].x), digits))
        if "bits" in a.name
    ]
    assert "5 of the 12 bits" in warning.text and "model.network.latent=7" in warning.text


def test_dimensions_that_never_vary(digits: ImageData) -> None:
    model = make_model("ae", [1, 8, 8])
    with torch.no_grad():
        model.network.encoder[-1].weight[:2] *= 0
    model.network.encoder[-1].weight.register_hook(lambda gradient: gradient * torch.arange(6)[:, None].ge(2))
    (warning,) = collapse.collapse_warnings(model_outputs(train_model(model, digits.splits["train"].x), digits))
    assert warning.name == "dead dimensions"
    assert "2 of the 6 dimensions" in warning.text and "model.network.latent=4" in warning.text


def test_components_of_pixels_that_never_change(digits: ImageData) -> None:
    model = train_model(make_model("pca", [1, 8, 8], latent=64), digits.splits["train"].x)
    (warning,) = collapse.collapse_warnings(model_outputs(model, digits))
    assert warning.name == "dead dimensions" and "model.latent=" in warning.text


def test_a_decoder_that_only_has_its_bias(digits: ImageData) -> None:
    model = make_model("ae", [1, 8, 8])
    with torch.no_grad():
        model.network.decoder[-1].weight.zero_()
    found = collapse.collapse_warnings(model_outputs(model.eval(), digits))
    assert found[0].name == "constant output"
    assert "is 0.0% of the images' own" in found[0].text
