"""Our side: the code that `ssl finetune` runs, from a composed config to a trained model and its predictions."""

import json
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finetune_sides.clock import seconds_a_step
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, OmegaConf
from text_sides.timing import WARM_UP, Clock, repeated

from ssl_cli.cli.grammar import parse_override
from ssl_cli.cli.overrides import as_lines
from ssl_cli.commands.finetune.adaptation import Adaptation
from ssl_cli.commands.finetune.finetune import apply_task, decode, fit_network, metrics_of
from ssl_cli.commands.finetune.inference import precision_of, predict_all
from ssl_cli.commands.initialize import apply_init, resolve_init
from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.methods.build import new_model
from ssl_cli.training.trainer import train

VAL_EXAMPLES = 64  # dev examples of the one validation after the measured steps


def prepare(words: list[str], folder: Path) -> None:
    """Write the examples for the other side: a line of JSON for each, and the number of classes."""
    task, examples = task_and_examples(composed(words))
    labels = task.labels(examples["train"])
    for split in ("train", "dev"):
        lines = (json.dumps(to_json(example, labels)) + "\n" for example in examples[split])
        (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")
    (folder / "facts.json").write_text(json.dumps({"n_labels": max(1, len(labels))}), encoding="utf-8")


def seconds_an_example(words: list[str], steps: int) -> float:
    """Return the seconds of training per example, or per window of a passage, as the mean over steps."""
    cfg = composed([*words, f"trainer.max_steps={steps + 1 + WARM_UP}"])
    model, rows, _ = prepared(cfg, VAL_EXAMPLES)
    clock = Clock(model)
    cfg.trainer.validate_every_n_steps = cfg.trainer.checkpoint_every_n_steps = cfg.trainer.max_steps
    with tempfile.TemporaryDirectory() as run:
        train(model, rows["train"], rows["dev"], cfg, Path(run))
    return seconds_a_step(clock, steps) / cfg.trainer.batch_size


def seconds_a_dev_example(words: list[str], device: str) -> float:
    """Return the seconds of prediction per dev example."""
    cfg = composed(words)
    model, rows, _ = prepared(cfg)
    precision = precision_of(cfg, torch.device(device))
    model.to(device).eval()
    return repeated(lambda: predict_all(model, rows["dev"], precision), least=1) / len(rows["dev"])


def extraction(words: list[str]) -> tuple[int, int, float, float]:
    """Return the questions and windows of dev, the seconds of decoding random scores, and those of the metrics."""
    _, rows, (task, examples, labels) = prepared(composed(words))
    rng = np.random.default_rng(0)
    scores = [rng.normal(size=(2, length)).astype(np.float32) for length in rows["dev"].sequences.length]
    started = time.perf_counter()
    predictions = decode(task, "dev", examples["dev"], rows["dev"], scores, labels)
    decoded = time.perf_counter()
    metrics_of(task, predictions)
    return len(predictions), len(scores), decoded - started, time.perf_counter() - decoded


def span_metrics(words: list[str], ids: list[list[int]], scores: list[np.ndarray]) -> dict[str, float]:
    """Return the metrics of another model's scores, (2, length) for each window of dev.

    `ids` are the tokens of its windows, which must equal ours.
    """
    _, rows, (task, examples, labels) = prepared(composed(words))
    dev = rows["dev"]
    our_ids = np.split(dev.sequences.tokens["ids"], np.cumsum(dev.sequences.length)[:-1])
    assert [window.tolist() for window in our_ids] == ids, "the two sides cut or tokenize passages differently"
    return metrics_of(task, decode(task, "dev", examples["dev"], dev, scores, labels))


# --- the same steps as in commands/finetune/finetune.py ---


def composed(words: list[str]) -> DictConfig:
    """Return the config of `ssl finetune` with overrides, of which the first is the task."""
    with initialize_config_dir(str(built_in_conf().resolve()), version_base="1.3"):
        cfg = compose("finetune", as_lines("finetune", [parse_override(word) for word in words]))
    OmegaConf.set_struct(cfg, False)
    cfg.choices = {"task": words[0].removeprefix("task=")}
    return cfg


def task_and_examples(cfg: DictConfig) -> tuple[Any, dict[str, Any]]:
    """Return the task, and its examples by split."""
    task = build(cfg.task)
    return task, task.read(build(cfg.data))


def prepared(cfg: DictConfig, n_dev: int | None = None) -> tuple[Any, dict[str, Any], tuple[Any, dict[str, Any], list]]:
    """Return the model with loaded weights, rows by split, and (task, examples, labels)."""
    task, examples = task_and_examples(cfg)
    init = resolve_init(cfg)
    apply_init(cfg, init)
    tokenizer = init.tokenizer or build(cfg.tokenizer).train(task.texts(examples["train"]))
    network, length = fit_network(cfg, init, tokenizer.vocab_size)
    labels = task.labels(examples["train"])
    examples["dev"] = examples["dev"][:n_dev]
    template = SequenceTemplate.for_tokenizer(tokenizer, network["causal"], length)
    rows = {
        split: task.rows(examples[split], template, labels, training=split == "train").with_row_length(length)
        for split in ("train", "dev")
    }
    apply_task(cfg, task, init, network, labels, length)
    model = new_model(cfg)
    init.load_into(model)
    Adaptation(cfg.freeze, cfg.layer_decay, cfg.reinit, cfg.lora).prepare(model)
    model.monitor = task.monitor
    model.validation_metrics = lambda raw: metrics_of(
        task, decode(task, "dev", examples["dev"], rows["dev"], raw, labels)
    )
    return model, rows, (task, examples, labels)


def to_json(example: Any, labels: Iterable[str]) -> dict[str, Any]:
    """Return an example or a question as a JSON object; a class as its index."""
    if hasattr(example, "question"):
        text, start = example.answers[0]
        return {"question": example.question, "context": example.context, "answer": text, "at": start}
    label = list(labels).index(example.label) if labels else example.label
    return {"text": example.text, **({"pair": example.pair} if example.pair is not None else {}), "label": label}
