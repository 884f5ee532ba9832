"""transformers' side: BERT as in its example run_mlm.py.

Lines are tokenized and grouped into blocks by `datasets`, DataCollatorForLanguageModeling masks each batch, and the
Trainer has its defaults. The model is BertForMaskedLM with its default configuration, including dropout 0.1.
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

ROW_LENGTH = 128
SPECIALS = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")


def seconds_a_step(
    folder: Path, shape: dict[str, int], batch_size: int, steps: int, dropout: bool = True, **settings: Any
) -> float:
    """Return the median seconds of a step; `settings` are arguments of TrainingArguments, such as bf16."""
    tokenizer = tokenizer_in(folder)
    model = new_model(tokenizer, shape, dropout)
    clock = Clock(model)
    trainer_of(model, tokenizer, blocks(folder, "train", tokenizer), batch_size, steps + WARM_UP, **settings).train()
    return clock.seconds_a_step()


def validation_loss(
    folder: Path, shape: dict[str, int], batch_size: int, steps: int, seed: int, lr: float, **settings: Any
) -> float:
    """Return the loss on held-out text after `steps`, in nats per masked token."""
    tokenizer = tokenizer_in(folder)
    transformers.set_seed(seed)
    settings |= {"learning_rate": lr, "warmup_steps": min(100, steps // 10), "weight_decay": 0.01, "seed": seed}
    train, val = (blocks(folder, split, tokenizer) for split in ("train", "val"))
    trainer = trainer_of(new_model(tokenizer, shape, True), tokenizer, train, batch_size, steps, **settings)
    trainer.train()
    return float(trainer.evaluate(val)["eval_loss"])


def padding(folder: Path, batch_size: int) -> float:
    """Return the share of padding in the batches of `run_mlm.py --line_by_line`, which cuts or pads each line."""
    tokenizer = tokenizer_in(folder)
    lines = [line for line in (folder / "train.txt").read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = [{"input_ids": ids} for ids in tokenizer(lines, truncation=True, max_length=ROW_LENGTH)["input_ids"]]
    collate = DataCollatorForLanguageModeling(tokenizer)
    batches = [collate(rows[i : i + batch_size])["input_ids"] for i in range(0, len(rows), batch_size)]
    return sum(int((ids == tokenizer.pad_token_id).sum()) for ids in batches) / sum(ids.numel() for ids in batches)


def tokenizer_in(folder: Path) -> PreTrainedTokenizerFast:
    """Return our tokenizer in transformers; it adds [CLS] and [SEP] to each line, as BERT's does."""
    return PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), **SPECIALS)


def new_model(tokenizer: PreTrainedTokenizerFast, shape: dict[str, int], dropout: bool) -> BertForMaskedLM:
    """Return a BERT with random weights."""
    without = {} if dropout else dict.fromkeys(DROPOUTS, 0.0)
    return BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **shape, **without))


def trainer_of(model: Any, tokenizer: Any, rows: Any, batch_size: int, steps: int, **settings: Any) -> Trainer:
    """Return a Trainer that saves and reports nothing."""
    on_cpu: dict[str, Any] = {"use_cpu": True, "save_strategy": "no", "report_to": [], "disable_tqdm": True}
    with tempfile.TemporaryDirectory() as folder:
        chosen = TrainingArguments(
            folder, max_steps=steps, per_device_train_batch_size=batch_size, **{**on_cpu, **settings}
        )
    return Trainer(model, chosen, DataCollatorForLanguageModeling(tokenizer), rows, processing_class=tokenizer)


def blocks(folder: Path, split: str, tokenizer: PreTrainedTokenizerFast) -> Any:
    """Return the text of a split in blocks of ROW_LENGTH tokens, as a data set of `datasets`."""

    def tokenize(examples: dict[str, list]) -> dict[str, list]:
        return tokenizer(examples["text"], return_special_tokens_mask=True)

    def group(examples: dict[str, list]) -> dict[str, list]:
        joined = {name: list(chain(*lists)) for name, lists in examples.items()}
        total = len(joined["input_ids"]) // ROW_LENGTH * ROW_LENGTH
        return {name: [row[i : i + ROW_LENGTH] for i in range(0, total, ROW_LENGTH)] for name, row in joined.items()}

    cache = str(folder / "datasets")
    lines = datasets.load_dataset("text", data_files=str(folder / f"{split}.txt"), split="train", cache_dir=cache)
    return lines.map(tokenize, batched=True, remove_columns=["text"]).map(group, batched=True)
