"""`init=` of ssl pretrain on images, and `ssl export` of such a run: weights come in and go out unchanged."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

import ssl_cli
from ssl_cli.commands.pretrain.image_init import begin_with, resolve_start
from ssl_cli.data.images.augment import Augment
from ssl_cli.errors import InputError
from ssl_cli.methods.contrastive.byol import BYOL
from ssl_cli.methods.contrastive.joint_embedding import JointEmbedding
from ssl_cli.methods.contrastive.losses import NTXent
from ssl_cli.models.resnet import ResNet
from ssl_cli.models.resnet_files import write_resnet
from tests.conftest import Cli, run_here

SMALL = ["model.network.widths=[8,16]", "model.network.depths=[1,1]", "model.network.stem=3x3"]
QUICK = ["trainer=cpu", "trainer.batch_size=64", "trainer.max_steps=2", "trainer.validate_every_n_steps=2"]
WORDS = ["pretrain", "data=digits", *SMALL, *QUICK, "probes=false"]


def network(seed: int = 0, **options: Any) -> ResNet:
    """Return a network whose norms have seen images."""
    torch.manual_seed(seed)
    made = ResNet([1, 8, 8], **{"widths": [8, 16], "depths": [1, 1], "stem": "3x3"} | options)
    made.train()(torch.rand(30, 1, 8, 8))
    return made.eval()


def config(init: Path | str) -> Any:
    choices = {"model": "simclr", "data": "digits"}
    return OmegaConf.create({"init": str(init), "resume": None, "choices": choices, "paths": {"outputs": "outputs"}})


def begun(model: Any, path: Path) -> str:
    cfg = config(path)
    start = resolve_start(cfg)
    assert start is not None
    return begin_with(start, model, cfg)


def simclr(seed: int = 1, **options: Any) -> JointEmbedding:
    return JointEmbedding(network(seed, **options), NTXent(), Augment(), [4]).eval()


# --- files --------------------------------------------------------------------------------------------------


def test_a_file_gives_the_network_and_its_classifier_is_left_out(tmp_path: Path) -> None:
    theirs, ours = network(), simclr()
    path = tmp_path / "theirs.pth"
    torch.save(theirs.state_dict() | {"fc.weight": torch.zeros(10, 16), "fc.bias": torch.zeros(10)}, path)
    said = begun(ours, path)
    n = sum(value.numel() for value in theirs.parameters())
    assert said == f"initialized from {path}: the {n:,} weights of the network; left out: its classifier"
    x = torch.rand(5, 1, 8, 8)
    with torch.inference_mode():
        assert torch.equal(ours.embed({"x": x}), theirs(x))
    save_file(theirs.state_dict() | {"head.0.weight": torch.zeros(3)}, tmp_path / "more.safetensors")
    assert begun(simclr(), tmp_path / "more.safetensors").endswith("; left out: head.0.weight")


def test_the_target_of_byol_begins_where_the_network_does(tmp_path: Path) -> None:
    write_resnet(tmp_path, network())
    model = BYOL(network(1), Augment(), [8, 4], 8).eval()
    begun(model, tmp_path / "model.safetensors")
    x = torch.rand(5, 1, 8, 8)
    with torch.inference_mode():
        assert torch.equal(model.target[0](x), network()(x))
        assert torch.equal(model.target(x), model.projector(model.network(x)))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"widths": [8, 8], "stem": "7x7/2", "depths": [1, 1]},
         "has another network than this one with model.network.widths=[8,16] model.network.stem=3x3: set "
         "model.network.widths=[8,8] model.network.stem=7x7/2."),
        ({"depths": [1, 2]}, "with model.network.depths=[1,1]: set model.network.depths=[1,2]."),
        ({"block": "bottleneck"}, "with model.network.block=basic: set model.network.block=bottleneck."),
        ({"widths": [8, 16, 8], "depths": [1] * 3}, "set model.network.widths=[8,16,8] model.network.depths=[1,1,1]."),
    ],
)  # fmt: skip
def test_another_network_is_refused_with_the_options_that_fit(
    tmp_path: Path, options: dict[str, Any], sentence: str
) -> None:
    write_resnet(tmp_path, network(**options))
    with pytest.raises(InputError, match=re.escape(sentence)):
        begun(simclr(), tmp_path / "model.safetensors")


def test_other_colours_and_other_kinds_of_blocks_are_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    write_resnet(tmp_path, ResNet([3, 8, 8], [8, 16], [1, 1], "3x3"))
    with pytest.raises(InputError, match="reads RGB images, and those of data=digits are grey: choose other data"):
        begun(simclr(), tmp_path / "model.safetensors")
    weights = network().state_dict()
    save_file(weights | {"layer2.0.conv2.weight": torch.zeros(16, 4, 3, 3)}, tmp_path / "grouped.safetensors")
    sentence = "is of another kind: layer2.0.conv2.weight is 16 x 4 x 3 x 3 there, and 16 x 16 x 3 x 3 in the network"
    with pytest.raises(InputError, match=sentence):
        begun(simclr(), tmp_path / "grouped.safetensors")
    del weights["layer1.0.bn2.bias"]
    save_file(weights, tmp_path / "less.safetensors")
    with pytest.raises(InputError, match=r"lacks weights of the network: layer1\.0\.bn2\.bias\."):
        begun(simclr(), tmp_path / "less.safetensors")


def test_what_is_neither_a_file_nor_a_run_is_refused(workdir: Path) -> None:
    (workdir / "empty").mkdir()
    for place in ("nowhere.pth", "empty", "google/vit"):
        with pytest.raises(InputError, match=f"init={place}: there is no such file or run. On images it takes a run"):
            resolve_start(config(place))
    with pytest.raises(InputError, match="There is no finished pretrain run that can learn from images"):
        resolve_start(config("latest"))
    assert resolve_start(config("none")) is None


def test_a_resumed_run_never_begins_with_other_weights(workdir: Path) -> None:
    write_resnet(workdir, network())
    cfg = config("model.safetensors")
    start = resolve_start(cfg)
    assert start is not None and start.place == str(workdir / "model.safetensors")
    cfg.resume, cfg.facts = str(workdir / "begun"), {"start": start.digest}
    again = resolve_start(cfg)  # killed before its first checkpoint
    assert again is not None and again.digest == start.digest
    write_resnet(workdir, network(2))
    with pytest.raises(InputError, match=r"holds other weights than when .*begun began: start a new run"):
        resolve_start(cfg)
    (workdir / "begun").mkdir()
    (workdir / "begun" / "last.ckpt").touch()
    assert resolve_start(cfg) is None


# --- runs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of SimCLR, which tests must not change."""
    home = tmp_path_factory.mktemp("simclr")
    done = run_here(*WORDS, "model=simclr", cwd=home)
    assert done.returncode == 0, done.stderr
    return home / done.stdout.strip().splitlines()[-1]


