"""ssl finetune and ssl predict on images: from scratch, from a pretrained run, from few labels, and refusals."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image
from safetensors.torch import load_file

import ssl_cli
from ssl_cli.data.images.datasets import Digits
from ssl_cli.errors import InputError
from ssl_cli.models.resnet import ResNet
from ssl_cli.models.resnet_files import write_resnet
from ssl_cli.runs.digests import write_digests
from tests.conftest import Cli, run_here
from tests.helpers.image_files import grey_square, save_image
from tests.helpers.pretrain_runs import make_run
from tests.helpers.sweeps import read_rows

QUICK = ["trainer=cpu", "trainer.max_steps=4", "trainer.batch_size=32", "trainer.validate_every_n_steps=2"]
SHAPE = ["widths=[8,16]", "depths=[1,1]"]
PRETRAIN = ["model=simclr", "data=digits", *QUICK, "probes=false", *(f"model.network.{word}" for word in SHAPE)]
IMAGES = ["task=images", *QUICK, "bootstrap_samples=10"]
SCRATCH = [*IMAGES, *(f"model.{word}" for word in SHAPE)]


def made(home: Path, verb: str, *words: str) -> Path:
    done = run_here(verb, *words, cwd=home)
    assert done.returncode == 0, done.stderr
    return home / done.stdout.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("pretrained"), "pretrain", *PRETRAIN)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    words = ["trainer.max_steps=80", "trainer.validate_every_n_steps=40", "optim.lr=1e-2"]
    return made(tmp_path_factory.mktemp("classifier"), "finetune", *SCRATCH, *words)


def run(cli: Cli, verb: str, *words: str) -> Path:
    code, out, err = cli(verb, *words)
    assert code == 0, err
    return Path(out.strip().splitlines()[-1])


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def metrics_of(folder: Path) -> dict[str, float]:
    return json.loads((folder / "metrics.json").read_text())


# --- learning ---


def test_digits_are_learned_from_scratch(classifier: Path) -> None:
    metrics = metrics_of(classifier)
    assert metrics["test/accuracy_low"] <= metrics["test/accuracy"] <= metrics["test/accuracy_high"]
    assert metrics["test/accuracy"] > 0.7
    assert metrics["test/macro_f1"] > 0.6 and metrics["test/majority_accuracy"] < 0.2
    assert metrics["test/calibration_error"] > 0
    for name in ("mistakes-test.png", "confusion-test.png", "calibration-test.png", "training.png"):
        assert (classifier / "figures" / name).stat().st_size > 0
    assert "figures/mistakes-test.png" in (classifier / "report.html").read_text()
    config = OmegaConf.load(classifier / "config.yaml")
    assert not {"tokenizer", "max_length"} & set(config)
    assert config.facts.labels == [str(digit) for digit in range(10)]
    assert config.model.augment.flip == 0.0, "a mirrored digit is no digit"
    assert classifier.parent.name == "resnet-images-digits"


def test_a_linear_probe_reads_the_vectors_of_the_pretrained_run(cli: Cli, pretrained: Path) -> None:
    words = [*IMAGES, f"init={pretrained}", "freeze=encoder", "task.labels=20", "task.augment=null"]
    folder = run(cli, "finetune", *words)
    before, after = (load_file(path / "model.safetensors") for path in (pretrained, folder))
    network = [name for name in after if name.startswith("network.")]
    assert any(name.endswith("running_var") for name in network)
    assert all(torch.equal(before[name], after[name]) for name in network)
    assert set(network) == {name for name in before if name.startswith("network.")}
    assert not [name for name in after if "projector" in name]
    config = OmegaConf.load(folder / "config.yaml")
    assert (config.optim.lr, config.model.augment) == (1e-2, None)
    x = Digits().read().x[:70]
    assert ssl_cli.load(folder).embed(x) == pytest.approx(ssl_cli.load(pretrained).embed(x))


def test_the_whole_network_moves_unless_stages_are_frozen(cli: Cli, pretrained: Path) -> None:
    before = load_file(pretrained / "model.safetensors")
    for freeze, prefixes in (("null", ()), ("1", ("network.conv1.", "network.bn1.", "network.layer1."))):
        folder = run(cli, "finetune", *IMAGES, f"init={pretrained}", f"freeze={freeze}", "layer_decay=0.5")
        after = load_file(folder / "model.safetensors")
        same = {name for name in after if name in before and torch.equal(before[name], after[name])}
        assert same == {name for name in after if name.startswith(tuple(prefixes))}
    again = run(cli, "finetune", *IMAGES, f"init={folder}", "task.labels=20", "task.augment.flip=0.2")
    config = OmegaConf.load(again / "config.yaml")
    assert (config.init, config.model.augment.flip) == (str(folder.resolve()), 0.2)


def test_what_was_loaded_is_said(cli: Cli, pretrained: Path) -> None:
    _, out, _ = cli("finetune", *IMAGES, f"init={pretrained}", "task.labels=20")
    rows = {" ".join(words[:-2]): words[-2:] for line in out.splitlines()[1:7] if len(words := line.split()) > 2}
    assert "images: train 20, dev 72, test 359" in out.splitlines()[0]
    loaded = [name for name in rows if name.endswith(("loaded",)) or rows[name][0] == "loaded"]
    assert loaded == ["first convolution", "first norm", "stages"]
    assert rows["head"] == ["new", "170"]
    assert any(name.startswith("projector") for name in rows)


def test_a_resumed_run_is_the_same_as_an_uninterrupted_one(cli: Cli, pretrained: Path) -> None:
    words = [*IMAGES, f"init={pretrained}", "optim.schedule=constant", "optim.warmup_steps=0", "task.labels=50"]
    whole, part = run(cli, "finetune", *words), run(cli, "finetune", *words, "trainer.max_steps=2")
    assert run(cli, "finetune", f"resume={part}", "trainer.max_steps=4") == part
    mine, theirs = load_file(whole / "model.safetensors"), load_file(part / "model.safetensors")
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_sweep_compares_pretrained_and_scratch_on_the_same_labels(cli: Cli, pretrained: Path) -> None:
    words = [f"init={pretrained},none", "task.labels=20,40", "predict_train=true", "trainer.max_steps=2"]
    code, out, err = cli("finetune", "-m", *IMAGES, *words)
    assert code == 0, err
    rows = read_rows(out)
    assert [(row["init"] == "none", row["task.labels"]) for row in rows] == [
        (False, "20"), (False, "40"), (True, "20"), (True, "40"),
    ]  # fmt: skip
    assert all(0 <= float(row["test/accuracy"]) <= 1 for row in rows)
    drawn = [{each["id"] for each in lines_of(Path(row["run"]) / "predictions-train.jsonl")} for row in rows]
    assert drawn[0] == drawn[2] and len(drawn[0]) == 20
    assert drawn[1] == drawn[3] and len(drawn[1]) == 40
    configs = [OmegaConf.load(Path(row["run"]) / "config.yaml") for row in rows]
    assert configs[0].model == configs[2].model, "the same shape"


def test_a_random_split_of_another_seed_is_warned_of(cli: Cli, pretrained: Path) -> None:
    said = "has seen some of the test images, without their labels: data=digits is split at random, by the seed"
    assert said not in cli("finetune", *IMAGES, f"init={pretrained}")[2]
    assert said in cli("finetune", *IMAGES, f"init={pretrained}", "seed=1")[2]
    assert said not in cli("finetune", *IMAGES, f"like={pretrained}", "seed=1")[2]


# --- refusals ---


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["max_length=9"], "max_length is for text, and data=digits holds images: leave it out"),
        (["task=classify"], "task=classify can't read data=digits"),
        (["data=labelled"], "task=images can't read data=labelled; it can read cifar10, digits, fashion_mnist"),
        (["data.normal=1"], "data.normal has no effect in ssl finetune: it is for ssl detect"),
        (["model=encoder"], "task=images can't be learned by model=encoder, but by resnet"),
        (["task.labels=1"], "task.labels must be"),
        (["task.labels=9"], "task.labels=9: it must be a number from 10, one for each class, to 1366"),
        (["task.labels=5000"], "task.labels=5000: it must be a number from 10, one for each class, to 1366"),
        (["init=nowhere"], "init=nowhere is no run folder or file: task=images needs a run of ssl pretrain on images"),
        (["init=latest"], "that can be fine-tuned on images"),
        (["freeze=encoder"], "freeze needs a pretrained model"),
        (["data.val=0"], "No image is held out, to choose the best weights: set data.val above 0"),
        (["trainer.batch_size=1"], "batch normalization needs several on each device"),
        (["model.widths=[4]"], "model.network.widths has 1 stages, and model.network.depths 2"),
    ],
)
def test_invalid_options_are_reported_in_one_sentence(cli: Cli, words: list[str], sentence: str) -> None:
    kept = IMAGES if words[0].startswith(("model=", "task=", "data=", "init=")) else SCRATCH
    code, _, err = cli("finetune", *kept, "data=digits", *words)
    assert code == 2
    assert sentence in err.replace(",366", "366")
    assert err.count("\n") == 1, err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["lora=4"], "lora=4 is for transformers, and this network is a ResNet"),
        (["reinit=1"], "reinit=1 is for transformers"),
        (["freeze=3"], "freeze=3: the network has 2 blocks"),
        (["model.widths=[4,4]"], "model.widths: no effect with init="),
    ],
)
def test_options_that_do_not_suit_the_network(cli: Cli, pretrained: Path, words: list[str], sentence: str) -> None:
    code, _, err = cli("finetune", *IMAGES, f"init={pretrained}", *words)
    assert (code, err.count("\n")) == (2, 1), err
    assert sentence in err


def test_images_of_another_shape_and_without_labels_are_refused(cli: Cli, pretrained: Path, workdir: Path) -> None:
    for k in range(8):
        save_image(workdir / "flat" / f"{k}.png", grey_square(k, 8))
    code, _, err = cli("finetune", *IMAGES, "data=images", "data.dir=flat", "data.val=0.3", f"init={pretrained}")
    assert (code, err.count("\n")) == (2, 1), err
    assert "was trained on images of 8 x 8 grey, and those of data=images are 32 x 32 RGB" in err
    assert "data=images has data.size=8 data.color=grey" in err
    words = ["data.size=8", "data.color=grey", "data.val=0.3", f"like={pretrained}"]
    code, _, err = cli("finetune", *IMAGES, "data=images", "data.dir=flat", *words)
    assert (code, err.count("\n")) == (2, 1), err
    assert "task=images needs labels, and these images have none" in err


def test_a_run_of_another_modality_is_refused(cli: Cli, pretrained: Path, workdir: Path) -> None:
    text = make_run(workdir / "text", "bert")
    code, _, err = cli("finetune", *IMAGES, f"init={text}")
    assert (code, err.count("\n")) == (2, 1), err
    assert "has no network over images: task=images needs a run of ssl pretrain on images" in err
    Path("a.csv").write_text("text,label\nhello,a\nbye,b\n")
    code, _, err = cli("finetune", f"init={pretrained}", "data.files.train=a.csv", "data.files.dev=a.csv")
    assert (code, err.count("\n")) == (2, 1), err
    assert "was trained on images: use it with task=images" in err


# --- predictions ---


@pytest.fixture
def digits(workdir: Path, classifier: Path) -> Path:
    """The first images of the run's test split as files, named by their row in all digits, and one that is broken."""
    x = Digits().read().x
    for each in lines_of(classifier / "predictions-test.jsonl")[:6]:
        save_image(workdir / "digits" / f"{int(each['id']):04}.png", x[int(each["id"])][0])
    (workdir / "digits" / "broken.png").write_text("no image")
    return workdir / "digits"


