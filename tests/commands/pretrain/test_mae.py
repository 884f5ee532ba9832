"""ssl pretrain model=mae: from images to a finished run that can be loaded, embedded with and resumed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import ssl_cli
from tests.conftest import Cli

SMALL = ["model.network.layers=1", "model.network.width=16", "model.network.heads=2", "model.decoder_width=8"]
QUICK = ["trainer=cpu", "trainer.max_steps=4", "trainer.batch_size=16", "trainer.validate_every_n_steps=2"]
WORDS = ["pretrain", "model=mae", "data=digits", *SMALL, *QUICK]


def run(cli: Cli, *words: str) -> Path:
    code, out, err = cli(*WORDS, *words)
    assert code == 0, err
    return Path(out.strip().splitlines()[-1])


def test_a_finished_run_can_be_loaded(cli: Cli) -> None:
    folder = run(cli)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert 0 < metrics["val/loss"] < 3
    assert {"test/knn_accuracy", "test/random_linear_accuracy", "val/effective_rank"} <= set(metrics)
    assert not {"val/alignment", "val/uniformity"} & set(metrics), "it compares no views"
    assert (folder / "figures" / "views.png").stat().st_size > 0
    again = ssl_cli.load(folder)
    images = np.random.default_rng(0).integers(256, size=(3, 1, 8, 8)).astype(np.uint8)
    vectors = again.embed(images)
    assert vectors.shape == (3, 16)
    with torch.inference_mode():
        np.testing.assert_allclose(again.model.network(torch.from_numpy(images) / 255).numpy(), vectors, atol=1e-5)
    assert cli("embed", f"run={folder}", "output=codes")[0] == 0
    assert Path("codes/codes.parquet").stat().st_size > 0


def test_a_resumed_run_is_the_same_as_an_uninterrupted_one(cli: Cli) -> None:
    words = ["optim.schedule=constant", "probes=false"]
    whole, part = run(cli, *words), run(cli, *words, "trainer.max_steps=2")
    code, _, err = cli("pretrain", f"resume={part}", "trainer.max_steps=4")
    assert code == 0, err
    mine, theirs = load_file(whole / "model.safetensors"), load_file(part / "model.safetensors")
    assert set(mine) == set(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_what_the_model_will_see_is_drawn(cli: Cli) -> None:
    code, out, err = cli(*WORDS, "show=batch")
    assert code == 0, err
    assert "image, view, what the encoder sees, the view rebuilt from it" in out
    (drawn,) = Path("outputs").rglob("*.*")
    assert f"{drawn}: " in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model.network.patch=3"], "model.network.patch must divide both sides, as 1, 2, 4 do."),
        (["model.network.patch=1"], "set model.norm_pixels=false, or a larger patch."),
        (["model.mask_ratio=1.0"], "model.mask_ratio must be a number above 0 and below 1"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_a_sentence(cli: Cli, words: list[str], sentence: str) -> None:
    code, _, err = cli(*WORDS, *words)
    assert (code, err.count("\n")) == (2, 1)
    assert sentence in err
    assert not Path("outputs").exists()
