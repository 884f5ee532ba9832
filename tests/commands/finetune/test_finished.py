"""Finished runs of ssl finetune in Python: their predictions, and errors for damaged or untrusted runs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

import ssl_cli
from ssl_cli.commands.finetune.finished import FinetuneRun
from ssl_cli.errors import InputError
from ssl_cli.runs.digests import write_digests
from tests.helpers.finetune_runs import make_run

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def opened(folder: Path) -> FinetuneRun:
    found = ssl_cli.load(folder)
    assert isinstance(found, FinetuneRun)
    return found


def test_texts_and_pairs(tmp_path: Path) -> None:
    run = opened(make_run(tmp_path / "run", "glue/mnli", ["no", "yes", "maybe"]))
    records = [{"text": "Birds can fly.", "pair": "A bird"}, {"sentence1": "Fish", "sentence2": "a dog", "index": 7}]
    first, second = run.predict(records, "32-true")
    assert first["text"] == "Birds can fly." and first["pair"] == "A bird" and "id" not in first
    assert second["id"] == 7 and "label" not in second
    assert list(first["probabilities"]) == ["no", "yes", "maybe"]
    assert first["probability"] == first["probabilities"][first["prediction"]] == max(first["probabilities"].values())
    assert run.predict(records[:1], "32-true")[0]["probability"] == pytest.approx(first["probability"], abs=1e-4)
    assert run.predict([]) == []


def test_predictions_are_those_of_the_network(tmp_path: Path) -> None:
    run = opened(make_run(tmp_path / "run"))
    (prediction,) = run.predict(["A bird can fly."], "32-true")
    ids = torch.tensor([[run.template.prefix[0], *run.tokenizer.encode("A bird can fly."), run.template.suffix[0]]])
    with torch.no_grad():
        model: Any = run.model
        scores = model.decide(model.pool(model.network(ids)[0, 0]).tanh()).softmax(-1)
    np.testing.assert_allclose(list(prediction["probabilities"].values()), scores, atol=1e-5)


def test_numbers_and_options(tmp_path: Path) -> None:
    (prediction,) = opened(make_run(tmp_path / "a", "glue/stsb", [])).predict([{"text": "Birds", "pair": "Fish"}])
    assert isinstance(prediction["prediction"], float) and "probabilities" not in prediction
    record = {"text": "A bird", "options": ["can fly.", "can run.", "is cold."]}
    (prediction,) = opened(make_run(tmp_path / "b", "multiple_choice", [])).predict([record])
    assert len(prediction["probabilities"]) == 3 and prediction["prediction"] in range(3)


def test_words_are_tagged(tmp_path: Path) -> None:
    run = opened(make_run(tmp_path / "run", "ner", TAGS, max_length=8))
    long, short = run.predict(["bird " * 20 + "sun", {"words": ["Birds", "fly"]}])
    assert len(long["predictions"]) == 21 and len(short["predictions"]) == 2 and "labels" not in long
    assert set(long["predictions"]) <= set(TAGS)


def test_an_answer_is_part_of_its_passage(tmp_path: Path) -> None:
    passage = "Birds can fly. Fish can swim. " * 8
    records = [{"question": "Who can swim?", "context": passage}]
    run = opened(make_run(tmp_path / "a", "squad", []))
    (prediction,) = run.predict(records)
    assert prediction["prediction"] and passage[prediction["start"] :].startswith(prediction["prediction"])
    never = opened(make_run(tmp_path / "b", "squad2", [], learned={"null_threshold": -1e9}))
    assert never.predict(records)[0]["prediction"] == "" and never.predict(records)[0]["start"] is None
    always = opened(make_run(tmp_path / "c", "squad2", [], learned={"null_threshold": 1e9}))
    assert always.predict(records)[0]["prediction"] == prediction["prediction"]


@pytest.mark.parametrize(
    ("records", "sentence"),
    [
        ("a text", "records must be a list, of texts or of records"),
        ([3], "it must be a text, or a record such as {'text': ...}, not an int."),
        (["fine", {"text": " "}], "record 2: there is no text in the column text: it is empty."),
        ([{"review": "x"}], "there is no column sentence or text"),
    ],
)
def test_records_that_are_rejected(tmp_path: Path, records: Any, sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        opened(make_run(tmp_path / "run")).predict(records)
    assert str(raised.value).startswith(sentence) and str(raised.value)[-1] in ".?"


def edit(change: Callable[[Any], None]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        config = OmegaConf.load(folder / "config.yaml")
        change(config)
        OmegaConf.save(config, folder / "config.yaml")

    return damage


def put(where: str, value: Any) -> Callable[[Path], None]:
    return edit(lambda config: OmegaConf.update(config, where, value, force_add=True))


def spoil(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["decide.bias"][0] = torch.nan
    save_file(weights, folder / "model.safetensors")


SOURCES = "ssl_cli.data.labelled.sources"
LAYOUT = {"_target_": f"{SOURCES}.PublishedLayout", "folder": "x", "files": {}}
ATTACKS: list[tuple[Callable[[Path], None], str]] = [
    (put("task._target_", "os.system"), "names os.system, which isn't one of ssl's own classes"),
    (
        put("task._target_", "ssl_cli.data.tokenizers.tokenizer.Tokenizer"),
        "task names ssl_cli.data.tokenizers.tokenizer.Tokenizer, which is",
    ),
    (put("task._target_", f"{SOURCES}.hub_rows"), "which isn't one of ssl's own classes"),
    (edit(lambda config: setattr(config, "task", LAYOUT)), "task names PublishedLayout, which is not a task"),
    (put("task.layout._target_", "subprocess.Popen"), "names subprocess.Popen, which isn't one of ssl's own classes"),
    (put("task.layout.splits", {"_args_": ["x"]}), "task.layout.splits._args_, which ssl never saves"),
    (put("task.colour", "red"), "task.colour is not an option"),
    (put("task.text", 3), "task.text must be"),
    (edit(lambda config: config.pop("task")), "task is missing"),
    (put("task", None), "task must be a group of options"),
    (put("facts.labels", ["a", "b", "c"]), "damaged: model.n_labels is 2, but must be 3 for its task and labels."),
    (put("facts.labels", None), "is damaged: "),
    (put("facts.max_length", 10**9), "facts.max_length must be a number of at most 128 tokens"),
    (put("facts.max_length", "many"), "facts.max_length must be a number of at most 128 tokens"),
    (put("facts.max_length", 3), "leaves no room for text"),
    (
        put("model.kind", "regression"),
        "model.kind is 'regression', but must be 'classification' for its task and labels.",
    ),
    (put("model.network.width", 64), "model.safetensors holds "),
    (lambda folder: (folder / "tokenizer.json").unlink(), "tokenizer.json"),
    (lambda folder: (folder / "tokenizer.json").write_text("{}"), "tokenizer.json"),
    (spoil, "model.safetensors holds numbers that are NaN or infinite: train it again."),
]


@pytest.mark.parametrize(("attack", "sentence"), ATTACKS)
def test_a_damaged_or_untrusted_run(tmp_path: Path, attack: Callable[[Path], object], sentence: str) -> None:
    folder = make_run(tmp_path / "run")
    attack(folder)
    write_digests(folder)
    with pytest.raises(InputError) as raised:
        ssl_cli.load(folder)
    assert sentence in str(raised.value) and "\n" not in str(raised.value), raised.value


def test_the_tuned_parameters_must_exist(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "squad2", [], learned={"null_threshold": 1.5})
    assert opened(folder).task.learned() == {"null_threshold": 1.5}
    for content, sentence in (
        (json.dumps({"null_threshold": "x"}), "is not a number"),
        ("[1]", "learned.json is damaged: it must be an object."),
        (None, "is damaged: it has no learned.json."),
    ):
        copy = Path(shutil.copytree(folder, tmp_path / "copy", dirs_exist_ok=True))
        (copy / "learned.json").write_text(content or "") if content else (copy / "learned.json").unlink()
        write_digests(copy)
        with pytest.raises(InputError) as raised:
            ssl_cli.load(copy)
        assert sentence in str(raised.value)
