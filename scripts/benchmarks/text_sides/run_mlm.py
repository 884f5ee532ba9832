"""BERT as transformers trains it: what its example run_mlm.py sets up, without the command line.

Lines are tokenized and grouped into blocks by `datasets`, DataCollatorForLanguageModeling masks each batch, and the
Trainer runs with its own defaults. The model is BertForMaskedLM from its configuration, dropout 0.1 and all.
"""

import tempfile
from itertools import chain
from pathlib import Path
from typing import Any

import datasets
import transformers
from text_sides.timing import WARM_UP, Clock
from transformers import (
    BertConfig,
    BertForMaskedLM,
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
)

LENGTH = 128
SPECIALS = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


def seconds_a_step(
    folder: Path, shape: dict[str, int], batch_size: int, steps: int, dropout: bool = True, **settings: Any
) -> float:
    """`settings` are of TrainingArguments, such as bf16."""
    tokenizer = tokenizer_in(folder)
    model = new_model(tokenizer, shape, dropout)
    clock = Clock(model)
    trainer_of(model, tokenizer, blocks(folder, "train", tokenizer), batch_size, steps + WARM_UP, **settings).train()
    return clock.seconds_a_step()


def validation_loss(
    folder: Path, shape: dict[str, int], batch_size: int, steps: int, seed: int, lr: float, **settings: Any
) -> float:
    """Nats a masked token, after as many steps"""
    tokenizer = tokenizer_in(folder)
    transformers.set_seed(seed)
    settings |= {"learning_rate": lr, "warmup_steps": min(100, steps // 10), "weight_decay": 0.01, "seed": seed}
    train, watched = (blocks(folder, split, tokenizer) for split in ("train", "val"))
    trainer = trainer_of(new_model(tokenizer, shape, True), tokenizer, train, batch_size, steps, **settings)
    trainer.train()
    return float(trainer.evaluate(watched)["eval_loss"])


def padding(folder: Path, batch_size: int) -> float:
    """The share of padding in the batches of `run_mlm.py --line_by_line`: each line cut to the length, or padded."""
    tokenizer = tokenizer_in(folder)
    lines = [line for line in (folder / "train.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [{"input_ids": ids} for ids in tokenizer(lines, truncation=True, max_length=LENGTH)["input_ids"]]
    collate = DataCollatorForLanguageModeling(tokenizer)
    batches = [collate(rows[i : i + batch_size])["input_ids"] for i in range(0, len(rows), batch_size)]
    return sum(int((ids == tokenizer.pad_token_id).sum()) for ids in batches) / sum(ids.numel() for ids in batches)


def tokenizer_in(folder: Path) -> PreTrainedTokenizerFast:
    """Ours, as transformers reads it; it frames each line with [CLS] and [SEP] as BERT's own does."""
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **SPECIALS)


def new_model(tokenizer: PreTrainedTokenizerFast, shape: dict[str, int], dropout: bool) -> BertForMaskedLM:
    without = {} if dropout else dict.fromkeys(DROPOUTS, 0.0)
    return BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **shape, **without))


def trainer_of(model: Any, tokenizer: Any, rows: Any, batch_size: int, steps: int, **settings: Any) -> Trainer:
    on_cpu = {"use_cpu": True, "save_strategy": "no", "report_to": [], "disable_tqdm": True}
    with tempfile.TemporaryDirectory() as folder:
        chosen = TrainingArguments(
            folder, max_steps=steps, per_device_train_batch_size=batch_size, **{**on_cpu, **settings}
        )
    return Trainer(model, chosen, DataCollatorForLanguageModeling(tokenizer), rows, processing_class=tokenizer)


def blocks(folder: Path, split: str, tokenizer: PreTrainedTokenizerFast) -> Any:
    """The text of a split in blocks of LENGTH tokens, as a data set of `datasets`."""

    def tokenize(examples: dict[str, list]) -> dict[str, list]:
        return tokenizer(examples["text"], return_special_tokens_mask=True)

    def group(examples: dict[str, list]) -> dict[str, list]:
        joined = {name: list(chain(*lists)) for name, lists in examples.items()}
        total = len(joined["input_ids"]) // LENGTH * LENGTH
        return {name: [row[i : i + LENGTH] for i in range(0, total, LENGTH)] for name, row in joined.items()}

    cache = str(folder / "datasets")
    lines = datasets.load_dataset("text", data_files=str(folder / f"{split}.txt"), split="train", cache_dir=cache)
    return lines.map(tokenize, batched=True, remove_columns=["text"]).map(group, batched=True)
