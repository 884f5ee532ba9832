"""`ssl reconstruct run=... input=...`: new images, rebuilt by a finished run."""

import csv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from PIL import Image

import ssl_cli
from ssl_cli.commands.reconstruct.apply import png_names
from ssl_cli.errors import InputError
from ssl_cli.evaluation.plots import image_grid
from tests.commands.conftest import Finished
from tests.conftest import Cli


def rows(path: str) -> list[dict[str, str]]:
    with Path(path).open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_image_is_rebuilt_or_rejected(cli: Cli, finished: Finished, pictures: Path) -> None:
    run = finished("ae")
    before = sorted(run.rglob("*"))
    code, out, err = cli("reconstruct", f"run={run}", f"input={pictures}", "output=new")
    assert code == 0, err
    assert "images: 4 in = 3 rebuilt, at 8 x 8 + 1 rejected" in out and out.splitlines()[-1] == "new"
    assert "1 of 4 files can't be read, rejects.csv has the reasons: broken.png: " in err
    made = sorted(path.relative_to("new").as_posix() for path in Path("new").rglob("*.*"))
    assert made == ["a.jpg.png", "a.png", "errors.csv", "more/b.png", "reconstructions.png", "rejects.csv"]
    assert [row["name"] for row in rows("new/rejects.csv")] == ["broken.png"] and rows("new/rejects.csv")[0]["reason"]
    assert sorted(run.rglob("*")) == before and len(list(Path("outputs").glob("*/*/*"))) == 1  # nothing was trained

    loaded = ssl_cli.load(run)
    names, x, _ = loaded.read(pictures)
    found = rows("new/errors.csv")
    assert [row["name"] for row in found] == names == ["a.jpg", "a.png", "more/b.png"]
    for row, image, rebuilt in zip(found, x, loaded.reconstruct(x), strict=True):
        np.testing.assert_array_equal(np.asarray(Image.open(Path("new", row["file"]))), rebuilt[0])
        mse = ((image.astype(float) - rebuilt) ** 2).mean() / 255**2
        assert float(row["mse"]) == pytest.approx(mse, rel=1e-5)
        assert float(row["psnr"]) == pytest.approx(10 * np.log10(1 / mse), rel=1e-5)


def test_the_grid_has_originals_above_rebuilt_images(
    cli: Cli, finished: Finished, pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_grid, "PAIR_COLUMNS", 2)
    run = ssl_cli.load(finished("ae"))
    assert cli("reconstruct", "run=latest", f"input={pictures}", "output=new")[0] == 0
    _, x, _ = run.read(pictures)
    grid = np.asarray(Image.open("new/reconstructions.png"))
    assert grid.shape == (2 + 4 * 66 + 8, 2 + 2 * 66)  # two pairs of rows, with a wider gap between
    for k, (image, rebuilt) in enumerate(zip(x, run.reconstruct(x), strict=True)):
        top, left = 2 + k // 2 * (2 * 66 + 8), 2 + k % 2 * 66
        np.testing.assert_array_equal(grid[top : top + 64 : 8, left : left + 64 : 8], image[0])
        np.testing.assert_array_equal(grid[top + 66 : top + 130 : 8, left : left + 64 : 8], rebuilt[0])


def test_an_image_is_rebuilt_alike_alone_and_among_others(cli: Cli, finished: Finished, pictures: Path) -> None:
    finished("vqvae", "prior_steps=0")  # rebuilding does not need the prior
    assert cli("reconstruct", "run=latest", f"input={pictures}", "output=all")[0] == 0
    code, out, err = cli("reconstruct", "run=latest", f"input={pictures / 'more' / 'b.png'}")
    assert code == 0 and err == "" and "1 in = 1 rebuilt" in out
    alone = Path(out.splitlines()[-1])
    assert alone.parent.parent == Path("outputs/rebuilt")
    assert (alone / "b.png").read_bytes() == Path("all/more/b.png").read_bytes()
    assert rows(str(alone / "rejects.csv")) == []


def test_a_perfect_image_has_no_finite_psnr(cli: Cli, finished: Finished, pictures: Path) -> None:
    run = ssl_cli.load(finished("vae"))
    _, x, _ = run.read(pictures / "a.png")
    for _ in range(500):  # until the model rebuilds the image exactly
        if np.array_equal(again := run.reconstruct(x), x):
            break
        x = again
    else:
        pytest.skip("this model has no fixed point near")
    Image.fromarray(x[0, 0]).save("fixed.png")
    assert cli("reconstruct", "run=latest", "input=fixed.png", "output=new")[0] == 0
    assert rows("new/errors.csv")[0]["psnr"] == "inf" and float(rows("new/errors.csv")[0]["mse"]) == 0


def test_a_zip_writes_nothing_outside_the_folder(cli: Cli, finished: Finished, pictures: Path) -> None:
    finished("ae")
    with zipfile.ZipFile("all.zip", "w") as archive:
        for name in ("../../up.png", "/root.png", "up.png", "in/side.png"):
            archive.write(pictures / "a.png", name)
    code, _, err = cli("reconstruct", "run=latest", "input=all.zip", "output=new")
    assert code == 0, err
    made = {path.relative_to("new").as_posix() for path in Path("new").rglob("*.png")} - {"reconstructions.png"}
    assert {row["file"] for row in rows("new/errors.csv")} == made and len(made) == 4
    assert not list(Path("..").glob("up.png"))


