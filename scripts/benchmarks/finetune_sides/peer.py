"""transformers' side: its Trainer, set up as in the examples run_glue.py and run_qa.py.

Padded: every row to the full length, as both do by default. Otherwise each batch to its longest row, with rows grouped
by length. The optimizer is the Trainer's default: torch's AdamW, fused.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from finetune_sides import run_glue, run_qa
from finetune_sides.clock import seconds_a_step
from finetune_sides.tasks import Task
from text_sides.timing import WARM_UP, Clock, repeated
from transformers import AutoTokenizer, DataCollatorWithPadding, Trainer, TrainingArguments, default_data_collator

Settings = dict[str, Any]  # of TrainingArguments
MAX_CYCLE_BATCHES = 50  # that LengthGroupedSampler sorts together


def seconds_an_example(
    folder: Path, checkpoint: Path, task: Task, padded: bool, steps: int, settings: Settings
) -> float:
    """Return the seconds of training per example, as the mean over steps.

    If rows are grouped by length, steps are rounded up to whole cycles from the longest rows to the shortest.
    """
    tokenizer, model, (rows,) = parts(folder, checkpoint, task, padded, "train")
    if not padded:
        cycle = max(1, min(len(rows) // (4 * task.batch_size), MAX_CYCLE_BATCHES))
        steps = -(-steps // cycle) * cycle
    clock = Clock(model)
    trainer_of(model, tokenizer, rows, task, padded, {"max_steps": steps + 1 + WARM_UP, **settings}).train()
    return seconds_a_step(clock, steps) / task.batch_size


def seconds_a_dev_example(folder: Path, checkpoint: Path, task: Task, padded: bool, settings: Settings) -> float:
    """Return the seconds of prediction per dev example."""
    tokenizer, model, (rows,) = parts(folder, checkpoint, task, padded, "dev")
    trainer = trainer_of(model, tokenizer, None, task, padded, settings)
    return repeated(lambda: trainer.predict(rows), least=1) / len(rows)


def dev_scores(folder: Path, checkpoint: Path, task: Task, seed: int, settings: Settings) -> dict[str, float]:
    """Return the metrics of the last weights on dev."""
    trainer, dev = trained(folder, checkpoint, task, seed, settings)
    return run_glue.metrics(trainer.predict(dev).predictions, dev["label"], task.metrics)


def span_scores(
    folder: Path, checkpoint: Path, task: Task, seed: int, settings: Settings
) -> tuple[list[list[int]], list[np.ndarray]]:
    """Return for each window of dev, after training: its tokens, and the scores of starts and ends (2, length)."""
    trainer, dev = trained(folder, checkpoint, task, seed, settings)
    start_and_end = np.stack(trainer.predict(dev).predictions, axis=1)  # (W, 2, L)
    ids = [list(row) for row in dev["input_ids"]]
    return ids, [scores[:, : len(row)] for scores, row in zip(start_and_end, ids, strict=True)]


def trained(folder: Path, checkpoint: Path, task: Task, seed: int, settings: Settings) -> tuple[Trainer, Any]:
    """Return the trainer with its last weights, and dev; each batch is padded to its longest row."""
    transformers.set_seed(seed)
    tokenizer, model, (rows, dev) = parts(folder, checkpoint, task, False, "train", "dev")
    settings = {"seed": seed, "train_sampling_strategy": "random", **settings}
    trainer = trainer_of(model, tokenizer, rows, task, False, settings)
    trainer.train()
    # With grouping by length, evaluation is grouped too, and its predictions come in that order.
    trainer.args.train_sampling_strategy = "random"
    return trainer, dev


def parts(folder: Path, checkpoint: Path, task: Task, padded: bool, *splits: str) -> tuple[Any, Any, list[Any]]:
    """Return the tokenizer, the model with a new head, and the rows of these splits."""
    side, tokenizer = run_qa if task.has_questions else run_glue, AutoTokenizer.from_pretrained(checkpoint)
    facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
    rows = [side.rows(folder, split, tokenizer, task.max_length, padded) for split in splits]
    return tokenizer, side.model(checkpoint, **facts), rows


def trainer_of(model: Any, tokenizer: Any, rows: Any, task: Task, padded: bool, settings: Settings) -> Trainer:
    """Return the Trainer with the task's settings."""
    chosen: Settings = {
        "per_device_train_batch_size": task.batch_size,
        "per_device_eval_batch_size": task.batch_size,
        "learning_rate": task.lr,
        "train_sampling_strategy": "random" if padded else "group_by_length",
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
    }
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, **(chosen | settings))
    collate = default_data_collator if padded else DataCollatorWithPadding(tokenizer)
    return Trainer(model, arguments, collate, rows, processing_class=tokenizer)
