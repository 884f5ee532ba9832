"""`ssl generate`: a finished run generates images."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file, save_file

import ssl_cli
from ssl_cli.errors import InputError
from ssl_cli.evaluation.plots import image_grid
from ssl_cli.runs.digests import write_digests
from tests.commands.conftest import Finished
from tests.conftest import QUICK, Cli


def drawn(folder: str | Path) -> np.ndarray:
    with np.load(Path(folder) / "samples.npz") as file:
        return file["x"]


@pytest.mark.parametrize("model", ["ae", "vae", "binary_ae", "vqvae"])
def test_the_same_seed_gives_the_same_bytes(cli: Cli, finished: Finished, model: str) -> None:
    finished(model)
    for name, seed in (("one", 3), ("again", 3), ("other", 4)):
        code, out, err = cli("generate", "n=5", f"seed={seed}", f"output={name}")
        assert code == 0, err
        assert out.splitlines()[-1] == name
    assert drawn("one").shape == (5, 1, 8, 8) and drawn("one").dtype == np.uint8
    for name in ("samples.npz", "samples.png"):
        assert Path("one", name).read_bytes() == Path("again", name).read_bytes()
    assert (drawn("one") != drawn("other")).any()
    assert len(np.unique(drawn("one"), axis=0)) > 1
    assert sorted(path.name for path in Path("one").iterdir()) == ["samples.npz", "samples.png"]


def test_fewer_images_are_the_first_of_more(finished: Finished) -> None:
    run = ssl_cli.load(finished("vae"))
    np.testing.assert_array_equal(run.generate(3, seed=1), run.generate(70, seed=1)[:3])


def test_the_grid_shows_each_image_pixel_by_pixel(cli: Cli, finished: Finished) -> None:
    finished("vae")
    assert cli("generate", "n=5", "output=new")[0] == 0
    grid = np.asarray(Image.open("new/samples.png"))
    assert grid.shape == (2 * 66 + 2, 3 * 66 + 2)  # two rows of three, each pixel 8 wide, 2 between
    for k, image in enumerate(drawn("new")):
        top, left = 2 + k // 3 * 66, 2 + k % 3 * 66
        np.testing.assert_array_equal(grid[top : top + 64 : 8, left : left + 64 : 8], image[0])
    assert (grid[68:, 134:] == image_grid.BACKGROUND).all()  # the place of a sixth


def test_it_says_how_many_a_large_grid_shows(cli: Cli, finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_grid, "MAX_IMAGES", 9)
    finished("ae")
    code, out, _ = cli("generate", "n=12", "output=new")
    assert code == 0 and "12 images of 8 x 8 (samples.png shows the first 9)" in out
    assert drawn("new").shape[0] == 12 and Image.open("new/samples.png").size == (200, 200)


def test_without_output_a_new_folder_is_made(cli: Cli, finished: Finished) -> None:
    run = finished("ae")
    places = [cli("generate", "n=2")[1].splitlines()[-1] for _ in range(2)]
    assert len(set(places)) == 2
    assert {Path(place).parent for place in places} == {Path("outputs/generate") / run.name}
    assert cli("list", "runs")[1].count(run.name) == 1  # the output is no run


# --- errors -------------------------------------------------------------------------------------------------


def test_an_output_that_exists(cli: Cli, finished: Finished) -> None:
    finished("ae")
    Path("new").mkdir()
    Path("new/kept.txt").write_text("mine")
    assert "output=new exists: name another folder, or set overwrite=true." in cli("generate", "output=new")[2]
    assert [path.name for path in Path("new").iterdir()] == ["kept.txt"]
    assert cli("generate", "n=2", "output=new", "overwrite=true")[0] == 0
    assert Path("new/kept.txt").read_text() == "mine" and len(drawn("new")) == 2
    assert "output=new/kept.txt is no folder" in cli("generate", "output=new/kept.txt", "overwrite=true")[2]
    assert "there is no folder gone" in cli("generate", "output=gone/new")[2]
    Path("new/samples.png").unlink()
    Path("new/samples.png").mkdir()
    code, _, err = cli("generate", "n=3", "output=new", "overwrite=true")
    assert code == 2 and "new/samples.png is in the way of a file of that name" in err
    assert len(drawn("new")) == 2
    assert not [path for path in Path().iterdir() if path.name.startswith(".ssl")]


def test_a_failure_leaves_nothing(cli: Cli, finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    finished("ae")

    def full(path: Path, x: np.ndarray) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_grid, "grid", full)
    for words in ([], ["output=new"]):
        code, _, err = cli("generate", *words)
        assert code == 2 and "can't be written: No space left on device" in err
    assert not Path("new").exists() and not list(Path("outputs/generate").rglob("*.*"))
    assert not list(Path().rglob(".ssl-*"))


def test_a_prior_that_was_never_fitted(cli: Cli, finished: Finished) -> None:
    finished("vqvae", "prior_steps=0")
    code, _, err = cli("generate", "output=new")
    assert code == 2 and "was trained with prior_steps=0: the prior that generates codes was never fitted" in err
    assert not Path("new").exists()
    (run,) = Path("outputs/reconstruct").glob("*/*")
    assert f"Fit it with `ssl reconstruct resume={run} prior_steps=null`" in err
    assert cli("reconstruct", f"resume={run}", "prior_steps=3")[0] == 0
    assert cli("generate", "n=2", "output=new")[0] == 0, "the remedy works"


@pytest.mark.parametrize(
    ("n", "seed"), [(0, 0), (-1, 0), (1.5, 0), ("3", 0), (None, 0), (1, -1), (1, 2**64), (1, None)]
)
def test_invalid_numbers(finished: Finished, n: Any, seed: Any) -> None:
    run = ssl_cli.load(finished("ae"))
    with pytest.raises(InputError, match="must be a whole number of at least"):
        run.generate(n, seed)


def test_a_run_that_is_no_path() -> None:
    with pytest.raises(InputError, match="given as its folder or 'latest', not as a NoneType"):
        ssl_cli.load(None)  # type: ignore[arg-type]


@pytest.mark.parametrize("codes", [None, [1.0], np.full((1, 4), np.nan), np.zeros((0, 4)), np.zeros((1, 4), int)])
def test_invalid_codes(finished: Finished, codes: Any) -> None:
    with pytest.raises(InputError, match=r"Codes must be an array \(N, 4\) of finite numbers, not"):
        ssl_cli.load(finished("ae")).decode(codes)


@pytest.mark.parametrize("images", [None, [[1], [1, 2]], np.full((1, 1, 8, 8), 255.0), np.full((1, 1, 8, 8), np.nan)])
def test_invalid_images(finished: Finished, images: Any) -> None:
    with pytest.raises(InputError, match="Images must be"):
        ssl_cli.load(finished("ae")).embed(images)


def test_a_model_that_cannot_generate(cli: Cli, workdir: Path, finished: Finished) -> None:
    """A user's own model, whose class the run folder names and the user trusts."""
    (workdir / "mine.py").write_text(
        "import torch\n"
        "from torch import nn\n"
        "class Mine(nn.Module):\n"
        "    reads = ('x',)\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.scale = nn.Parameter(torch.ones(1))\n"
        "    def forward(self, batch):\n"
        "        return {'loss': (self.reconstruct(batch) - batch['x']).square().mean()}\n"
        "    def reconstruct(self, batch):\n"
        "        return self.scale * batch['x']\n"
    )
    run = finished("ae")
    config = OmegaConf.load(run / "config.yaml")
    config.model, config.choices.model = {"_target_": "mine.Mine"}, "mine"
    OmegaConf.save(config, run / "config.yaml")
    save_file({"scale": torch.ones(1)}, run / "model.safetensors")
    write_digests(run)
    assert "trust=mine" in cli("generate", "output=new")[2]
    code, _, err = cli("generate", "output=new", "trust=mine", f"run={run}")
    assert code == 2 and "model=mine can't generate images; " in err and "vae" in err.split(";")[1]
    assert not Path("new").exists()


