"""Every YAML in conf/ composes, passes check and takes a training step."""

import json
import re
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir

from ssl_cli.config.choices import built_in_conf, choices, groups
from ssl_cli.config.instantiate import modality_of, names_where, read_yaml, target_of
from ssl_cli.config.typecheck import provides
from ssl_cli.methods.protocols import (
    EncodesImages,
    EncodesText,
    LearnsFromImages,
    LearnsFromText,
    Reconstructs,
    ScoresAnomalies,
)
from ssl_cli.methods.speech.frame_protocols import LearnsFromFrames
from ssl_cli.methods.speech.protocols import ReconstructsSpeech
from ssl_cli.methods.text_latent.protocols import CodesSentences, Summarizes
from tests.conftest import FOUR_STEPS, QUICK, Cli
from tests.helpers.task_files import task_words

REQUIRED = {"adbench": ["data.name=cardio"], "pyod": ["model.detector=LODA"]}
EXTRAS = {"pyod": "needs the extra pyod: pip install 'ssl-cli[pyod]'"}
TINY = ["trainer=cpu", "trainer.max_steps=2", "trainer.batch_size=4"]
TINY_TEXT = [*TINY, "model.network.size=tiny", "model.network.context=16"]
TINY_TASK = [*TINY, "model.size=tiny", "model.context=64"]
SPEECH = ["data=synthetic_speech", "data.takes=1", "data.n_mels=16", "data.val=0.3"]
SPEECH_TASKS = [name for name in choices("task") if name.startswith("speech/")]
IMAGE_TASKS = [name for name in choices("task") if name.startswith("images")]
SUITES = [name for name in choices("task") if str(target_of("task", name)).endswith(".Suite")]
FEW = ["trainer.max_steps=2", "probes=false"]
FEW_IMAGES = [*FEW, "prior_steps=1", "importance_samples=2", "likelihood_images=4"]
FEW_RECORDINGS = [*FEW, "judges=false"]
FEW_ARTICLES = ["model.network.size=tiny", "data.val=0.1", "trainer.batch_size=4"]


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (built_in_conf() / group).glob("*.yaml"))


def of_modality(modality: str) -> list[str]:
    """Return the data sets of a modality: table, image, text, audio, article or sentence."""
    return [name for name in choices("data") if modality_of(str(target_of("data", name))) == modality]


def that_can(protocol: type) -> list[str]:
    return names_where("model", lambda target: provides(target, protocol))


def required_words(name: str, published: Path) -> list[str]:
    files = {
        "table": [f"data.file={published}/creditcard_fraud/creditcard.csv", "data.label=Class"],
        "images": [f"data.dir={published}/photographs", "data.size=8"],
        "text": [f"data.files={published}/text", "data.document=block"],
        "c4": ["data.val=0.1"],
        "speech": [f"data.dir={published}/fsdd/recordings", "data.pattern={word}_{speaker}_{take}"],
        "sentences": [f"data.files={published}/sentences.jsonl", "data.text=sentence"],
        "text_pairs": [f"data.files={published}/pairs.jsonl", "data.article=body", "data.title=headline"],
    } | {name: [f"data.files={published}/text"] for name in ("jsonl", "csv", "parquet")}
    return [f"paths.data={published}", *REQUIRED.get(name, files.get(name, []))]


def trained(cli: Cli, *words: str, verb: str = "detect") -> dict[str, float]:
    code, out, err = cli(verb, *words)
    assert code == 0, err
    return metrics_of(out)


def metrics_of(out: str) -> dict[str, float]:
    return json.loads((Path(out.strip().splitlines()[-1]) / "metrics.json").read_text())


def test_every_choice_has_a_summary() -> None:
    for group in ["", *groups()]:
        assert all(choice.summary for choice in choices(group).values()), group


def test_data_is_of_a_known_modality() -> None:
    modalities = ("table", "image", "text", "audio", "article", "sentence")
    found = [name for modality in modalities for name in of_modality(modality)]
    assert sorted([*found, "labelled"]) == names("data")


@pytest.mark.parametrize("name", of_modality("table"))
def test_tables(cli: Cli, published: Path, name: str) -> None:
    metrics = trained(cli, *QUICK, f"data={name}", *required_words(name, published))
    assert 0 <= metrics["test/auroc"] <= 1


