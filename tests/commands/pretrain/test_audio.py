"""ssl pretrain on speech: from recordings to a finished run, resumed or not, and its error messages."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file

import ssl_cli
from ssl_cli.commands.pretrain.audio_probes import few_label_metrics
from ssl_cli.commands.pretrain.evaluate import evaluate
from ssl_cli.config.instantiate import build
from ssl_cli.data.audio.windows import SpeechWindows
from tests.conftest import Cli
from tests.helpers.recordings import write_recordings

QUICK = ["trainer=cpu", "trainer.max_steps=4", "trainer.batch_size=8", "trainer.validate_every_n_steps=2"]
SMALL = ["model.network.layers=1", "model.network.width=16", "model.network.context=24"]
DATA = ["data=fsdd", "data.test_takes=[0]", "data.val=0.3", "data.n_mels=16", "data.dir=recordings"]
PROBES = {f"test/{of}word_probe_10_{pool}" for of in ("", "log_mel_") for pool in ("mean", "thirds")}
BERT = ["model=speech_bert", "model.n_units=8", "model.span=3"]


@pytest.fixture
def speech(workdir: Path) -> list[str]:
    write_recordings(workdir / "recordings")
    return [*DATA, *QUICK, *SMALL]


def run(cli: Cli, *words: str) -> Path:
    code, out, err = cli("pretrain", *words)
    assert code == 0, err
    return Path(out.strip().splitlines()[-1])


def test_a_finished_run_can_be_loaded(cli: Cli, speech: list[str]) -> None:
    folder = run(cli, *speech, *BERT)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert set(metrics) == {"val/loss", "val/masked_accuracy", "val/bits_per_frame", "train/frames_per_s", *PROBES}
    assert metrics["val/bits_per_frame"] == pytest.approx(metrics["val/loss"] / np.log(2), abs=1e-6)
    for name in ("report.html", "reader.json", *(f"figures/{name}.png" for name in ("predictions", "units"))):
        assert (folder / name).stat().st_size > 0
    config = OmegaConf.load(folder / "config.yaml")
    assert not {"tokenizer", "val_tokens", "eval_tokens", "init", "show"} & set(config)
    assert "tokenizer" not in config.choices
    assert config.data.normalization == "speaker", "what the model is made for"
    assert folder.parent.name == "speech_bert-fsdd"
    reopened = ssl_cli.load(folder)
    data = build(reopened.config.data).speech_splits(0)
    rows = SpeechWindows(data.splits["val"], data.reader, reopened.model.window, 0, training=False)
    again = evaluate(reopened.model, rows, 0) | few_label_metrics(reopened.model, data, 0)
    assert again == {name: metrics[name] for name in again}
    for words in (["fill", "text=hello"], ["export", "output=new"]):
        code, _, err = cli(*words, f"run={folder}")
        assert (code, err) == (2, f"error: {folder} is a run on speech: this needs one on text.\n")


@pytest.mark.parametrize("words", [[*BERT, "model.target=frames"], ["model=speech_gpt"]])
def test_frames_are_predicted(cli: Cli, speech: list[str], words: list[str]) -> None:
    folder = run(cli, *speech, *words)
    assert set(json.loads((folder / "metrics.json").read_text())) == {"val/loss", "train/frames_per_s", *PROBES}
    assert (folder / "figures" / "predictions.png").stat().st_size > 0
    assert not (folder / "figures" / "units.png").exists()


def test_a_resumed_run_is_the_same_as_an_uninterrupted_one(cli: Cli, speech: list[str], workdir: Path) -> None:
    words = [*speech, *BERT, "optim.schedule=constant"]
    whole, part = run(cli, *words), run(cli, *words, "trainer.max_steps=2")
    code, _, err = cli("pretrain", f"resume={part}", "trainer.max_steps=4")
    assert code == 0, err
    mine, theirs = load_file(whole / "model.safetensors"), load_file(part / "model.safetensors")
    assert set(mine) == set(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_repeated_run_is_skipped(cli: Cli, speech: list[str]) -> None:
    first = run(cli, *speech, *BERT)
    assert run(cli, *speech, *BERT, "sweep.skip_done=true") == first


def test_validation_may_be_limited_and_nothing_held_out(cli: Cli, speech: list[str]) -> None:
    words = [*speech, *BERT, "data.val=0", "trainer.limit_val_batches=1"]
    code, _, err = cli("pretrain", *words)
    assert code == 0
    assert "no utterance is held out" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["model=bert"], "model=bert reads ids, but data=fsdd gives frames"),
        (["model=bert"], "Try model=speech_bert or speech_gpt"),
        (["model=speech_bert", "data=pydoc"], "or data=fsdd or mboshi or speech or synthetic_speech"),
        (["tokenizer=bpe"], "tokenizer is for text, and data=fsdd holds speech: leave it out"),
        (["tokenizer.vocab_size=99"], "tokenizer is for text"),
        (["show=batch"], "show is for text"),
        (["init=somewhere"], "init is for text"),
        (["model=speech_bert", "model.network.causal=true"], "model.network.causal must be false"),
        (["model=speech_bert", "model.n_units=5000"], "model.n_units=5000: the training data has only"),
        (["model=speech_bert", "model.mask_ratio=1"], "model.mask_ratio must be"),
    ],
)
def test_invalid_options_are_reported_in_one_sentence(
    cli: Cli, speech: list[str], workdir: Path, words: list[str], sentence: str
) -> None:
    keep = [word for word in speech if not (words[-1] == "data=pydoc" and word.startswith("data"))]
    keep = [word for word in keep if not (words[0] in ("model=bert", "init=somewhere") and word.startswith("model."))]
    code, _, err = cli("pretrain", *keep, *words)
    assert code == 2
    assert sentence in err
    assert err.count("\n") == 1, err
    shutil.rmtree(workdir / "outputs", ignore_errors=True)
