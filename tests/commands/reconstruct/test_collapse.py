"""The alarm rings for models that are really collapsed, and only for those."""

import pytest
import torch

from ssl_cli.commands.reconstruct import collapse
from ssl_cli.commands.reconstruct.predictions import ModelOutputs, model_outputs
from ssl_cli.data.images.datasets import ImageData
from tests.commands.reconstruct.conftest import SMALL, Made, built, learned


def names(views: dict[str, ModelOutputs]) -> list[str]:
    return [alarm.name for alarm in collapse.collapse_warnings(views)]


@pytest.mark.parametrize("name", sorted(SMALL))
def test_healthy_models_are_left_in_peace(views_of: Made, name: str) -> None:
    # beta_vae's own weight is heavy on 160 images: a lighter one stands for it.
    options = {"beta": 0.3} if "vae" in name and name != "vqvae" else {}
    steps = 800 if name == "dbn_ae" else 250  # its logistic units are slow
    assert names(views_of(name, steps, **options)) == []


def test_a_huge_beta_silences_the_posterior(views_of: Made) -> None:
    found = collapse.collapse_warnings(views_of("beta_vae", beta=500.0))
    assert [alarm.name for alarm in found] == ["constant output", "posterior collapse"]
    assert "6 of the 6 numbers" in found[1].text and "model.beta than 500" in found[1].text
    assert "The code is noise" in found[1].text and "network.latent" not in found[1].text


class Speaks(torch.nn.Module):
    """A variational code whose numbers say given nats of any image."""

    beta = 1.0

    def __init__(self, nats: list[float]):
        super().__init__()
        self.mean = torch.nn.Parameter((2 * torch.tensor(nats)).sqrt())

    def posterior(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean = self.mean.detach().expand(len(x), -1)
        return mean, torch.zeros_like(mean)


@pytest.mark.parametrize(
    ("nats", "rings"),
    [
        ([2.0] * 3 + [0.0] * 37, False),  # pruned, and three of forty are more than one in twenty
        ([2.0] * 2 + [0.0] * 38, True),
        ([2.0] + [0.0] * 5, True),
        ([2.0, 2.0, 0.0], False),
        ([2.0], False),
        ([0.02] * 40, True),  # all of them speak, and say less than a nat together
        ([0.0] * 8, True),
    ],
)
def test_pruned_numbers_are_no_collapse(digits: ImageData, nats: list[float], rings: bool) -> None:
    alarm = collapse.silent_posterior(ModelOutputs(Speaks(nats), digits.splits["test"]))
    assert (alarm is not None) == rings
    if alarm is not None:
        assert f"{nats.count(0.0)} of the {len(nats)} numbers" in alarm.text
        assert ("model.network.latent=" in alarm.text) == (0 < nats.count(0.0) < len(nats))


def test_a_codebook_far_off_without_revival_is_hardly_used(digits: ImageData) -> None:
    x = digits.splits["train"].x
    model = built("vqvae", [1, 8, 8], **{"quantizer.dead_code_threshold": 0.0})
    model.pretrain(torch.from_numpy(x), 0, lambda _: None)
    model.pretrain = lambda *_: None
    with torch.no_grad():  # all but two of the codes where no vector will ever be nearest
        model.quantizer.vectors[2:] += 1e3
        model.quantizer.sums.copy_(model.quantizer.vectors)
    (alarm,) = [
        a for a in collapse.collapse_warnings(model_outputs(learned(model, x), digits)) if a.name == "unused codes"
    ]
    assert "2 of 16 codes occur" in alarm.text and "dead_code_threshold=0.05" in alarm.text


def test_classes_left_empty(digits: ImageData) -> None:
    model = built("onehot_ae", [1, 8, 8], balance=0.0, agreement=0.0)
    with torch.no_grad():
        last = [part for part in model.classifier.modules() if isinstance(part, torch.nn.Linear)][-1]
        last.bias[0] += 1e4
    (alarm,) = [
        a for a in collapse.collapse_warnings(model_outputs(model.eval(), digits)) if a.name == "unused classes"
    ]
    assert "1 of 6 classes occur" in alarm.text and "model.entropy_weight than 0" in alarm.text


def test_bits_that_never_change(digits: ImageData) -> None:
    model = built("binary_ae", [1, 8, 8])
    with torch.no_grad():
        model.network.encoder[-1].bias[:5] = 1e4
    (alarm,) = [
        a
        for a in collapse.collapse_warnings(model_outputs(learned(model, digits.splits["train"].x), digits))
        if "bits" in a.name
    ]
    assert "5 of the 12 bits" in alarm.text and "model.network.latent=7" in alarm.text


def test_numbers_that_never_move(digits: ImageData) -> None:
    model = built("ae", [1, 8, 8])
    with torch.no_grad():
        model.network.encoder[-1].weight[:2] *= 0
    model.network.encoder[-1].weight.register_hook(lambda gradient: gradient * torch.arange(6)[:, None].ge(2))
    (alarm,) = collapse.collapse_warnings(model_outputs(learned(model, digits.splits["train"].x), digits))
    assert alarm.name == "dead numbers"
    assert "2 of the 6 numbers" in alarm.text and "model.network.latent=4" in alarm.text


def test_components_of_pixels_that_never_change(digits: ImageData) -> None:
    model = learned(built("pca", [1, 8, 8], latent=64), digits.splits["train"].x)
    (alarm,) = collapse.collapse_warnings(model_outputs(model, digits))
    assert alarm.name == "dead numbers" and "model.latent=" in alarm.text


def test_a_decoder_that_only_has_its_bias(digits: ImageData) -> None:
    model = built("ae", [1, 8, 8])
    with torch.no_grad():
        model.network.decoder[-1].weight.zero_()
    found = collapse.collapse_warnings(model_outputs(model.eval(), digits))
    assert found[0].name == "constant output"
    assert "vary 0.0% as much" in found[0].text