def test_a_run_of_another_verb(cli: Cli, finished: Finished, published: Path) -> None:
    assert cli("detect", *QUICK, "model=gaussian")[0] == 0
    (detector,) = Path("outputs/detect").glob("*/*")
    for words in (["generate"], ["embed"], ["reconstruct", f"input={detector}"]):
        code, _, err = cli(*words, f"run={detector}", "output=new")
        assert code == 2 and f"{detector} is a run of ssl detect" in err and "one of ssl reconstruct" in err
        assert "There is no finished reconstruct " in cli(*words, "run=latest", "output=new")[2]
    run = finished("ae")
    code, _, err = cli("score", f"run={run}", f"input={run / 'history.csv'}", "output=new.csv")
    assert code == 2 and f"{run} is a run of ssl reconstruct" in err


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("n=0", "n must be a whole number of at least 1 and of at most 1000000 or null, not 0."),
        ("seed=-1", "seed must be a whole number of at least 0"),
        ("m=3", "m is not an option."),
        ("run=nowhere", "nowhere is no run folder"),
        ("-m", "ssl generate trains no runs to compare"),
    ],
)
def test_a_bad_option(cli: Cli, word: str, sentence: str) -> None:
    code, _, err = cli("generate", word)
    assert code == 2 and sentence in err