@pytest.mark.parametrize("name", of_modality("image"))
def test_images(cli: Cli, published: Path, name: str) -> None:
    words = [f"data={name}", *required_words(name, published), "model=ae"]
    assert 0 <= trained(cli, *QUICK, *words)["test/auroc"] <= 1
    assert trained(cli, "trainer=cpu", *FEW_IMAGES, *words, verb="reconstruct")["test/mse"] > 0


@pytest.mark.parametrize("name", of_modality("text"))
def test_texts(cli: Cli, published: Path, name: str) -> None:
    words = [f"data={name}", *required_words(name, published), "data.cache=tokens", *TINY_TEXT]
    assert trained(cli, *words, verb="pretrain")["val/loss"] > 0


@pytest.mark.parametrize("name", of_modality("audio"))
def test_speech(cli: Cli, published: Path, name: str) -> None:
    words = [f"data={name}", *required_words(name, published), "data.n_mels=16", "model=speech_ae", "clips=0"]
    assert trained(cli, *FEW_RECORDINGS, "trainer=cpu", *words, verb="reconstruct")["test/rebuilt_mcd_db"] > 0


@pytest.mark.parametrize("name", of_modality("article"))
@pytest.mark.parametrize("model", that_can(Summarizes))
def test_articles(cli: Cli, published: Path, name: str, model: str) -> None:
    words = [f"data={name}", *required_words(name, published), f"model={model}", "data.min_words=5"]
    words += ["trainer=cpu", "trainer.max_steps=2"]
    assert trained(cli, *words, verb="reconstruct")["test/rouge1"] > 0


@pytest.mark.parametrize("name", of_modality("sentence"))
@pytest.mark.parametrize("model", that_can(CodesSentences))
def test_sentences(cli: Cli, published: Path, name: str, model: str) -> None:
    words = [f"data={name}", *required_words(name, published), f"model={model}", *TINY_TEXT]
    words += ["importance_samples=2", "tokenizer.vocab_size=300", "model.network.context=32"]
    assert trained(cli, *words, verb="reconstruct")["test/iw_perplexity"] > 0


@pytest.mark.parametrize("name", names("tokenizer"))
def test_tokenizers(cli: Cli, published: Path, name: str) -> None:
    words = ["data=text", *required_words("text", published), "data.cache=tokens", f"tokenizer={name}", *TINY_TEXT]
    for model in ("bert", "gpt"):
        assert trained(cli, *words, f"model={model}", verb="pretrain")["val/loss"] > 0


@pytest.mark.parametrize("name", that_can(LearnsFromText))
def test_models_that_learn_from_text(cli: Cli, published: Path, name: str) -> None:
    """With the tokenizer that each names."""
    words = ["data=text", *required_words("text", published), "data.cache=tokens", f"model={name}", *TINY_TEXT]
    assert trained(cli, *words, verb="pretrain")["val/loss"] > 0


@pytest.mark.parametrize("name", that_can(ScoresAnomalies))
def test_models_of_tables(cli: Cli, name: str) -> None:
    if name in EXTRAS:
        pytest.importorskip(name, reason=EXTRAS[name])
    code, out, err = cli("detect", *QUICK, f"model={name}", *REQUIRED.get(name, []), "trainer.max_steps=30")
    if code == 2 and "images" in err:  # a model of images only, which is rejected in one sentence
        assert (err.count("\n"), err.startswith("error: ")) == (1, True), err
        assert not Path("outputs").exists()
    else:
        assert code == 0, err
        assert 0.5 < metrics_of(out)["test/auroc"] <= 1


def test_models_of_images_only_are_known(cli: Cli) -> None:
    rejected = [name for name in ("ae", "best", "conv_ae") if cli("detect", f"model={name}", *QUICK)[0] == 2]
    assert rejected == ["conv_ae"]  # otherwise the test above would pass for any model


@pytest.mark.parametrize("name", that_can(ScoresAnomalies))
def test_models_of_images(cli: Cli, name: str) -> None:
    if name in EXTRAS:
        pytest.importorskip(name, reason=EXTRAS[name])
    words = ["data=digits", f"model={name}", *REQUIRED.get(name, []), "trainer.max_steps=20"]
    metrics = trained(cli, *QUICK, *words)
    assert 0.6 < metrics["test/auroc"] <= 1


@pytest.mark.parametrize("name", that_can(Reconstructs))
def test_models_that_reconstruct(cli: Cli, name: str) -> None:
    assert trained(cli, "trainer=cpu", *FEW_IMAGES, f"model={name}", verb="reconstruct")["test/mse"] > 0


