"""ssl pretrain: learn from unlabelled text to guess hidden tokens (BERT) or the next one (GPT)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.pretrain import batch_view, curves, evaluate, examples, report
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.commands.pretrain.initialize import PretrainInit, resolve_init, tokenizer_maker
from ssl_cli.config.instantiate import build
from ssl_cli.data.text.packing import PackedTokenDataset
from ssl_cli.data.text.tokens import TextData
from ssl_cli.errors import InputError
from ssl_cli.methods.scoring import device_of
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.folder import HISTORY, read_history
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import refuse_miscounted
from ssl_cli.training.fit import new_model
from ssl_cli.training.mfu import model_flops_utilisation, products_per_s
from ssl_cli.training.seeding import reseed
from ssl_cli.training.trainer import train

MANY = 0.02  # unknown tokens


def run(cfg: DictConfig) -> Path | None:
    """One run, from config to a finished run folder, whose path it returns; with show=batch nothing but a look."""
    refuse_miscounted(cfg)
    start = resolve_init(cfg)
    data: TextData = build(cfg.data).tokenize(tokenizer_maker(cfg))
    cfg.facts = data.facts
    model = start.load_into(new_model(cfg))
    rows = data.rows("train", model, cfg.seed, cfg.trainer.batch_size)
    held_out = data.rows("val", model, cfg.seed, cfg.trainer.batch_size)
    refuse_misfits(cfg, model, {"train": rows, "val": held_out})
    if cfg.show == "batch":
        describe(cfg, data, start)
        reseed(cfg.seed, 0, 0, device_of(model))
        shown = some(rows, batch_view.ROWS * rows.tokens_per_row)[0, slice(batch_view.ROWS), 1.0]
        batch_view.show(data.tokenizer, model.make_inputs(shown))
        return None
    if done := find_completed_run(cfg, data.fingerprint):
        return done
    with run_session(cfg, data.fingerprint, {TOKENIZER: data.tokenizer.to_json()}) as (folder, metrics, trackers):
        describe(cfg, data, start)
        train(model, rows, some(held_out, cfg.val_tokens), cfg, folder, trackers)
        if is_worker():
            return folder
        save_model(model.eval(), str(folder / WEIGHTS))

        measured = some(held_out, cfg.eval_tokens)
        console.say(f"measuring on {len(measured) * measured.tokens_per_row:,} tokens of held-out text")
        metrics |= evaluate.measure(model, measured, cfg.seed) | evaluate.pace(read_history(folder / HISTORY))
        if (device := device_of(model)).type == "cuda" and evaluate.SPEED in metrics:
            guessed = getattr(model, "hidden_per_row", model.row_length) / model.row_length
            speed = metrics[evaluate.SPEED] / (cfg.trainer.devices * cfg.trainer.num_nodes)
            metrics["train/mfu"] = model_flops_utilisation(model.network, guessed, speed, products_per_s(device))
        answers = examples.write(folder, model, data.tokenizer, held_out, cfg.seed)
        drawn = curves.draw(folder)
        report.write(folder, {**cfg.choices, "seed": cfg.seed}, metrics, answers, drawn)
        report.print_summary(metrics, answers, drawn)
    return folder


def refuse_misfits(cfg: DictConfig, model: Any, splits: Mapping[str, PackedTokenDataset]) -> None:
    """What a text's false successor can't be taken from."""
    if getattr(model, "sentence_task", None) != "nsp":
        return
    share = cfg.trainer.batch_size // (cfg.trainer.devices * cfg.trainer.num_nodes)
    if share < 2:
        raise InputError(
            "model.sentence_task=nsp takes a text's false successor from another row: trainer.batch_size must give "
            f"each device 2 rows or more, not {share}."
        )
    for split, rows in splits.items():
        if rows.n_documents < 2:
            raise InputError(
                f"model.sentence_task=nsp takes a text's false successor from another document, and the {split} text "
                "has no two that fill a row each: give more documents, or say a smaller model.context or "
                "model.sentence_task=sop."
            )


def describe(cfg: DictConfig, data: TextData, start: PretrainInit) -> None:
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} tokenizer={cfg.choices.tokenizer} seed={cfg.seed}"
    tokens = ", ".join(f"{len(stream.ids):,} {name}" for name, stream in data.splits.items())
    console.say(f"pretrain {chosen}: vocabulary of {data.facts['vocab_size']:,}; tokens: {tokens}")
    for sentence in start.told:
        console.say(sentence)
    for warning in data.warnings:
        console.warn(warning)
    if data.unknown > MANY:
        console.warn(
            f"{data.unknown:.1%} of the tokens are unknown to the tokenizer: the model can't learn what they are. Take "
            "another tokenizer, or a larger tokenizer.vocab_size."
        )


def some(rows: PackedTokenDataset, n_tokens: int | None) -> PackedTokenDataset:
    """Rows of so many tokens, evenly spread; all, where that is no limit"""
    wanted = len(rows) if n_tokens is None else -(-n_tokens // rows.tokens_per_row)
    return rows.take(np.linspace(0, len(rows) - 1, min(wanted, len(rows))).round().astype(np.int64))