# --- a run folder that isn't what it should be --------------------------------------------------------------


def reader(**change: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        state = json.loads((folder / "reader.json").read_text()) | change
        (folder / "reader.json").write_text(json.dumps(state))

    return damage


def weights(change: Callable[[dict], dict]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors")

    return damage


def config(key: str, value: object) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        cfg = OmegaConf.load(folder / "config.yaml")
        OmegaConf.update(cfg, key, value, merge=False)
        OmegaConf.save(cfg, folder / "config.yaml")

    return damage


DAMAGES = {
    "no reader": (lambda folder: (folder / "reader.json").unlink(), "reader.json"),
    "a reader cut off": (lambda folder: (folder / "reader.json").write_text('{"kind":'), "reader.json is damaged"),
    "a reader of text": (reader(shape="8x8"), "reader.json is damaged: shape must be"),
    "a reader of another shape": (reader(shape=[1, 9, 9]), "reader.json is damaged: its shape is not the model's"),
    "a giant reader": (reader(shape=[1, 10**9, 10**9]), "reader.json is damaged"),
    "foreign classes": (reader(classes=[1, 2]), "reader.json is damaged: classes"),
    "weights cut off": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        "is damaged",
    ),
    "weights of other shapes": (
        weights(lambda found: {k: v[..., :-1].contiguous() if v.ndim else v for k, v in found.items()}),
        "holds",
    ),
    "weights without the prior": (
        weights(lambda found: {k: v for k, v in found.items() if not k.startswith("prior.")}),
        "numbers; the config's model has",
    ),
    "weights that are NaN": (
        weights(lambda found: {k: v * float("nan") if v.is_floating_point() else v for k, v in found.items()}),
        "NaN or infinite",
    ),
    "no facts": (config("facts", {}), "is damaged"),
    "other facts": (config("facts.shape", [1, 4, 4]), "its shape is not the model's"),
    "no number of steps": (config("prior_steps", "many"), "prior_steps must be a whole number"),
    "a foreign model": (config("model._target_", "os.system"), "names os.system, which isn't one of ssl's own classes"),
}


@pytest.mark.parametrize("what", DAMAGES)
def test_a_damaged_run(cli: Cli, finished: Finished, what: str) -> None:
    """Rejected before anything is generated, on the command line and in Python."""
    run = finished("vqvae")
    damage, sentence = DAMAGES[what]
    damage(run)
    write_digests(run)
    code, _, err = cli("generate", f"run={run}", "output=new")
    assert code == 2 and sentence in err, err
    assert str(run) in err and "Traceback" not in err and len(err) < 1000
    assert not Path("new").exists()
    with pytest.raises(InputError):
        ssl_cli.load(run).generate(1)