@pytest.mark.parametrize("name", that_can(LearnsFromImages))
def test_models_that_learn_from_images(cli: Cli, name: str) -> None:
    words = ["trainer=cpu", *FEW, "data=digits", f"model={name}"]
    assert trained(cli, *words, verb="pretrain")["val/loss"] > 0


@pytest.mark.parametrize("name", that_can(LearnsFromFrames))
def test_models_that_learn_from_speech(cli: Cli, name: str) -> None:
    words = [*TINY, *SPEECH, f"model={name}", "model.network.width=16"]
    assert trained(cli, *words, verb="pretrain")["val/loss"] > 0


@pytest.mark.parametrize("name", that_can(ReconstructsSpeech))
def test_models_that_rebuild_speech(cli: Cli, name: str) -> None:
    trained(cli, *TINY, *SPEECH, f"model={name}", "judges=false", "probes=false", verb="reconstruct")
    assert list(Path("outputs").glob("reconstruct/*/*/model.safetensors"))


@pytest.mark.parametrize("name", SPEECH_TASKS)
def test_tasks_on_speech(cli: Cli, name: str) -> None:
    words = [*TINY, *SPEECH, f"task={name}", "model.width=16", "bootstrap_samples=10"]
    assert trained(cli, *words, verb="finetune")["test/accuracy"] >= 0


@pytest.mark.parametrize("name", IMAGE_TASKS)
@pytest.mark.parametrize("model", that_can(EncodesImages))
def test_tasks_on_images(cli: Cli, name: str, model: str) -> None:
    words = [*TINY, f"task={name}", f"model={model}", "bootstrap_samples=10"]
    assert trained(cli, *words, verb="finetune")["test/accuracy"] >= 0


@pytest.mark.parametrize("name", of_modality("image"))
def test_images_with_labels(cli: Cli, published: Path, name: str) -> None:
    words = [*TINY, "task=images", f"data={name}", *required_words(name, published), "data.val=0.2"]
    assert trained(cli, *words, "bootstrap_samples=10", verb="finetune")["test/accuracy"] >= 0


@pytest.mark.parametrize("name", [name for name in choices("task") if name not in SUITES + SPEECH_TASKS + IMAGE_TASKS])
def test_tasks(cli: Cli, workdir: Path, name: str) -> None:
    words = task_words(workdir / "data", name)
    metrics = trained(cli, *words, *TINY_TASK, "bootstrap_samples=10", verb="finetune")
    assert any(key.startswith("dev/") for key in metrics)
    assert Path("outputs").glob("finetune/*/*/predictions-dev.jsonl")


@pytest.mark.parametrize("name", SUITES)
def test_suites_name_tasks_that_exist(name: str) -> None:
    tasks = list(read_yaml(choices("task")[name].path).tasks)
    assert tasks and set(tasks) <= set(choices("task"))


@pytest.mark.parametrize("name", that_can(EncodesText))
def test_networks(cli: Cli, workdir: Path, name: str) -> None:
    task, metric = ("text_generation", "rougeL") if name == "encoder_decoder" else ("classify", "accuracy")
    words = [*task_words(workdir / "data", task), f"model={name}"]
    assert trained(cli, *words, *TINY_TASK, "bootstrap_samples=10", verb="finetune")[f"dev/{metric}"] >= 0


@pytest.mark.parametrize("name", names("experiment"))
def test_experiments(cli: Cli, published: Path, name: str) -> None:
    """Each runs with the command in its comment, shortened, and has the metrics that its summary_metrics names."""
    text = (built_in_conf() / "experiment" / f"{name}.yaml").read_text()
    (command,) = re.findall(rf"^#   ssl (\w+) .*experiment={name}\b", text, re.MULTILINE)
    (modality,) = {
        modality
        for modality in ("image", "audio", "article")
        if any(f"override /data: {data}\n" in text for data in of_modality(modality))
    } or {None}
    few = {"image": FEW_IMAGES, "audio": FEW_RECORDINGS, "article": FEW_ARTICLES}
    network = ["layers=1", "width=48"] if "override /model: mae\n" in text else ["widths=[8,8,8,8]"]
    of_images = ["trainer.batch_size=4", "data.val=0.1", "baselines=false", *(f"model.network.{of}" for of in network)]
    of_pretrain = of_images if modality == "image" else ["data.cache=tokens", "model.network.context=16"]
    short = {"reconstruct": few.get(modality, []), "pretrain": of_pretrain}.get(
        command, [*FOUR_STEPS[2:], "bootstrap_samples=20"]
    )
    words = [f"experiment={name}", f"paths.data={published}", "trainer=cpu", "trainer.max_steps=2", *short]
    if "linear_probe" in text:
        words.append("probes=true")
    metrics = trained(cli, *words, verb=command)
    named = re.findall(
        r"(?:test|val|train)/\w+", text.partition("summary_metrics:")[2].replace("_1000", "_all")
    )  # there are fewer images
    assert set(named) <= set(metrics)


