"""Pretraining on text: predict masked tokens (BERT), the next token (GPT), or restore a text (BART, MASS, T5)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.initialize import Init, apply_init, resolve_init, tokenizer_trainer
from ssl_cli.commands.pretrain import batch_view, curves, examples, report, seq2seq_view
from ssl_cli.commands.pretrain.evaluate import TOKENS_PER_S, evaluate, median_throughput
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.config.instantiate import build
from ssl_cli.data.text.packing import PackedTokenDataset
from ssl_cli.data.text.tokens import TextData
from ssl_cli.errors import InputError
from ssl_cli.methods.build import new_model
from ssl_cli.methods.language.seq2seq_lm import Seq2SeqLM
from ssl_cli.methods.protocols import HasSentenceTask, PredictsMasked, WritesText
from ssl_cli.methods.scoring import device_of
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.folder import HISTORY, read_history
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import check_process_count
from ssl_cli.training.limits import limit_validation
from ssl_cli.training.mfu import flops_per_pair, flops_per_token, measure_flops_per_s
from ssl_cli.training.seeding import reseed
from ssl_cli.training.trainer import train

MAX_UNKNOWN_SHARE = 0.02  # of the tokens, without a warning


def run(cfg: DictConfig) -> Path | None:
    """Run one training, from config to a finished run folder, and return its path; None with show=batch."""
    check_process_count(cfg)
    init = resolve_init(cfg)
    apply_init(cfg, init)
    data: TextData = build(cfg.data).tokenize(tokenizer_trainer(cfg))
    cfg.facts = data.facts
    model = new_model(cfg)
    messages = init.checkpoint.load_into(model) if init.checkpoint is not None else []
    rows = data.rows("train", model, cfg.seed, cfg.trainer.batch_size)
    held_out = data.rows("val", model, cfg.seed, cfg.trainer.batch_size)
    check_next_sentences(cfg, model, {"train": rows, "val": held_out})
    check_sentence_ends(cfg, data)
    if cfg.show == "batch":
        describe(cfg, data, init, messages)
        show_batch(cfg, data, model, rows)
        return None
    if done := find_completed_run(cfg, data.fingerprint):
        return done
    with run_session(cfg, data.fingerprint, {TOKENIZER: data.tokenizer.to_json()}) as (folder, metrics, trackers):
        describe(cfg, data, init, messages)
        val_rows = limit_validation(cfg.trainer, evenly_spaced(held_out, cfg.val_tokens))
        train(model, rows, val_rows, cfg, folder, trackers)
        if is_worker():
            return folder
        save_model(model.eval(), str(folder / WEIGHTS))

        evaluated = evenly_spaced(held_out, cfg.eval_tokens)
        console.say(f"evaluating on {len(evaluated) * evaluated.tokens_per_row:,} tokens of held-out text")
        metrics |= evaluate(model, evaluated, cfg.seed) | median_throughput(read_history(folder / HISTORY))
        metrics |= gpu_utilisation(cfg, model, metrics)
        predictions = examples.write(folder, model, data.tokenizer, held_out, cfg.seed)
        figures = curves.draw(folder)
        report.write(folder, {**cfg.choices, "seed": cfg.seed}, metrics, predictions, figures)
        report.print_summary(metrics, predictions, figures)
    return folder


def show_batch(cfg: DictConfig, data: TextData, model: Any, rows: PackedTokenDataset) -> None:
    """Print a few training rows as the model would see them in its first step."""
    reseed(cfg.seed, 0, 0, device_of(model))
    n = batch_view.MAX_ROWS
    batch = evenly_spaced(rows, n * rows.tokens_per_row)[0, slice(n), 1.0]
    view = seq2seq_view if isinstance(model, WritesText) else batch_view
    view.show(data.tokenizer, model.make_inputs(batch))


def gpu_utilisation(cfg: DictConfig, model: Any, metrics: Mapping[str, float]) -> dict[str, float]:
    """Return `train/mfu`, the model FLOPs utilisation of each GPU; empty on a CPU."""
    device = device_of(model)
    if device.type != "cuda" or TOKENS_PER_S not in metrics:
        return {}
    tokens_per_s = metrics[TOKENS_PER_S] / (cfg.trainer.devices * cfg.trainer.num_nodes)
    return {"train/mfu": tokens_per_s * flops_of_a_token(model) / measure_flops_per_s(device)}


def flops_of_a_token(model: Any) -> float:
    """Return the operations of a training step per token of text."""
    if isinstance(model, Seq2SeqLM):
        return flops_per_pair(model.network, *model.sizes(model.row_length)) / model.row_length
    predicted = model.masks_per_row if isinstance(model, PredictsMasked) else model.row_length
    return flops_per_token(model.network, predicted / model.row_length)


def check_next_sentences(cfg: DictConfig, model: Any, splits: Mapping[str, PackedTokenDataset]) -> None:
    """Raise InputError if model.sentence_task=nsp has no other row or document to take a random second text from."""
    if not (isinstance(model, HasSentenceTask) and model.sentence_task == "nsp"):
        return
    rows_per_device = cfg.trainer.batch_size // (cfg.trainer.devices * cfg.trainer.num_nodes)
    if rows_per_device < 2:
        raise InputError(
            "model.sentence_task=nsp takes a random second text from another row: trainer.batch_size must give "
            f"each device 2 rows or more, not {rows_per_device}."
        )
    for split, rows in splits.items():
        if rows.n_documents < 2:
            raise InputError(
                f"model.sentence_task=nsp takes a random second text from another document, and the {split} text "
                "has fewer than two that fill a row each: give more documents, or set a smaller model.network.context "
                "or model.sentence_task=sop."
            )


def check_sentence_ends(cfg: DictConfig, data: TextData) -> None:
    """Raise InputError if sentences are to be shuffled, and the text has no end of one."""
    if "permute" in cfg.model.get("corruption", ()) and not data.has_sentence_ends:
        raise InputError(
            "model.corruption=permute shuffles sentences, but no token of the training text ends one, such as . ! ? or "
            "\u3002: use other corruptions, or text with punctuation."
        )


def describe(cfg: DictConfig, data: TextData, init: Init, messages: Sequence[str]) -> None:
    """Print what is trained and on what data, what was loaded, and warnings about the data."""
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} tokenizer={cfg.choices.tokenizer} seed={cfg.seed}"
    tokens = ", ".join(f"{len(stream.ids):,} {name}" for name, stream in data.splits.items())
    console.say(f"pretrain {chosen}: vocabulary of {data.facts['vocab_size']:,}; tokens: {tokens}")
    if (checkpoint := init.checkpoint) is not None:
        n_decoder = checkpoint.options.get("decoder_layers")
        layers = f"{checkpoint.options['layers']}{f' + {n_decoder}' if n_decoder else ''}"
        shape = f"{layers} layers of {checkpoint.options['width']}"
        console.say(f"initialized from {checkpoint.folder}: {checkpoint.family}, {shape}, with its tokenizer")
    for message in messages:
        console.say(message)
    for warning in data.warnings:
        console.warn(warning)
    if data.unknown_share > MAX_UNKNOWN_SHARE:
        console.warn(
            f"{data.unknown_share:.1%} of the tokens are unknown to the tokenizer, and can't be learned. Use another "
            "tokenizer, or a larger tokenizer.vocab_size."
        )


def evenly_spaced(rows: PackedTokenDataset, n_tokens: int | None) -> PackedTokenDataset:
    """Return evenly spaced rows with about `n_tokens` tokens; all rows if it is None or more than there are."""
    n_rows = len(rows) if n_tokens is None else -(-n_tokens // rows.tokens_per_row)
    return rows.take(np.linspace(0, len(rows) - 1, min(n_rows, len(rows))).round().astype(np.int64))
