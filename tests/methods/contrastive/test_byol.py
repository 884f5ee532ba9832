"""BYOL: its loss against a naive transcription, and the network that follows."""

import math

import pytest
import torch
from torch import Tensor

from ssl_cli.data.images.augment import Augment
from ssl_cli.errors import InputError
from ssl_cli.methods.contrastive.byol import BYOL
from ssl_cli.models.resnet import ResNet

B = 5


@pytest.fixture
def model() -> BYOL:
    torch.manual_seed(0)
    network = ResNet([1, 8, 8], [4, 6], [1, 1], stem="3x3")
    return BYOL(network, Augment(crop=0.4, flip=0.5), projector=[8, 4], predictor=7, momentum=0.9)


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(1)
    return torch.rand(B, 1, 8, 8)


def test_the_loss_is_the_formula_in_both_directions(model: BYOL, x: Tensor) -> None:
    model.train()
    with torch.no_grad():
        for value in model.target.parameters():  # so that the two networks differ
            value.add_(0.1 * torch.randn_like(value))
    torch.manual_seed(2)
    loss = float(model({"x": x})["loss"].detach())
    torch.manual_seed(2)
    views = model.views(x)
    with torch.no_grad():
        predictions, targets = model.predictor(model.projector(model.network(views))), model.target(views)
    total = 0.0
    for image in range(B):
        for mine, other in ((image, image + B), (image + B, image)):
            p, z = predictions[mine], targets[other]
            total += float((p / p.norm() - z / z.norm()).square().sum())
    assert loss == pytest.approx(total / (2 * B), rel=1e-4)


def test_two_views_of_an_image_are_its_own(model: BYOL, x: Tensor) -> None:
    model.augment = Augment()
    views = model.views(x)
    assert torch.equal(views[:B], x) and torch.equal(views[B:], x)


def test_the_target_gets_no_gradient_and_is_saved(model: BYOL, x: Tensor) -> None:
    model.train()({"x": x})["loss"].backward()
    assert all(value.grad is None and not value.requires_grad for value in model.target.parameters())
    online = {name: value for name, value in model.named_parameters() if not name.startswith("target.")}
    assert not [name for name, value in online.items() if value.grad is None]
    saved = {name for name in model.state_dict() if name.startswith("target.")}
    assert len(saved) == len(model.network.state_dict()) + len(model.projector.state_dict())


@pytest.mark.parametrize("progress", [0.0, 0.3, 1.0])
def test_the_target_moves_along_the_cosine(model: BYOL, progress: float) -> None:
    before = [value.clone() for value in model.target.parameters()]
    with torch.no_grad():
        for value in (*model.network.parameters(), *model.projector.parameters()):
            value.add_(torch.randn_like(value))
    model.after_step(progress)
    tau = 1 - (1 - 0.9) * (math.cos(math.pi * progress) + 1) / 2
    assert tau == pytest.approx({0.0: 0.9, 0.3: 0.9206, 1.0: 1.0}[progress], abs=1e-4)
    online = [*model.network.parameters(), *model.projector.parameters()]
    for old, new, value in zip(before, model.target.parameters(), online, strict=True):
        torch.testing.assert_close(new, tau * old + (1 - tau) * value)


def test_one_image_is_refused_in_training_alone(model: BYOL, x: Tensor) -> None:
    with pytest.raises(InputError, match="A batch has one image"):
        model.train()({"x": x[:1]})
    assert model.eval()({"x": x[:1]})["loss"].isfinite()
