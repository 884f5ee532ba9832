"""`ssl embed`: images into codes, as a table and a map."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from omegaconf import OmegaConf
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import ssl_cli
from ssl_cli.commands.reconstruct.finished import ImageRun
from ssl_cli.commands.reconstruct.latent_plots import label_ids, project_to_plane
from ssl_cli.config.instantiate import build
from ssl_cli.errors import InputError
from ssl_cli.runs.digests import write_digests
from tests.commands.conftest import Finished
from tests.conftest import Cli


def table(folder: str | Path) -> pa.Table:
    return pyarrow.parquet.read_table(Path(folder) / "codes.parquet")


def numbers(found: pa.Table) -> np.ndarray:
    return np.stack(found["code"].to_numpy())


def digits() -> np.ndarray:
    """(1797, 1, 8, 8) uint8"""
    return np.round(load_digits().images * (255 / 16)).astype(np.uint8)[:, None]


def idx(path: Path, values: np.ndarray) -> None:
    """A file in MNIST's layout."""
    with gzip.open(path, "wb") as file:
        file.write(struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes())


@pytest.fixture
def mnist(tmp_path: Path) -> Path:
    """MNIST's four files, with images of 8 x 8: the folder that holds them."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "mine" / "mnist"
    folder.mkdir(parents=True)
    for part, n in (("train", 20), ("t10k", 6)):
        idx(folder / f"{part}-images-idx3-ubyte.gz", rng.integers(0, 256, (n, 8, 8), np.uint8))
        idx(folder / f"{part}-labels-idx1-ubyte.gz", rng.integers(0, 10, n).astype(np.uint8))
    return folder


@pytest.mark.figures
def test_the_data_of_the_run_in_its_splits(cli: Cli, finished: Finished) -> None:
    run = finished("ae", "seed=5")
    code, out, err = cli("embed", "output=new", "map=pca", "seed=9")  # which does not change the splits
    assert code == 0 and err == "", err
    assert "embed data=digits, as in the run, with" in out and "each a code of 4 numbers" in out
    assert sorted(path.name for path in Path("new").iterdir()) == ["codes.parquet", "map.png"]
    found, x, loaded = table("new"), digits(), ssl_cli.load(run)
    types = {"row": pa.int64(), "split": pa.string(), "name": pa.string(), "label": pa.string()}
    assert dict(zip(found.schema.names, found.schema.types, strict=True)) == types | {"code": pa.list_(pa.float32(), 4)}
    assert found["row"].to_pylist() == list(range(1797))
    assert found["name"].null_count == 1797
    assert found["label"].to_pylist() == [str(label) for label in load_digits().target]
    np.testing.assert_array_equal(numbers(found), loaded.embed(x))
    splits = build(loaded.config.data).image_splits(5).splits
    for name, split in splits.items():
        assert [row for row, of in enumerate(found["split"].to_pylist()) if of == name] == split.row.tolist()
    assert Image.open("new/map.png").size > (400, 400)


@pytest.mark.parametrize(("model", "places", "alphabet"), [("binary_ae", 6, 2), ("vqvae", 16, 8)])
def test_discrete_codes_too(
    cli: Cli, finished: Finished, pictures: Path, model: str, places: int, alphabet: int
) -> None:
    run = ssl_cli.load(finished(model))
    code, out, err = cli("embed", f"input={pictures}", "output=new")
    assert code == 0, err
    assert f"and {places} discrete codes" in out
    found = table("new")
    assert found.schema.field("codes").type == pa.list_(pa.int32())
    codes = np.array(found["codes"].to_pylist())
    np.testing.assert_array_equal(codes, run.codes(run.read(pictures)[1]))
    assert codes.shape == (3, places) and codes.min() >= 0 and codes.max() < alphabet


def test_image_files(cli: Cli, finished: Finished, pictures: Path) -> None:
    run = ssl_cli.load(finished("vae"))
    code, out, err = cli("embed", f"input={pictures}", "output=new")
    assert code == 0
    assert "1 of 4 files can't be read, rejects.csv has the reasons: broken.png: " in err
    assert "3 images, 1 rejected, each a code of 2 numbers" in out
    found = table("new")
    assert found["name"].to_pylist() == ["a.jpg", "a.png", "more/b.png"] and found["row"].to_pylist() == [0, 1, 2]
    assert found["split"].null_count == found["label"].null_count == 3
    np.testing.assert_array_equal(numbers(found), run.embed(run.read(pictures)[1]))
    assert Path("new/rejects.csv").read_text().splitlines()[0] == "name,reason"
    code, out, _ = cli("embed", f"input={pictures / 'a.png'}")  # alone as among others
    assert code == 0
    np.testing.assert_array_equal(numbers(table(out.splitlines()[-1])), numbers(found)[1:2])


def test_another_data_set(cli: Cli, finished: Finished, mnist: Path) -> None:
    run = finished("ae")
    code, out, err = cli("embed", "data=mnist", f"data.dir={mnist}", "data.val=0.25", "output=new")
    assert code == 0, err
    assert "embed data=mnist with" in out and "26 images" in out
    assert table("new")["split"].to_pylist()[20:] == ["test"] * 6
    assert table("new")["split"].to_pylist()[:20].count("val") == 5
    assert cli("embed", f"run={run}", "data=mnist", f"paths.data={mnist.parent}", "output=other")[0] == 0
    np.testing.assert_array_equal(numbers(table("other")), numbers(table("new")))


def test_the_same_seed_gives_the_same_bytes(cli: Cli, finished: Finished, pictures: Path) -> None:
    finished("ae")
    for name in ("one", "again"):
        assert cli("embed", f"input={pictures}", f"output={name}")[0] == 0
    for name in ("codes.parquet", "map.png"):
        assert Path("one", name).read_bytes() == Path("again", name).read_bytes()


def test_data_that_have_changed_since(cli: Cli, finished: Finished, mnist: Path) -> None:
    run = finished("ae")
    config = OmegaConf.load(run / "config.yaml")
    config.data = {"_target_": "ssl_cli.data.images.datasets.Mnist", "dir": str(mnist), "val": 0.05}
    OmegaConf.save(config, run / "config.yaml")
    write_digests(run)
    code, _, err = cli("embed", "output=new")
    assert code == 0 and f"the data have changed since {run} was made" in err


# --- the map ------------------------------------------------------------------------------------------------


def test_points_by_pca_are_scikit_learns() -> None:
    codes = np.random.default_rng(0).normal(size=(50, 7)) * [5, 3, 1, 1, 1, 1, 1]
    found, method, axes = project_to_plane(codes, "pca", 0)
    share = PCA(2).fit(codes).explained_variance_ratio_
    assert (method, axes[1]) == ("pca", f"second component ({share[1]:.0%})")
    np.testing.assert_allclose(np.abs(found), np.abs(PCA(2).fit_transform(codes)), atol=1e-9)


def test_points_by_tsne_keep_groups_together() -> None:
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1, 2], 20)
    found, method, _ = project_to_plane(rng.normal(size=(60, 9)) + 20 * np.eye(9)[group], "tsne", 0)
    assert method == "tsne" and found.shape == (60, 2)
    distance = np.linalg.norm(found[:, None] - found[None], axis=2) + np.where(np.eye(60), np.inf, 0)
    assert (group[distance.argmin(1)] == group).all()


@pytest.mark.parametrize(("n", "width"), [(1, 5), (2, 1), (30, 1), (3, 5)])
def test_codes_too_few_for_a_map(n: int, width: int) -> None:
    found, method, _ = project_to_plane(np.random.default_rng(0).normal(size=(n, width)), "tsne", 0)
    assert found.shape == (n, 2) and np.isfinite(found).all()
    assert method == ("tsne" if n == 30 else "pca")


def test_codes_that_are_all_the_same_or_points_already() -> None:
    assert project_to_plane(np.ones((40, 5)), "tsne", 0)[1] == "pca"
    points = np.random.default_rng(0).normal(size=(40, 2))
    np.testing.assert_array_equal(project_to_plane(points, "code", 0)[0], points)


def test_labels_are_numbered_in_order() -> None:
    classes, label = label_ids([*map(str, range(12)), None])
    assert classes == [*map(str, range(12))] and label.tolist() == [*range(12), -1]
    classes, label = label_ids(["dog", "elephant", "cat", "dog"])
    assert classes == ["cat", "dog", "elephant"] and label.tolist() == [1, 2, 0, 1]
    assert label_ids([None, None])[0] == []


# --- errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data=digits", "input=x"], "data= and input= both give images to embed"),
        (["data.val=0.1"], "data.val is an option of a data set: set data=NAME too."),
        (["data=digts"], "data=digts is not a choice. Did you mean digits?"),
        (["data=digits", "data.vla=0.1"], "data.vla is not an option. Did you mean val?"),
        (["data=digits", "data.val=2"], "data.val must be a number"),
        (["data=breast_cancer"], "ssl embed can't use data=breast_cancer; it can use "),
        (["data=fsdd"], "reads images, which data=fsdd has not; cifar10, digits, fashion_mnist, images, mnist have."),
        (["map=umap"], "map must be one of tsne, pca"),
        (["model=ae"], "model is not an option of ssl embed."),
        (["input=gone"], "gone is neither a file nor a folder"),
    ],
)
def test_a_bad_option(cli: Cli, finished: Finished, words: list[str], sentence: str) -> None:
    finished("ae")
    code, _, err = cli("embed", *words, "output=new")
    assert code == 2 and sentence in err, err
    assert not Path("new").exists()


def test_images_of_another_shape(cli: Cli, finished: Finished, mnist: Path) -> None:
    finished("ae")
    for part in ("train", "t10k"):
        idx(mnist / f"{part}-images-idx3-ubyte.gz", np.zeros((20 if part == "train" else 6, 9, 8), np.uint8))
    code, _, err = cli("embed", "data=mnist", f"data.dir={mnist}", "output=new")
    assert code == 2 and "The images of this data set are 9 x 8 grey, those of outputs/" in err
    assert "8 x 8 grey: choose a data set like the run's, or set input=FOLDER" in err


@pytest.mark.parametrize(
    ("node", "sentence"),
    [
        ({"_target_": "ssl_cli.data.images.datasets.Digits", "val": "much"}, "data.val must be a number"),
        ({"_target_": "ssl_cli.data.tables.datasets.BreastCancer"}, "data"),
        ({"_target_": "os.system", "command": "touch hacked"}, "names os.system, which isn't one of ssl's own classes"),
        ({"_target_": "ssl_cli.data.images.datasets.digest", "x": 1}, "isn't one of ssl's own classes"),
        ({}, "its config names no data set"),
    ],
)
def test_an_untrusted_data_config(cli: Cli, finished: Finished, node: dict, sentence: str) -> None:
    run = finished("ae")
    config = OmegaConf.load(run / "config.yaml")
    config.data = node
    OmegaConf.save(config, run / "config.yaml")
    write_digests(run)
    code, _, err = cli("embed", "output=new")
    assert code == 2 and sentence in err, err
    assert not Path("new").exists() and not Path("hacked").exists()


# --- in Python ----------------------------------------------------------------------------------------------


def test_a_finished_run_in_python(finished: Finished) -> None:
    run = ssl_cli.load(finished("vae"))
    assert isinstance(run, ImageRun) and not run.is_discrete
    x = digits()[:70]
    codes = run.embed(x)
    assert codes.shape == (70, 2) and codes.dtype == np.float32
    np.testing.assert_array_equal(run.decode(codes), run.reconstruct(x))
    np.testing.assert_allclose(run.embed(x / 255), codes, atol=1e-6)  # numbers in 0..1 are images too
    np.testing.assert_array_equal(run.embed(x[:3]), codes[:3])  # exactly: no image depends on its neighbours
    for wrong in (x[:, 0], x[:0], x[..., :7], x.astype(np.int64), x > 9, x / 254, x * np.nan):
        with pytest.raises(InputError, match=r"Images must be (an array \(N, 1, 8, 8\)|bytes)|are no images"):
            run.embed(wrong)
    for wrong in (codes[:, :1], codes[0], codes[:0], codes.astype(int)):
        with pytest.raises(InputError, match=r"Codes must be an array \(N, 2\) of finite numbers"):
            run.decode(wrong)
    with pytest.raises(InputError, match=r"model=vae can't give discrete codes; .*vqvae.* can"):
        run.codes(x)
