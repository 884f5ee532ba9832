"""ssl pretrain on images: from images to a finished run, its files, how it is used, and its error messages."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pytest
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits

import ssl_cli
from ssl_cli.runs.folder import read_history
from tests.conftest import Cli, run_here

SMALL = ["model.network.widths=[8,16]", "model.network.depths=[1,1]", "model.network.stem=3x3"]
QUICK = ["trainer=cpu", "trainer.batch_size=64", "trainer.max_steps=20", "trainer.validate_every_n_steps=10"]
SIMCLR = ["pretrain", "model=simclr", "data=digits", *SMALL, *QUICK]
FEW = [*SIMCLR, "trainer.max_steps=2", "trainer.validate_every_n_steps=2"]
LIVE = {"val/loss", *(f"val/{name}" for name in ("knn_accuracy", "linear_accuracy", "effective_rank"))}
LIVE |= {"val/alignment", "val/uniformity", "val/pair_accuracy"}
PROBES = {"knn_accuracy", "linear_accuracy", "linear_accuracy_100", "linear_accuracy_1000"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run, which tests must not change."""
    home = tmp_path_factory.mktemp("simclr")
    done = run_here(*SIMCLR, cwd=home)
    assert done.returncode == 0, done.stderr
    return home / done.stdout.strip().splitlines()[-1]


@pytest.fixture
def copied(finished: Path, workdir: Path) -> Path:
    """A copy of the finished run, in the outputs of an empty working directory."""
    folder = Path("outputs/pretrain") / finished.parent.name / finished.name
    shutil.copytree(finished, folder)
    return folder


def digits() -> np.ndarray:
    """Return images (N, 1, 8, 8) uint8."""
    return np.round(load_digits().images * (255 / 16)).astype(np.uint8)[:, None]


# --- what a run leaves ----------------------------------------------------------------------------------------


def test_the_metrics_are_of_live_probes_and_of_probes_beside_other_features(finished: Path) -> None:
    metrics = json.loads((finished / "metrics.json").read_text())
    of_network = PROBES | {"effective_rank"}
    wanted = {f"test/{name}" for name in of_network} | {f"test/random_{name}" for name in of_network}
    assert set(metrics) == LIVE | wanted | {f"test/pixels_{name}" for name in PROBES} | {"train/images_per_s"}
    assert all(0.2 < metrics[f"test/{of}knn_accuracy"] < 1 for of in ("", "random_", "pixels_"))


def test_the_history_has_a_row_for_each_validation(finished: Path) -> None:
    rows = read_history(finished / "history.csv")
    assert [row["step"] for row in rows] == [10, 20]
    assert all(row.keys() >= LIVE | {"train/loss", "lr", "train/images_per_s"} for row in rows)
    metrics = json.loads((finished / "metrics.json").read_text())
    assert {name: rows[-1][name] for name in LIVE} == {name: metrics[name] for name in LIVE}


