"""Our side: the code that `ssl finetune` runs, from a composed config to a trained model and its guesses."""

import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from finetune_sides.clock import seconds_a_step
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from text_sides.timing import WARM_UP, Clock, repeated

from ssl_cli.cli.overrides import forced, parse
from ssl_cli.commands.finetune.adaptation import Adaptation
from ssl_cli.commands.finetune.finetune import fit_to_task, measured, published
from ssl_cli.commands.finetune.inference import predict_all
from ssl_cli.commands.finetune.initialize import fitted_length, resolve_init
from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.training.fit import new_model
from ssl_cli.training.trainer import train

WATCHED = 64  # dev examples, looked at once after the measured steps


def prepare(words: list[str], folder: Path) -> None:
    """What the files of `words` hold, as the other side reads it: a line of JSON an example; and how many classes."""
    task, examples = task_and_examples(composed(words))
    labels = task.labels(examples["train"])
    for split in ("train", "dev"):
        lines = (json.dumps(plain(example, labels)) + "\n" for example in examples[split])
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "facts.json").write_text(json.dumps({"n_labels": max(1, len(labels))}), encoding="utf-8")


def seconds_an_example(words: list[str], steps: int) -> float:
    """Of training, by the mean of these steps; of windows, where passages are cut into such"""
    cfg = composed([*words, f"trainer.max_steps={steps + 1 + WARM_UP}"])
    model, rows, _ = ready(cfg, WATCHED)
    clock = Clock(model)
    cfg.trainer.validate_every_n_steps = cfg.trainer.checkpoint_every_n_steps = cfg.trainer.max_steps
    with tempfile.TemporaryDirectory() as run:
        train(model, rows["learned"], rows["dev"], cfg, Path(run))
    return seconds_a_step(clock, steps) / cfg.trainer.batch_size


def seconds_a_dev_example(words: list[str], device: str) -> float:
    model, rows, _ = ready(composed(words))
    model.to(device).eval()
    return repeated(lambda: predict_all(model, rows["dev"]), least=1) / len(rows["dev"])


def extraction(words: list[str]) -> tuple[int, int, float, float]:
    """Questions and windows of dev; seconds of answers to random scores, and of measuring these"""
    _, rows, (task, examples, labels) = ready(composed(words))
    chance = np.random.default_rng(0)
    scores = [chance.normal(size=(2, length)).astype(np.float32) for length in rows["dev"].sequences.length]
    started = time.perf_counter()
    answers = task.answers(examples["dev"], rows["dev"], scores, labels)
    answered = time.perf_counter()
    task.tally(answers).metrics()
    return len(answers), len(scores), answered - started, time.perf_counter() - answered


def answered(words: list[str], ids: list[list[int]], scores: list[np.ndarray]) -> dict[str, float]:
    """Metrics of another model's scores, (2, length) for each window of dev; `ids`: the windows' tokens, which must
    be ours."""
    _, rows, (task, examples, labels) = ready(composed(words))
    dev = rows["dev"]
    mine = np.split(dev.sequences.tokens["ids"], np.cumsum(dev.sequences.length)[:-1])
    assert [own.tolist() for own in mine] == ids, "the two sides cut or tokenize passages differently"
    return measured(task, task.answers(examples["dev"], dev, scores, labels))


# --- as commands/finetune.py goes about it ---


def composed(words: list[str]) -> DictConfig:
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("finetune", [forced(parse(word)) for word in words])
    OmegaConf.set_struct(cfg, False)
    cfg.choices = {"task": words[0].removeprefix("task=")}
    return cfg


def task_and_examples(cfg: DictConfig) -> tuple[Any, dict[str, Any]]:
    task = build(cfg.task)
    return task, task.read(published(cfg))


def ready(cfg: DictConfig, n_dev: int | None = None) -> tuple[Any, dict[str, Any], tuple[Any, dict[str, Any], list]]:
    """The model with its weights, rows by split, and whence they came: the task, its examples and labels."""
    task, examples = task_and_examples(cfg)
    start = resolve_init(cfg, lambda: task.texts(examples["train"]))
    length = fitted_length(start, cfg.max_length)
    labels = task.labels(examples["train"])
    examples["dev"] = examples["dev"][:n_dev]
    frame = SequenceTemplate.of(start.tokenizer, start.options["causal"], length)
    rows = {
        name: task.rows(examples[split], frame, labels, learning).fitted(length)
        for name, split, learning in (("learned", "train", True), ("dev", "dev", False))
    }
    fit_to_task(cfg, task, start, labels, length)
    model = new_model(cfg)
    start.load_into(model)
    Adaptation(cfg.freeze, cfg.layer_decay, cfg.reinit, cfg.lora).prepare(model)
    model.monitor = task.monitor
    model.judge = lambda found: measured(task, task.answers(examples["dev"], rows["dev"], found, labels))
    return model, rows, (task, examples, labels)


def plain(example: Any, labels: Iterable[str]) -> dict[str, Any]:
    """An example or a question as JSON; a class by its number"""
    if hasattr(example, "question"):
        text, start = example.answers[0]
        return {"question": example.question, "context": example.context, "answer": text, "at": start}
    label = list(labels).index(example.label) if labels else example.label
    return {"text": example.text, **({"pair": example.pair} if example.pair is not None else {}), "label": label}
