"""Live probes: their columns of the history, and that training does not feel them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.images.augment import Augment
from ssl_cli.data.images.datasets import ImageSplit
from ssl_cli.evaluation.metrics.representations import alignment, neighbor_accuracy
from ssl_cli.methods.contrastive.joint_embedding import JointEmbedding
from ssl_cli.methods.contrastive.losses import NTXent
from ssl_cli.models.resnet import ResNet
from ssl_cli.training import live_probes
from ssl_cli.training.live_probes import LiveProbes, ProbedImages, live_metrics, vectors, view_vectors
from ssl_cli.training.trainer import train
from tests.conftest import striped
from tests.helpers.trained_models import config, history, same

VIEW_METRICS = {"effective_rank", "alignment", "uniformity"}
LABEL_METRICS = {"knn_accuracy", "linear_accuracy"}


def images(n: int, labelled: bool = True, seed: int = 0) -> ImageSplit:
    rng, label = np.random.default_rng(seed), np.arange(n) % 2
    x = np.stack([striped(k, 1, 8, rng) for k in label])
    return ImageSplit(x, label if labelled else None, np.arange(n))


def model() -> JointEmbedding:
    torch.manual_seed(0)
    network = ResNet([1, 8, 8], [4, 8], [1, 1], stem="3x3")
    return JointEmbedding(network, NTXent(), Augment(crop=0.5, contrast=0.4), [8, 6])


def trained(folder: Path, callbacks: list[Any], **trainer: Any) -> JointEmbedding:
    method, rows = model(), images(40)
    folder.mkdir()
    train(method, ArrayDataset({"x": rows.x}), ArrayDataset({"x": images(10, seed=1).x}), config(**trainer), folder, (),
          callbacks)  # fmt: skip
    return method


@pytest.mark.parametrize("options", [{}, {"ema_decay": 0.9}])
def test_they_stand_in_each_row_of_the_history_and_change_no_bit_of_the_training(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    probed = ProbedImages.of_splits({"train": images(40), "val": images(10, seed=1)}, seed=0)
    options |= {"max_steps": 8, "validate_every_n_steps": 3}
    with_probes = trained(tmp_path / "with", [LiveProbes(probed, 0)], **options)
    without = trained(tmp_path / "without", [], **options)
    assert same(with_probes, without)
    rows, others = history(tmp_path / "with"), history(tmp_path / "without")
    added = {f"val/{name}" for name in VIEW_METRICS | LABEL_METRICS}
    assert [row["step"] for row in rows] == [3, 6, 8] and all(added <= row.keys() for row in rows)
    assert [{name: value for name, value in row.items() if name not in added} for row in rows] == others
    last = live_metrics(with_probes, probed, seed=0)  # the last row is of the final weights
    assert {f"val/{name}": value for name, value in last.items()} == pytest.approx(
        {name: rows[-1][name] for name in added}, rel=1e-4
    )


def test_the_metrics_are_those_of_the_vectors() -> None:
    method, probed = model().eval(), ProbedImages.of_splits({"train": images(40), "val": images(10, seed=1)}, seed=0)
    metrics = live_metrics(method, probed, seed=5)
    assert metrics.keys() == VIEW_METRICS | LABEL_METRICS
    assert probed.labels is not None
    of_train, of_held_out = (vectors(method, x) for x in (probed.train, probed.held_out))
    assert metrics["knn_accuracy"] == neighbor_accuracy(of_train, probed.labels[0], of_held_out, probed.labels[1])
    views = [view_vectors(method, probed.held_out, 5, k) for k in range(2)]
    assert metrics["alignment"] == alignment(*views) > 0
    assert live_metrics(method, probed, seed=5) == metrics


def test_a_method_without_views_has_no_alignment() -> None:
    class Pixels(nn.Module):
        def embed(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
            return batch["x"].flatten(1)

    probed = ProbedImages.of_splits({"train": images(40), "val": images(10, seed=1)}, seed=0)
    assert live_metrics(Pixels(), probed, 0).keys() == LABEL_METRICS | {"effective_rank"}


def test_if_nothing_is_held_out_training_images_are_probed() -> None:
    split = images(9)
    probed = ProbedImages.of_splits({"train": split, "test": images(4)}, 0)
    assert np.array_equal(probed.held_out, probed.train)


def test_views_leave_the_random_stream_alone() -> None:
    torch.manual_seed(7)
    before = torch.get_rng_state()
    view_vectors(model().eval(), images(4).x, 0, 0)
    torch.manual_seed(7)
    assert torch.equal(torch.get_rng_state(), before)


def test_without_labels_nothing_is_classified() -> None:
    for train_split, held_out in ((images(9, labelled=False), images(4)), (images(9), images(4, labelled=False))):
        probed = ProbedImages.of_splits({"train": train_split, "val": held_out}, 0)
        assert probed.labels is None and len(probed.train) == 9 and len(probed.held_out) == 4
        assert live_metrics(model().eval(), probed, 0).keys() == VIEW_METRICS


def test_images_of_unknown_label_are_left_out_where_others_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    split = images(30)
    assert split.label is not None
    split.label[::3] = -1
    probed = ProbedImages.of_splits({"train": split, "val": images(6)}, 0)
    assert probed.labels is not None and len(probed.train) == 20 and (probed.labels[0] >= 0).all()
    monkeypatch.setattr(live_probes, "MAX_TRAIN", 5)
    few, again = (ProbedImages.of_splits({"train": split, "val": images(6)}, seed=3) for _ in range(2))
    assert len(few.train) == 5 and np.array_equal(few.train, again.train)
    split.label[:] = -1
    assert ProbedImages.of_splits({"train": split, "val": images(6)}, 0).labels is None
    split.label[:] = 1
    assert ProbedImages.of_splits({"train": split, "val": images(6)}, 0).labels is None  # of one class