def test_predictions_are_those_of_the_run(cli: Cli, classifier: Path, digits: Path) -> None:
    folder, finished = classifier, ssl_cli.load(classifier)
    written = {f"{int(each['id']):04}.png": each for each in lines_of(folder / "predictions-test.jsonl")}
    _, out, err = cli("predict", f"run={folder}", "input=digits", "output=all.csv")
    assert "images: 7 in = 6 predicted + 1 rejected" in out
    assert "1 files can't be read and are in rejects.csv" in err
    with Path("all.csv").open() as file:
        predicted = list(csv.DictReader(file))
    assert [row["row"] for row in predicted] == ["0", "1", "2", "3", "4", "5"]
    for row in predicted:
        assert row["prediction"] == written[row["id"]]["prediction"]
        assert float(row["probability"]) == pytest.approx(written[row["id"]]["probability"], abs=1e-4)
        assert float(row["probabilities.7"]) == pytest.approx(written[row["id"]]["probabilities"]["7"], abs=1e-4)
    with Path("rejects.csv").open() as file:
        (rejected,) = csv.DictReader(file)
    assert (rejected["row"], rejected["text"]) == ("6", "broken.png") and "broken.png: " in rejected["reason"]
    of_files = finished.predict(digits)
    assert [each["id"] for each in of_files] == [row["id"] for row in predicted]
    x = np.stack([np.asarray(Image.open(digits / each["id"]))[None] for each in of_files])
    assert finished.predict(x) == [{name: each[name] for name in each if name != "id"} for each in of_files]
    run(cli, "predict", f"run={folder}", f"input=digits/{of_files[0]['id']}", "output=one.jsonl")
    assert lines_of(Path("one.jsonl")) == [{"row": 0, **of_files[0]}]