def test_the_report_has_the_probes_what_the_loss_means_and_the_figures(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    for words in ("this run", "untrained network", "pixels", "20 neighbours", "linear, 100 labels"):
        assert words in page
    assert "does not measure how good the vectors are" in page and "the accuracy of neighbours from" in page
    for name in ("training", "views", "neighbours", "map"):
        assert f"figures/{name}.png" in page and (finished / "figures" / f"{name}.png").exists()


def test_options_of_text_are_not_in_the_config(finished: Path) -> None:
    saved = (finished / "config.yaml").read_text()
    assert not [name for name in ("tokenizer", "val_tokens", "eval_tokens") if f"{name}:" in saved]
    assert finished.parent.name == "simclr-digits"


# --- how it is used -------------------------------------------------------------------------------------------


def test_a_reloaded_run_gives_the_same_vectors(copied: Path) -> None:
    images = digits()[:70]
    vectors = ssl_cli.load(copied).embed(images)
    assert vectors.shape == (70, 16) and vectors.dtype == np.float32
    np.testing.assert_array_equal(ssl_cli.load("latest").embed(images), vectors)
    np.testing.assert_allclose(ssl_cli.load(copied).embed(images[3:4]), vectors[3:4], rtol=1e-5, atol=1e-6)


def test_images_are_embedded_into_a_table_and_a_map(cli: Cli, copied: Path) -> None:
    code, _, err = cli("embed", f"run={copied}", "output=codes", "map=pca")
    assert code == 0, err
    table = pyarrow.parquet.read_table("codes/codes.parquet")
    assert len(table) == len(digits()) and set(table["split"].to_pylist()) == {"train", "val", "test"}
    vectors = ssl_cli.load(copied).embed(digits())
    np.testing.assert_allclose(np.stack(table["code"].to_numpy()), vectors, rtol=1e-5, atol=1e-6)
    assert Path("codes/map.png").exists()


def test_other_verbs_say_what_the_run_lacks(cli: Cli, copied: Path) -> None:
    for words in (["fill", "text=hello"], ["generate", "n=2"], ["reconstruct", "input=images", "output=new"]):
        code, _, err = cli(words[0], f"run={copied}", *words[1:])
        assert (code, err.count("\n"), err.startswith("error: ")) == (2, 1, True), err


def test_a_repeated_run_is_skipped_and_listed(cli: Cli, copied: Path) -> None:
    code, out, err = cli(*SIMCLR, "sweep.skip_done=true")
    assert code == 0, err
    assert out.strip().splitlines()[-1] == str(copied)
    listed = cli("list", "runs")[1]
    assert "simclr-digits" in listed and "test/knn_accuracy" in listed


def test_a_resumed_run_is_the_same_as_an_uninterrupted_one(cli: Cli) -> None:
    words = [*FEW, "optim.schedule=constant", "probes=false"]
    whole, part = run(cli, *words, "trainer.max_steps=4"), run(cli, *words)
    code, _, err = cli("pretrain", f"resume={part}", "trainer.max_steps=4")
    assert code == 0, err
    mine, theirs = (load_file(folder / "model.safetensors") for folder in (whole, part))
    assert mine.keys() == theirs.keys() and all(mine[name].equal(theirs[name]) for name in mine)


def run(cli: Cli, *words: str) -> Path:
    code, out, err = cli(*words)
    assert code == 0, err
    return Path(out.strip().splitlines()[-1])


# --- before a run ---------------------------------------------------------------------------------------------


def test_a_batch_is_drawn_into_a_new_folder_and_nothing_is_trained(cli: Cli) -> None:
    Path("batch.png").write_text("mine")
    drawn = []
    for _ in range(2):
        code, out, err = cli(*SIMCLR, "show=batch")
        assert code == 0, err
        place, captions = out.strip().splitlines()[-1].split(": ")
        assert captions == "from the top image, view 1, view 2"
        drawn.append(Path(place))
    assert drawn[0] != drawn[1] and Path("batch.png").read_text() == "mine"
    assert sorted(Path("outputs").rglob("*.*")) == sorted(drawn)
    assert drawn[0].is_relative_to("outputs/show/simclr-digits")
    sizes = {Image.open(path).size for path in drawn}
    assert sizes == {(2 + 10 * 66, 2 + 3 * 66)}


def test_live_probes_and_baselines_may_be_left_out(cli: Cli) -> None:
    metrics = json.loads((run(cli, *FEW, "probes=false") / "metrics.json").read_text())
    assert set(metrics) == {"val/loss", "val/pair_accuracy", "train/images_per_s"}
    metrics = json.loads((run(cli, *FEW, "baselines=false") / "metrics.json").read_text())
    assert "test/knn_accuracy" in metrics and not [name for name in metrics if "random" in name or "pixels" in name]


def test_without_labels_nothing_is_classified_and_with_none_held_out_it_is_said(cli: Cli, workdir: Path) -> None:
    folder = workdir / "pictures"
    folder.mkdir()
    for k, image in enumerate(digits()[:80]):
        Image.fromarray(image[0]).save(folder / f"{k:02}.png")
    words = ["data=images", f"data.dir={folder}", "data.size=8", "data.val=0", "trainer.batch_size=16"]
    code, out, err = cli(*FEW, *words)
    assert code == 0, err
    assert "no labels of two classes: the probes measure how the vectors are spread, and no accuracy" in out
    assert "no image is held out: the metrics of val are those of training; data.val=0.05 holds some out" in err
    metrics = json.loads((Path(out.strip().splitlines()[-1]) / "metrics.json").read_text())
    assert {"val/effective_rank", "val/alignment", "val/uniformity"} <= set(metrics)
    assert [name for name in metrics if name.startswith("test/") or "accuracy" in name] == ["val/pair_accuracy"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["trainer.batch_size=1"],
            "images of a batch with each other: trainer.batch_size must be 2 or more, better 256, not 1",
        ),
        (
            ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=3"],
            "trainer.batch_size=64 must be a multiple of the 3",
        ),
        (["data.val=0.0008"], "and data.val=0.0008 holds out one: hold out 2 or more, or none."),
        (
            ["model.network.widths=[8,8,8,8,8]", "model.network.depths=[1,1,1,1,1]"],
            "Images of 8 x 8 pixels are too small",
        ),
        (["model.views=3"], "model.views=3: NTXent is of two views; only SIGRegLoss takes more."),
        (["tokenizer=bpe"], "tokenizer is for text, and data=digits holds images: leave it out"),
        (["val_tokens=99"], "val_tokens is for text"),
        (["model=bert"], "model=bert reads ids, but data=digits gives x"),
    ],
)
def test_what_does_not_fit_is_refused_in_a_sentence(cli: Cli, words: list[str], sentence: str) -> None:
    keep = [word for word in FEW if not (words == ["model=bert"] and word.startswith("model."))]
    code, _, err = cli(*keep, *words)
    assert (code, err.count("\n")) == (2, 1), err
    assert sentence in err
    assert not Path("outputs").exists()