def test_a_link_in_the_output_is_not_followed(cli: Cli, finished: Finished, pictures: Path) -> None:
    finished("ae")
    Path("elsewhere").mkdir()
    Path("new").mkdir()
    Path("new/more").symlink_to(Path("elsewhere").resolve())
    code, _, err = cli("reconstruct", "run=latest", f"input={pictures}", "output=new", "overwrite=true")
    assert code == 2 and "new/more leads out of output=new by a symbolic link" in err
    assert not list(Path("elsewhere").iterdir()) and [path.name for path in Path("new").iterdir()] == ["more"]


@pytest.mark.parametrize(
    ("name", "value"), [("run", "theirs"), ("input", "."), ("output", "mine"), ("overwrite", True), ("trust", "os")]
)
def test_a_saved_config_cannot_set_these_options(cli: Cli, finished: Finished, name: str, value: object) -> None:
    """An untrusted run could otherwise rebuild any file, write anywhere, and trust any code when it is resumed."""
    run = finished("ae")
    config = OmegaConf.load(run / "config.yaml")
    assert not {"run", "input", "output", "overwrite", "trust"} & set(config)
    config[name] = value
    OmegaConf.save(config, run / "config.yaml")
    for words in ([f"resume={run}"], [f"run={run}", "input=x"]):
        code, _, err = cli("reconstruct", *words)
        assert code == 2 and f"config.yaml is damaged: {name} is set, which is for the command line" in err
    with pytest.raises(InputError):
        ssl_cli.load(run)


def test_no_two_images_share_a_name() -> None:
    assert png_names(["a.jpg", "a.png", "b/a.jpeg"]) == ["a.jpg.png", "a.png", "b/a.png"]
    assert png_names(["a.jpg", "a.jpg.png", "a.png"]) == ["a.jpg.2.png", "a.jpg.png", "a.png"]
    assert png_names(["../a.png", "a.png", "/a.png"]) == ["a.png", "a.png.png", "a.png.2.png"]
    assert png_names(["reconstructions.png", "reconstructions.jpg"])[0] == "reconstructions.png.png"
    assert len(set(png_names(["reconstructions.png", "reconstructions.jpg", "reconstructions.png.png"]))) == 3


# --- errors -------------------------------------------------------------------------------------------------


def test_an_output_that_would_touch_the_input(cli: Cli, finished: Finished, pictures: Path) -> None:
    finished("ae")
    before = {path: path.read_bytes() for path in pictures.rglob("*.*")}
    for source, output, sentence in [
        (pictures, pictures, "is the folder of the input"),
        (pictures, pictures / "more" / "..", "is the folder of the input"),
        (pictures, pictures / "new", "lies in the folder of the input"),
        (pictures / "a.png", pictures, "is the folder of the input file"),
    ]:
        words = [f"input={source}", f"output={output}", "overwrite=true"]
        code, _, err = cli("reconstruct", "run=latest", *words)
        assert code == 2 and sentence in err, err
    assert {path: path.read_bytes() for path in pictures.rglob("*.*")} == before


def test_an_output_that_exists(cli: Cli, finished: Finished, pictures: Path) -> None:
    finished("ae")
    words = ["reconstruct", "run=latest", f"input={pictures}", "output=new"]
    assert cli(*words)[0] == 0
    Path("new/a.png").write_bytes(b"old")
    code, _, err = cli(*words)
    assert code == 2 and "output=new exists: name another folder, or set overwrite=true." in err
    assert Path("new/a.png").read_bytes() == b"old"
    assert cli(*words, "overwrite=true")[0] == 0
    assert Path("new/a.png").read_bytes() != b"old"


def test_nothing_to_rebuild(cli: Cli, finished: Finished, pictures: Path) -> None:
    finished("ae")
    Path("empty").mkdir()
    Path("bad").mkdir()
    Path("bad/x.png").write_text("no image")
    for words, sentence in [
        ([], "run=latest is a finished run: set what to rebuild with input=FOLDER."),
        (["input=empty"], "empty holds no image"),
        (["input=gone"], "gone is neither a file nor a folder"),
        (["input=bad"], "bad has no image that can be used: none of its 1 files can be read, such as x.png: "),
    ]:
        code, _, err = cli("reconstruct", "run=latest", *words, "output=new")
        assert code == 2 and sentence in err, err
        assert not Path("new").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            ["run=latest", "model=vae"],
            "model: no effect with run=, which trains nothing. Options with run=: escape_formulas, input, output, ",
        ),
        (["run=latest", "seed=1", "data.val=0.1"], "seed, data.val: no effect with run="),
        (["run=latest", "trainer.max_epochs=null"], "trainer.max_epochs: no effect with run="),
        (["run=latest", "resume=null"], "resume: no effect with run="),
        (["-m", "run=a,b"], "run= uses a finished run and trains nothing to compare: leave out -m."),
        (["input=x"], "input: only with run=RUN, a finished run; without run= a new one is trained."),
        (["run=null", "overwrite=true"], "overwrite: only with run=RUN"),
        (["run=latest", "input=[a]"], "input must be a path or null"),
    ],
)
def test_options_without_effect(cli: Cli, words: list[str], sentence: str) -> None:
    code, _, err = cli("reconstruct", *words)
    assert code == 2 and sentence in err, err
