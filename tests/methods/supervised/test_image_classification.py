"""Classification of images: the loss against a naive transcription, views in training alone, frozen statistics."""

import pytest
import torch
from torch import Tensor

from ssl_cli.data.images.augment import Augment
from ssl_cli.methods.supervised.image_classification import ImageClassificationHead
from ssl_cli.models.resnet import ResNet


def model_of(augment: Augment | None = None) -> ImageClassificationHead:
    torch.manual_seed(0)
    model = ImageClassificationHead(ResNet([1, 8, 8], [4, 6], [1, 1]), 3, augment)
    torch.nn.init.normal_(model.decide.weight)
    return model


def batch(n: int = 5) -> dict[str, Tensor]:
    x = torch.randint(256, (n, 1, 8, 8), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return {"x": x, "label": torch.tensor([0, 2, 1, 1, 0])[:n]}


def test_the_loss_is_the_cross_entropy_of_the_standardized_vectors() -> None:
    model, of = model_of().train(), batch()
    x = model.network(of["x"] / 255)
    standard = (x - x.mean(0)) / (x.var(0, correction=0) + 1e-5).sqrt()
    logits = standard @ model.decide.weight.T + model.decide.bias
    expected = -logits.log_softmax(1)[torch.arange(5), of["label"]].mean()
    torch.testing.assert_close(model(of)["loss"], expected)


@torch.no_grad()
def test_views_are_of_training_alone() -> None:
    model, of = model_of(Augment(crop=0.3, flip=0.5)), batch()
    assert model.train()(of)["loss"] != model(of)["loss"]
    assert model.eval()(of)["loss"] == model(of)["loss"]
    alone = [model.predict_batch(batch(1))[0], model.predict_batch(batch())[0]]
    assert alone[0] == pytest.approx(alone[1], abs=1e-5)


def test_frozen_batch_norms_keep_their_statistics() -> None:
    model = model_of()
    for name, weight in model.named_parameters():
        weight.requires_grad_(not name.startswith(("network.conv1", "network.bn1", "network.layer1")))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()(batch())
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved and all(name.startswith(("network.layer2.", "standardize.")) for name in moved)
    assert "network.layer2.0.bn1.running_mean" in moved
