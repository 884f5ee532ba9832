"""Probes of a finished model of images, beside those of features that were not trained."""

from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from ssl_cli.commands.pretrain import image_probes
from ssl_cli.commands.pretrain.image_probes import (
    PATCH,
    calibrated,
    k_means_patches,
    last_row,
    probe,
    probe_metrics,
    random_patches,
)
from ssl_cli.data.images.datasets import ImageData, ImageSplit
from ssl_cli.models.resnet import ResNet
from ssl_cli.training.live_probes import vectors
from tests.conftest import striped

RUN_METRICS = {"knn_accuracy", "linear_accuracy", "linear_accuracy_100", "effective_rank"}


class Network(nn.Module):
    """The least that a method of images has."""

    def __init__(self, network: ResNet):
        super().__init__()
        self.network = network

    def embed(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.network(batch["x"])


def config(**options: Any) -> Any:
    network = {"_target_": "ssl_cli.models.resnet.ResNet", "shape": [1, 12, 12], "widths": [8], "depths": [1]}
    model = {"_target_": "tests.commands.pretrain.test_image_probes.Network", "network": network | {"stem": "3x3"}}
    return OmegaConf.create({"model": model, "seed": 0, "baselines": True} | options)


def images(n: int, seed: int, size: int = 12) -> ImageSplit:
    rng, label = np.random.default_rng(seed), np.arange(n) % 2
    return ImageSplit(np.stack([striped(k, 1, size, rng) for k in label]), label, np.arange(n))


@pytest.fixture
def data() -> ImageData:
    return ImageData({"train": images(120, 0), "test": images(40, 1)}, ["thin", "wide"], "")


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return Network(ResNet([1, 12, 12], [8], [1], "3x3")).eval()


def test_features_of_four_kinds_are_probed_alike(network: Network, data: ImageData) -> None:
    table = probe(network, data, config())
    assert list(table) == ["run", "random", "pixels", "patches"]
    assert table["run"].keys() == table["random"].keys() == RUN_METRICS
    assert table["pixels"].keys() == table["patches"].keys() == RUN_METRICS - {"effective_rank"}
    assert all(0.9 < row["linear_accuracy"] <= 1 for row in table.values())  # stripes of two widths
    metrics = probe_metrics(table)
    assert metrics["test/knn_accuracy"] == table["run"]["knn_accuracy"]
    assert metrics["test/random_effective_rank"] == table["random"]["effective_rank"]
    assert metrics["test/patches_linear_accuracy_100"] == table["patches"]["linear_accuracy_100"]
    assert len(metrics) == sum(map(len, table.values()))


def test_baselines_may_be_left_out_and_images_may_be_too_small_for_patches(network: Network, data: ImageData) -> None:
    assert list(probe(network, data, config(baselines=False))) == ["run"]
    small = ImageData({"train": images(120, 0, 2 * PATCH - 1), "test": images(40, 1, 2 * PATCH - 1)}, ["a", "b"], "")
    assert list(probe(network, small, config())) == ["run", "random", "pixels"]


def test_unknown_labels_are_left_out_and_without_any_nothing_is_probed(network: Network, data: ImageData) -> None:
    known = probe(network, data, config(baselines=False))["run"]
    train, test = data.splits["train"], data.splits["test"]
    assert train.label is not None and test.label is not None
    more = ImageData(dict(data.splits), data.classes, "")
    unknown = images(20, 2)
    more.splits["test"] = ImageSplit(
        np.concatenate([test.x, unknown.x]), np.concatenate([test.label, np.full(20, -1)]), np.arange(60)
    )
    assert probe(network, more, config(baselines=False))["run"] == known
    for splits in (
        {"train": train, "test": ImageSplit(test.x, None, test.row)},
        {"train": ImageSplit(train.x, None, train.row), "test": test},
        {"train": train, "test": ImageSplit(test.x, np.full(40, -1), test.row)},
        {"train": ImageSplit(train.x, np.zeros(120, int), train.row), "test": test},  # one class
    ):
        assert probe(network, ImageData(splits, data.classes, ""), config()) == {}


def test_an_untrained_network_is_calibrated_to_the_statistics_of_its_images(network: Network, data: ImageData) -> None:
    x = data.splits["train"].x
    model = calibrated(network, x)
    assert not model.training
    first = model.network.conv1((torch.from_numpy(x).float() / 255 - model.network.mean) / model.network.std)
    norm = model.network.bn1
    torch.testing.assert_close(norm.running_mean, first.mean((0, 2, 3)))
    torch.testing.assert_close(norm.running_var, first.var((0, 2, 3)), rtol=1e-3, atol=1e-3)


def test_patches_are_pieces_of_the_images() -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 2, 8, 9), np.uint8)
    pieces = {
        image[:, top : top + PATCH, left : left + PATCH].tobytes()
        for image in x
        for top in range(3)
        for left in range(4)
    }
    patches = random_patches(x, 400, np.random.default_rng(1))
    assert patches.shape == (400, 2 * PATCH * PATCH)
    assert {patch.tobytes() for patch in patches} == pieces  # each of them, and no other


def test_k_means_patches_tell_stripes_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_probes, "N_CENTERS", 6)
    split = images(30, 0)
    features = k_means_patches(split.x, seed=0)
    assert features.centers.shape == (6, PATCH * PATCH)
    z = vectors(features, split.x)
    assert z.shape == (30, 24)
    apart = np.linalg.norm(z[::2].mean(0) - z[1::2].mean(0))
    assert apart > 3 * np.linalg.norm(z[::2] - z[::2].mean(0), axis=1).mean()
    np.testing.assert_array_equal(z, vectors(k_means_patches(split.x, seed=0), split.x))


def test_the_last_row_gives_the_metrics_of_val() -> None:
    rows = [{"step": 1, "val/loss": 3.0}, {"step": 2, "val/loss": 2.0, "val/knn_accuracy": 0.5, "train/loss": 1.0}]
    assert last_row(rows) == {"val/loss": 2.0, "val/knn_accuracy": 0.5}
    assert last_row([]) == {}
