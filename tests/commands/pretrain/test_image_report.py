"""The report of a run on images: collapse warnings, what the loss means, the table of probes, and figures."""

from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image

from ssl_cli.commands.pretrain import image_report
from ssl_cli.commands.pretrain.image_report import (
    collapse_warnings,
    draw_neighbours,
    draw_pictures,
    evenly_spaced,
    loss_note,
    probe_table,
)
from ssl_cli.data.images.augment import Augment
from ssl_cli.data.images.datasets import ImageData, ImageSplit
from ssl_cli.methods.contrastive.byol import BYOL
from ssl_cli.methods.contrastive.joint_embedding import JointEmbedding
from ssl_cli.methods.contrastive.losses import NTXent, SIGRegLoss
from ssl_cli.models.resnet import ResNet
from ssl_cli.training.live_probes import ProbedImages, live_metrics


def images(n: int) -> ImageSplit:
    """Images of four squares each."""
    x = np.random.default_rng(0).integers(0, 256, (n, 1, 2, 2), np.uint8).repeat(4, 2).repeat(4, 3)
    return ImageSplit(x, np.arange(n) % 3, np.arange(n))


def simclr(width: int = 8) -> JointEmbedding:
    torch.manual_seed(0)
    return JointEmbedding(ResNet([1, 8, 8], [width], [1], "3x3"), NTXent(), Augment(crop=0.5), [4])


def row_of(model: torch.nn.Module) -> dict[str, float]:
    """Return a row of the history of this model."""
    found = live_metrics(model.eval(), ProbedImages.of_splits({"train": images(20), "val": images(10)}, 0), 0)
    return {f"val/{name}": value for name, value in found.items()}


def test_constant_vectors_give_a_warning_and_others_none() -> None:
    model = simclr()
    assert collapse_warnings([row_of(model)], model) == []
    with torch.no_grad():
        for name, value in model.network.named_parameters():
            if name.endswith("bn1.weight") or name.endswith("bn2.weight"):
                value.zero_()  # what remains is a constant, the bias
            if name.endswith("bn1.bias"):
                value.fill_(1.0)
    constant = row_of(model)
    (warning,) = collapse_warnings([row_of(simclr()), constant], model)
    assert warning.name == "collapsed vectors"
    assert "use 1.0 of 8 directions" in warning.text and "0.00 (0 is one point)" in warning.text
    assert "model=simclr" not in warning.text and "or a larger trainer.batch_size, which brings more" in warning.text


@pytest.mark.parametrize(
    ("rank", "uniformity", "is_collapsed"),
    [(20.0, -2.0, False), (20.0, -0.4, True), (1.4, -2.0, True), (4.9, -2.0, True), (5.1, -2.0, False)],
)
def test_few_directions_or_one_point_is_collapse(rank: float, uniformity: float, is_collapsed: bool) -> None:
    network = ResNet([1, 8, 8], [100], [1], "3x3")
    row = {"val/effective_rank": rank, "val/uniformity": uniformity}
    warnings = collapse_warnings([row], BYOL(network, Augment()))
    assert len(warnings) == is_collapsed
    assert all("or model=simclr, whose negatives push vectors apart." in warning.text for warning in warnings)


def test_lejepa_has_a_remedy_of_its_own() -> None:
    lejepa = JointEmbedding(ResNet([1, 8, 8], [100], [1], "3x3"), SIGRegLoss(), Augment())
    (warning,) = collapse_warnings([{"val/effective_rank": 1.2, "val/uniformity": -0.1}], lejepa)
    assert warning.text.endswith("optim.lr, or a larger model.loss.gaussian_weight, which spreads vectors.")


def test_without_live_probes_there_is_no_warning() -> None:
    assert collapse_warnings([], simclr()) == []
    assert collapse_warnings([{"val/loss": 2.0}], simclr()) == []


def test_the_note_says_what_the_loss_and_the_probes_did() -> None:
    rows = [{"val/loss": 4.9, "val/knn_accuracy": 0.31}, {"val/loss": 5.1, "val/knn_accuracy": 0.5}]
    note = loss_note([{"val/loss": 9.0}, *rows])
    assert "does not measure how good the vectors are" in note and "It cannot reach 0" in note
    assert note.endswith("val/loss went from 4.9 to 5.1, and the accuracy of neighbours from 31.0% to 50.0%.")
    for few in ([], rows[:1], [{"val/loss": 4.0}] * 3):
        assert loss_note(few).endswith("Judge a run by the live probes.")


def test_the_table_has_a_row_for_each_feature_and_a_column_for_each_probe() -> None:
    run = {"knn_accuracy": 0.5, "linear_accuracy": 0.625, "effective_rank": 7.0}
    columns, rows = probe_table({"run": run, "pixels": {"knn_accuracy": 0.25}})
    assert columns == ["accuracy of a probe", "20 neighbours", "linear, all labels"]
    assert rows == [["this run", "50.0%", "62.5%"], ["pixels", "25.0%", ""]]


def test_pictures_are_images_above_their_views(tmp_path: Path) -> None:
    model, data = simclr().eval(), ImageData({"train": images(30), "test": images(5)}, list("abc"), "")
    model.augment = Augment()
    assert draw_pictures(tmp_path / "views.png", model, data, 0) == ["image", "view 1", "view 2"]
    drawn = np.asarray(Image.open(tmp_path / "views.png"))
    rows = [drawn[top : top + 64, 2:66] for top in (2, 68, 134)]
    assert np.array_equal(rows[0], np.kron(data.splits["train"].x[0, 0], np.ones((8, 8), np.uint8)))
    assert np.array_equal(rows[0], rows[1]) and np.array_equal(rows[0], rows[2])


def test_neighbours_stand_beside_their_image_nearest_first() -> None:
    train, test = images(20).x, images(3).x
    angles = np.linspace(0, 1, 20)
    of_train = np.stack([np.cos(angles), np.sin(angles)], 1) * np.linspace(1, 9, 20)[:, None]
    with mock.patch.object(image_report.image_grid, "lines") as lines:
        draw_neighbours(Path("n.png"), test, np.array([[1.0, 0.0], [0.0, 1.0], [5.0, 0.1]]), train, of_train)
    _, first, others = lines.call_args.args
    assert np.array_equal(first, test)
    assert np.array_equal(others[0], train[:8]) and np.array_equal(others[1], train[:11:-1])


def test_rows_are_spread_over_all() -> None:
    assert evenly_spaced(np.arange(101), 3).tolist() == [0, 50, 100]
    assert evenly_spaced(np.arange(4), 9).tolist() == [0, 1, 2, 3]