def test_what_can_not_be_predicted_is_refused(cli: Cli, classifier: Path, digits: Path) -> None:
    for words, sentence in (
        (["text=hello"], "text= is for text, and"),
        (["text=hello"], "was trained on images: set input=FILE.png, or a folder, and output=FILE.csv"),
        (["input=digits", "output=a.csv", "precision=32-true"], "precision= has no effect on images"),
        (["input=nowhere", "output=a.csv"], "input=nowhere is neither a file nor a folder"),
        (["input=digits/broken.png", "output=a.csv"], "broken.png has no image that can be used"),
    ):
        code, _, err = cli("predict", f"run={classifier}", *words)
        assert (code, err.count("\n")) == (2, 1), err
        assert sentence in err
    assert not Path("a.csv").exists()
    finished = ssl_cli.load(classifier)
    with pytest.raises(InputError, match="There are no images"):
        finished.predict(np.zeros((0, 1, 8, 8), np.uint8))
    with pytest.raises(InputError, match=r"Images must be an array \(N, 1, 8, 8\)"):
        finished.predict(np.zeros((2, 8, 8), np.uint8))


def test_a_damaged_run_is_refused(classifier: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(classifier, tmp_path / "run")
    config = OmegaConf.load(folder / "config.yaml")
    config.facts.labels = ["0", "1"]
    OmegaConf.save(config, folder / "config.yaml")
    write_digests(folder)
    with pytest.raises(InputError, match="it has 2 labels, its model 10"):
        ssl_cli.load(folder)


# --- from the file of a ResNet ---


def small_resnet(**options: Any) -> ResNet:
    torch.manual_seed(3)
    return ResNet([1, 8, 8], **{"widths": [8, 16], "depths": [1, 1], "stem": "3x3"} | options).eval()


def with_classifier(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return weights | {"fc.weight": torch.zeros(5, 16), "fc.bias": torch.zeros(5)}


def test_a_file_gives_the_network_whatever_the_config_says(cli: Cli) -> None:
    network = small_resnet(stem="7x7/2")
    torch.save(with_classifier(network.state_dict()), "published net.pth")
    words = ["init='published net.pth'", "freeze=encoder", "task.labels=20"]
    code, out, err = cli("finetune", *IMAGES, *words)
    assert code == 0, err
    folder = Path(out.strip().splitlines()[-1])
    assert folder.parent.name == "published-net-images-digits"
    assert "stages" in out and "loaded" in out and "not used" not in out
    weights = load_file(folder / "model.safetensors")
    for name, value in network.state_dict().items():
        assert weights[f"network.{name}"].equal(value), name
    Path("published net.pth").unlink()
    code, _, err = cli("finetune", f"resume={folder}", "trainer.max_steps=6")
    assert code == 0, err
    assert len(ssl_cli.load(folder).predict(np.zeros((2, 1, 8, 8), np.uint8))) == 2


def test_like_takes_the_shape_of_a_file(cli: Cli) -> None:
    Path("weights").mkdir()
    write_resnet(Path("weights"), small_resnet())
    folder = run(cli, "finetune", *IMAGES, "like=weights/model.safetensors", "trainer.max_steps=1")
    assert OmegaConf.load(folder / "config.yaml").model.network.stem == "3x3"
    write_resnet(Path("weights"), ResNet([3, 8, 8], widths=[8], depths=[1], stem="3x3"))
    code, _, err = cli("finetune", *IMAGES, "like=weights/model.safetensors")
    assert (code, err.count("\n")) == (2, 1)
    assert "weights/model.safetensors reads RGB images" in err and "init=none" not in err


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (lambda: small_resnet().state_dict(), "and does not say whether it halves the image: start with `ssl pretrain"),
        (
            lambda: ResNet([3, 8, 8], widths=[8], depths=[1], stem="7x7/2").state_dict(),
            "reads RGB images, and those of data=digits are grey",
        ),
        (
            lambda: small_resnet(stem="7x7/2").state_dict() | {"layer2.0.conv2.weight": torch.zeros(16, 4, 3, 3)},
            "is of another kind: layer2.0.conv2.weight is 16 x 4 x 3 x 3 there, and 16 x 16 x 3 x 3 in the network.",
        ),
        (lambda: {"net.0.weight": torch.zeros(3)}, "holds no ResNet with torchvision's names"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    cli: Cli, weights: Callable[[], dict[str, torch.Tensor]], sentence: str
) -> None:
    torch.save(weights(), "file.pth")
    code, _, err = cli("finetune", *IMAGES, "init=file.pth")
    assert (code, err.count("\n")) == (2, 1), err
    assert sentence in err and not Path("outputs").exists()