@pytest.mark.parametrize("name", names("optim"))
def test_optim(cli: Cli, name: str) -> None:
    assert 0 <= trained(cli, *QUICK, f"optim={name}")["test/auroc"] <= 1


@pytest.mark.parametrize(
    ("words", "optimizer", "rate", "decay"),
    [
        ([], "MuonAdamW", 8e-3, 1.0),
        (["model=t5"], "MuonAdamW", 8e-3, 1.0),
        (["init=FOLDER"], "MuonAdamW", 1e-3, 0.01),
        (["optim.lr=0.5"], "MuonAdamW", 0.5, 1.0),
        (["optim=adamw"], "AdamW", 1e-3, 0.01),
        (["optim=sgd"], "SGD", 1e-3, 0.01),
        (["model=speech_bert", "data=fsdd"], "AdamW", 2e-3, 0.01),
        (["model=speech_gpt", "data=fsdd", "optim=muon"], "MuonAdamW", 2e-3, 0.01),
        (["experiment=bert_10_minutes", "optim=adamw"], "AdamW", 1e-3, 0.01),
        (["experiment=gpt_shakespeare"], "AdamW", 1e-3, 0.1),
    ],
)
def test_learning_rate_and_decay_of_pretraining_follow_the_optimizer(
    words: list[str], optimizer: str, rate: float, decay: float
) -> None:
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        optim = compose("pretrain", words).optim
    assert optim.optimizer._target_.rpartition(".")[2] == optimizer
    assert optim.lr == optim.optimizer.lr == rate
    assert optim.weight_decay == optim.optimizer.weight_decay == decay


@pytest.mark.parametrize("name", ["auto", "cpu"])
def test_trainer(cli: Cli, name: str) -> None:
    code, _, err = cli("detect", f"trainer={name}", *QUICK[1:])
    assert code == 0, err


@pytest.mark.parametrize("name", ["gpu", "fsdp"])
@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_trainer_that_needs_a_gpu_says_so(cli: Cli, name: str) -> None:
    code, _, err = cli("detect", f"trainer={name}")
    assert code == 2
    assert "use trainer=cpu" in err


def test_a_users_trainer_may_inherit_ours(cli: Cli, workdir: Path) -> None:
    (workdir / "conf" / "trainer").mkdir(parents=True)
    mine = "# Mine\ndefaults: [auto, _self_]\naccelerator: cpu\nmax_steps: 3\n"
    (workdir / "conf" / "trainer" / "mine.yaml").write_text(mine)
    code, out, err = cli("detect", "trainer=mine", "bootstrap_samples=20")
    assert code == 0, err
    assert "step 3/3" in out
    (workdir / "conf" / "trainer" / "cpu.yaml").write_text("# Mine\ndefaults: [cpu, _self_]\n")
    assert "inherits from its own name" in cli("detect", "trainer=cpu")[2]


@pytest.mark.parametrize(("model", "minimum"), [("best", 0.96), ("dae", 0.97)])
def test_tumours_are_found(cli: Cli, model: str, minimum: float) -> None:
    code, out, err = cli("detect", f"model={model}", "trainer=cpu", "bootstrap_samples=20", "seed=2", "calibrate=split")
    assert code == 0, err
    assert json.loads((Path(out.strip().splitlines()[-1]) / "metrics.json").read_text())["test/auroc"] > minimum


@pytest.mark.long
@pytest.mark.shared
@pytest.mark.parametrize(("data", "minimum"), [("breast_cancer", 0.96), ("creditcard", 0.95), ("kddcup99", 0.995)])
def test_the_default_reaches_the_scores_of_the_readme(cli: Cli, shared: Path, data: str, minimum: float) -> None:
    code, out, err = cli("detect", "trainer=cpu", f"data={data}", f"paths.data={shared}")
    assert code == 0, err
    assert json.loads((Path(out.strip().splitlines()[-1]) / "metrics.json").read_text())["test/auroc"] >= minimum