def run(cli: Cli, *words: str) -> tuple[Path, str]:
    code, out, err = cli(*WORDS, *words)
    assert code == 0, err
    return Path(out.strip().splitlines()[-1]), out


def test_what_is_exported_gives_the_same_vectors_and_so_does_the_run(cli: Cli, made: Path, workdir: Path) -> None:
    code, out, err = cli("export", f"run={made}", "output=weights")
    assert code == 0, err
    assert "model.safetensors; the names are those of torchvision's ResNets, without `fc`" in out
    assert [path.name for path in Path("weights").iterdir()] == ["model.safetensors"]
    images = np.random.default_rng(0).integers(0, 256, (9, 1, 8, 8), np.uint8)
    vectors = ssl_cli.load(made).embed(images)
    shutil.copytree(made.parents[2], workdir / "outputs")
    for init in ("weights/model.safetensors", str(made), "latest"):
        model = simclr()
        begun(model, Path(init))
        with torch.inference_mode():
            found = model.embed({"x": torch.from_numpy(images).float() / 255})
        np.testing.assert_allclose(found.numpy(), vectors, rtol=1e-5, atol=1e-6)


def test_a_run_begins_with_the_weights_and_goes_on_without_the_file(cli: Cli, made: Path) -> None:
    assert cli("export", f"run={made}", "output=weights")[0] == 0
    words = ["model=byol", "init=weights/model.safetensors", "optim.lr=1e-30", "optim.schedule=constant"]
    folder, out = run(cli, *words)
    place = Path("weights/model.safetensors").resolve()
    assert f"initialized from {place}: the " in out
    saved = OmegaConf.load(folder / "config.yaml")
    assert saved.init == str(place) and saved.facts.start
    weights, before = load_file(folder / "model.safetensors"), load_file(place)
    kept = {name for name, value in before.items() if torch.allclose(weights[f"network.{name}"], value, 0, 1e-20)}
    assert kept == {name for name in before if "running" not in name and "num_batches" not in name}
    place.unlink()
    code, out, err = cli("pretrain", f"resume={folder}", "trainer.max_steps=3")
    assert code == 0, err
    assert "resuming from step 2" in out and "initialized from" not in out


def test_the_same_place_with_other_weights_is_another_run(cli: Cli) -> None:
    Path("weights").mkdir()
    write_resnet(Path("weights"), network())
    words = ["model=simclr", "init=weights/model.safetensors", "trainer.max_steps=1", "sweep.skip_done=true"]
    first, _ = run(cli, *words)
    assert run(cli, *words)[0] == first
    write_resnet(Path("weights"), network(2))
    assert run(cli, *words)[0] != first


def test_networks_of_other_kinds_say_so(cli: Cli, made: Path) -> None:
    mae = [
        "model=mae",
        "model.network.layers=1",
        "model.network.width=16",
        "model.network.heads=2",
        "model.decoder_width=8",
    ]
    plain = [word for word in WORDS if not word.startswith("model.")]
    code, out, err = cli(*plain, *mae)
    assert code == 0, err
    folder = out.strip().splitlines()[-1]
    code, out, err = cli(*plain, *mae, f"init={folder}", "trainer.max_steps=1")
    assert code == 0, err
    assert f"initialized from {Path(folder).resolve()}: the " in out
    for words, sentence in (
        (
            [*mae, f"init={made}"],
            f"init={made} holds a ResNet, and model=mae has a PatchTransformer: choose another model.",
        ),
        (["model=simclr", f"init={folder}"], "holds a PatchTransformer, and model=simclr has a ResNet"),
        (
            [*mae, "model.network.layers=2", f"init={folder}"],
            "with model.network.layers=2: set model.network.layers=1.",
        ),
        (
            ["model=simclr", f"init={made}"],
            "has another network than this one with model.network.widths=[32,32,64,128]",
        ),
        (["model=simclr", "init=nowhere"], "init=nowhere: there is no such file or run."),
    ):
        code, _, err = cli(*plain, *words)
        assert (code, err.count("\n")) == (2, 1) and sentence in err, err
    code, _, err = cli("export", f"run={folder}", "output=new")
    assert (code, err.count("\n")) == (2, 1) and "has a PatchTransformer, for which torchvision has no names" in err
    assert not Path("new").exists()
