"""Figures: each is drawn for every kind of model that has it."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from ssl_cli.commands.reconstruct import figures
from ssl_cli.commands.reconstruct.predictions import ModelOutputs, model_outputs
from ssl_cli.data.images.datasets import ImageData, ImageSplit
from ssl_cli.runs.csv_files import write_csv
from tests.commands.reconstruct.conftest import SMALL, OutputsOf, make_model, train_model

ALWAYS = {"reconstructions", "samples", "map_pca", "map_tsne"}
OF_NUMBERS = {"interpolations", "traversals"}
OWN = {
    **{name: OF_NUMBERS for name in ("ae", "beta_vae", "dbn_ae", "pca", "vae")},
    "dae": OF_NUMBERS | {"denoising"},
    "conv_ae": OF_NUMBERS | {"map_code", "map_plane"},  # its code has two numbers
    "binary_ae": {"codebook"},
    "onehot_ae": {"codebook", "code_means"},
    "vqvae": {"codebook", "code_grids"},
}


def drawn(folder: Path, outputs: dict[str, ModelOutputs], classes: list[str]) -> set[str]:
    """Return the names of the figures, after checking that each returned one is a file, and none is blank."""
    (folder / "figures").mkdir()
    returned = figures.draw(folder, outputs, classes, seed=0)
    files = {path.name for path in (folder / "figures").iterdir()}
    assert [figure.name for figure in returned] == list(dict.fromkeys(figure.name for figure in returned))
    assert files == {figure.name for figure in returned} and all(figure.caption.endswith(".") for figure in returned)
    for name in files:
        assert plt.imread(folder / "figures" / name)[..., :3].std() > 0.03, name
    return {name.removesuffix(".png") for name in files}


@pytest.mark.parametrize("name", sorted(SMALL))
def test_grey_images(tmp_path: Path, outputs_of: OutputsOf, digits: ImageData, name: str) -> None:
    assert drawn(tmp_path, outputs_of(name), digits.classes) == ALWAYS | OWN[name]


@pytest.mark.parametrize("name", ["conv_ae", "vqvae", "onehot_ae", "dae"])
def test_colour_images_without_labels(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    x = (rng.integers(0, 256, (40, 3, 1, 1)) * np.linspace(0.5, 1, 9)[:, None]).repeat(7, axis=3).astype(np.uint8)
    options = {"deform.turn": 0.0} if name == "onehot_ae" else {}
    model = train_model(make_model(name, [3, 9, 7], **options), x, steps=20)
    splits = {
        name: ImageSplit(x[rows], None, rows) for name, rows in (("train", np.arange(30)), ("test", np.arange(10)))
    }
    assert drawn(tmp_path, model_outputs(model, ImageData(splits, [], "")), []) == ALWAYS | OWN[name]


def test_curves_of_the_model_and_of_the_prior(tmp_path: Path, outputs_of: OutputsOf, digits: ImageData) -> None:
    rows = [{"step": k, "train/loss": 1 / k, "val/loss": 2 / k, "val/perplexity": 3.0 * k} for k in range(1, 5)]
    rows = [row | {"val/knn_accuracy": 0.2 * row["step"], "val/effective_rank": 3.0} for row in rows]  # live probes
    (tmp_path / "prior").mkdir()
    write_csv(tmp_path / "history.csv", list(rows[0]), rows)
    write_csv(tmp_path / "prior" / "history.csv", list(rows[0])[:3], [{k: r[k] for k in list(r)[:3]} for r in rows])
    curves = {"training", "probes", "perplexity", "training_prior"}
    assert drawn(tmp_path, outputs_of("vqvae"), digits.classes) == ALWAYS | OWN["vqvae"] | curves


def test_an_unfitted_prior_draws_nothing(tmp_path: Path, outputs_of: OutputsOf, digits: ImageData) -> None:
    outputs = outputs_of("vqvae")
    model = outputs["test"].model
    model.prior_is_fitted.fill_(False)
    assert "samples" not in drawn(tmp_path, outputs, digits.classes)
    model.prior_is_fitted.fill_(True)


def test_few_images(tmp_path: Path, outputs_of: OutputsOf, digits: ImageData) -> None:
    outputs = {name: split_outputs.take(np.arange(3)) for name, split_outputs in outputs_of("ae").items()}
    assert drawn(tmp_path, outputs, digits.classes) == {"reconstructions", "samples", *OF_NUMBERS}


def test_the_same_seed_draws_the_same(tmp_path: Path, outputs_of: OutputsOf, digits: ImageData) -> None:
    images = []
    for k in range(2):
        np.random.rand(k)
        folder = tmp_path / str(k)
        folder.mkdir()
        drawn(folder, outputs_of("dae"), digits.classes)
        images.append({path.name: path.read_bytes() for path in (folder / "figures").iterdir()})
    assert images[0] == images[1]
