"""transformers' side: BART and T5 in its Trainer, on the corrupted texts that ours makes.

transformers has no corruption for them in torch, so it reads the same pairs as our side, from a file: it need not make
them, which is to its advantage.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from text_sides.timing import WARM_UP, Clock
from torch.utils.data import Dataset, SequentialSampler
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
    Trainer,
    TrainingArguments,
)

BART_DROPOUTS = ("dropout", "attention_dropout", "activation_dropout")


class Pairs(Dataset):
    """Sources and targets as our side wrote them, in the order of its batches."""

    def __init__(self, path: Path):
        self.arrays = {name: torch.from_numpy(array.astype(np.int64)) for name, array in np.load(path).items()}

    def __len__(self) -> int:
        return len(self.arrays["source"])

    def __getitem__(self, row: int) -> dict[str, torch.Tensor]:
        names = {"input_ids": "source", "decoder_input_ids": "inputs", "labels": "targets"}
        return {theirs: self.arrays[ours][row] for theirs, ours in names.items()}


class InOrder(Trainer):
    """A Trainer that reads its examples in their order."""

    def _get_train_sampler(self, *_: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)


def seconds_a_step(
    folder: Path, family: str, shape: tuple[int, int, int], rows: int, steps: int, dropout: bool, **settings: Any
) -> float:
    """Return the median seconds of a step; `shape` is layers of each half, width, and vocabulary."""
    model = new_model(family, shape, dropout)
    clock = Clock(model)
    trainer_of(model, Pairs(folder / f"{family}-train.npz"), rows, steps + WARM_UP, **settings).train()
    return clock.seconds_a_step()


def validation_loss(
    folder: Path, family: str, shape: tuple[int, int, int], rows: int, steps: int, seed: int, lr: float, **settings: Any
) -> float:
    """Return the loss on held-out pairs after `steps`, in nats per token of the target."""
    transformers.set_seed(seed)
    settings |= {"learning_rate": lr, "warmup_steps": min(100, steps // 10), "weight_decay": 0.01, "seed": seed}
    model = new_model(family, shape, dropout=False)
    trainer = trainer_of(model, Pairs(folder / f"{family}-train.npz"), rows, steps, **settings)
    trainer.train()
    return float(trainer.evaluate(Pairs(folder / f"{family}-val.npz"))["eval_loss"])


def new_model(family: str, shape: tuple[int, int, int], dropout: bool) -> Any:
    """Return a BART, or a T5 in the shape of its version 1.1, with random weights."""
    layers, width, vocab_size = shape
    heads = max(1, width // 64)
    if family == "bart":
        halves = {
            f"{half}_{name}": value
            for half in ("encoder", "decoder")
            for name, value in (("layers", layers), ("attention_heads", heads), ("ffn_dim", 4 * width))
        }
        without = {} if dropout else dict.fromkeys(BART_DROPOUTS, 0.0)
        config = BartConfig(vocab_size=vocab_size, d_model=width, max_position_embeddings=128, **halves, **without)
        return BartForConditionalGeneration(config)
    rate = 0.1 if dropout else 0.0
    sizes = {"d_model": width, "d_kv": 64, "d_ff": 4 * width, "num_layers": layers, "num_heads": heads}
    return T5ForConditionalGeneration(
        T5Config(vocab_size=vocab_size, **sizes, feed_forward_proj="gated-gelu", dropout_rate=rate)
    )


def trainer_of(model: Any, pairs: Pairs, rows: int, steps: int, **settings: Any) -> Trainer:
    """Return a Trainer that saves and reports nothing."""
    on_cpu: dict[str, Any] = {"use_cpu": True, "save_strategy": "no", "report_to": [], "disable_tqdm": True}
    with tempfile.TemporaryDirectory() as folder:
        chosen = TrainingArguments(folder, max_steps=steps, per_device_train_batch_size=rows, **{**on_cpu, **settings})
    return InOrder(model, chosen, train_dataset=pairs)
