"""ssl pretrain: learn from unlabelled text to guess hidden tokens (BERT) or the next one (GPT)."""

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.data.text_data import TextData
from ssl_cli.draws import reseed
from ssl_cli.errors import InputError
from ssl_cli.fitting import new_model
from ssl_cli.language import examples, figures, measures, page, seen
from ssl_cli.language.finished import TOKENIZER
from ssl_cli.language.starting import Start, starting_point
from ssl_cli.loading import WEIGHTS
from ssl_cli.nodes import build
from ssl_cli.ranks import is_worker
from ssl_cli.repeats import done_before
from ssl_cli.runs import HISTORY, read_history
from ssl_cli.scoring import device_of
from ssl_cli.training import train
from ssl_cli.under_way import under_way
from ssl_cli.workers import refuse_miscounted


def run(cfg: DictConfig) -> Path | None:
    """One run, from config to a finished run folder, whose path it returns; with show=batch nothing but a look."""
    refuse_miscounted(cfg)
    start = starting_point(cfg)
    data: TextData = build(cfg.data).texts(build(cfg.tokenizer), cfg.seed)
    cfg.facts = data.facts
    model = start.given_to(new_model(cfg))
    refuse_misfits(cfg, model)
    rows = data.rows("train", model, cfg.seed, cfg.trainer.batch_size)
    held_out = data.rows("val", model, cfg.seed, cfg.trainer.batch_size)
    if cfg.show == "batch":
        describe(cfg, data, start)
        reseed(cfg.seed, 0, 0, device_of(model))
        seen.show(data.tokenizer, model.prepare(rows[0, rows_of(len(rows), seen.ROWS), 1.0]))
        return None
    if done := done_before(cfg, data.fingerprint):
        return done
    with under_way(cfg, data.fingerprint) as (folder, metrics, trackers):
        describe(cfg, data, start)
        data.tokenizer.save(folder / TOKENIZER)
        watched = held_out.take(rows_of(len(held_out), -(-cfg.watched_tokens // held_out.tokens_per_row)))
        train(model, rows, watched, cfg, folder, trackers)
        if is_worker():
            return folder
        save_model(model.eval(), str(folder / WEIGHTS))

        console.say(f"measuring on {len(held_out) * held_out.tokens_per_row:,} tokens of held-out text")
        metrics |= measures.measure(model, held_out, cfg.seed) | measures.pace(read_history(folder / HISTORY))
        answers = examples.write(folder, model, data.tokenizer, held_out, cfg.seed)
        drawn = figures.draw(folder)
        page.write(folder, {**cfg.choices, "seed": cfg.seed}, metrics, answers, drawn)
        page.tell(metrics, answers, drawn)
    return folder


def refuse_misfits(cfg: DictConfig, model: Any) -> None:
    """What pairs of texts can't be made of."""
    least = getattr(model, "least_rows", 1)
    share = cfg.trainer.batch_size // (cfg.trainer.devices * cfg.trainer.num_nodes)
    if share < least:
        raise InputError(
            f"model.pair={model.pair} takes a text's false successor from another row: trainer.batch_size must give "
            f"each device {least} rows or more, not {share}."
        )
    if cfg.data.isolate_documents and getattr(model, "pair", "none") != "none":
        raise InputError(f"model.pair={model.pair} compares texts across documents: set data.isolate_documents=false.")


def describe(cfg: DictConfig, data: TextData, start: Start) -> None:
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} tokenizer={cfg.choices.tokenizer} seed={cfg.seed}"
    tokens = ", ".join(f"{len(stream.ids):,} {name}" for name, stream in data.splits.items())
    console.say(f"pretrain {chosen}: vocabulary of {data.facts['vocab_size']:,}; tokens: {tokens}")
    for sentence in start.told:
        console.say(sentence)
    for warning in data.warnings:
        console.warn(warning)


def rows_of(n_rows: int, wanted: int) -> np.ndarray:
    """So many of the rows, evenly spread"""
    return np.unique(np.linspace(0, n_rows - 1, min(wanted, n_rows)).round().astype(np.int64))
