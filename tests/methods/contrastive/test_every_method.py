"""Every method that learns from views: gradients, single vectors, half precision, and saved state."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from ssl_cli.data.images.augment import Augment
from ssl_cli.errors import InputError
from ssl_cli.methods.contrastive.byol import BYOL
from ssl_cli.methods.contrastive.joint_embedding import JointEmbedding
from ssl_cli.methods.contrastive.losses import NTXent, SIGRegLoss
from ssl_cli.models.resnet import ResNet

N = 12


def network() -> ResNet:
    return ResNet([3, 8, 8], [4, 6], [1, 1], stem="3x3")


def joint(loss: nn.Module, views: int = 2, last_norm: bool = False) -> JointEmbedding:
    augment = Augment(crop=0.5, flip=0.5, brightness=0.4)
    return JointEmbedding(network(), loss, augment, [8, 5], last_norm, views)


MAKE: dict[str, Callable[[], nn.Module]] = {
    "simclr": lambda: joint(NTXent()),
    "lejepa": lambda: joint(SIGRegLoss(directions=8), views=4, last_norm=True),
    "byol": lambda: BYOL(network(), Augment(crop=0.5, flip=0.5), [8, 5], 7),
}


@pytest.fixture
def x() -> Tensor:
    return torch.rand(N, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", MAKE)
@pytest.mark.parametrize("half", [False, True])
def test_every_weight_that_is_trained_gets_a_gradient(name: str, half: bool, x: Tensor) -> None:
    torch.manual_seed(1)
    model = MAKE[name]().train()
    for norm in model.modules():  # blocks begin as the identity, which nothing before their last scale changes
        if isinstance(norm, nn.BatchNorm2d) and not norm.weight.any():
            nn.init.ones_(norm.weight)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        losses = model({"x": x})
    assert all(value.dim() == 0 and value.dtype == torch.float32 and value.isfinite() for value in losses.values())
    losses["loss"].backward()
    for parameter, value in model.named_parameters():
        if value.requires_grad:
            assert value.grad is not None and value.grad.isfinite().all() and bool(value.grad.any()), parameter


@pytest.mark.parametrize("name", MAKE)
def test_a_vector_does_not_depend_on_its_batch(name: str, x: Tensor) -> None:
    torch.manual_seed(1)
    model = MAKE[name]().train()
    model({"x": x})  # the batch statistics are no longer those of a new layer
    model.eval()
    with torch.inference_mode():
        whole = model.embed({"x": x})
        torch.testing.assert_close(torch.cat([model.embed({"x": image[None]}) for image in x]), whole)
    assert whole.shape == (N, 6)


@pytest.mark.parametrize("name", MAKE)
def test_the_state_dict_restores_the_model(name: str, x: Tensor) -> None:
    torch.manual_seed(1)
    model = MAKE[name]().train()
    model({"x": x})["loss"].backward()
    torch.manual_seed(99)
    again = MAKE[name]()
    again.load_state_dict(model.state_dict())
    for each in (model, again):
        each.eval()
    values = []
    for each in (model, again):
        torch.manual_seed(2)
        values.append((each({"x": x})["loss"], each.embed({"x": x})))
    assert torch.equal(values[0][0], values[1][0]) and torch.equal(values[0][1], values[1][1])


def test_views_are_of_all_images_in_turn(x: Tensor) -> None:
    model = joint(SIGRegLoss(), views=3)
    model.augment = Augment()
    assert torch.equal(model.views(x), torch.cat([x, x, x]))
    pictures = model.pictures({"x": x})
    assert list(pictures) == ["image", "view 1", "view 2", "view 3"]
    assert all(picture.shape == x.shape for picture in pictures.values())


def test_a_loss_of_pairs_takes_two_views() -> None:
    with pytest.raises(InputError, match=r"model\.views=3: NTXent is of two views; only SIGRegLoss takes more"):
        joint(NTXent(), views=3)


@pytest.mark.parametrize("name", MAKE)
def test_one_image_is_refused(name: str, x: Tensor) -> None:
    with pytest.raises(InputError, match=r"A batch has one image.*set trainer\.batch_size to 2 or more"):
        MAKE[name]().train()({"x": x[:1]})


def test_half_precision_gives_the_loss_of_the_projections_in_single(x: Tensor) -> None:
    model = joint(NTXent(0.05)).train()
    model.augment = Augment()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model({"x": x})["loss"]
        z = model.projector(model.network(torch.cat([x, x])))
    assert z.dtype == torch.bfloat16
    torch.testing.assert_close(loss, NTXent(0.05)(z.float().view(2, N, -1))["loss"])
