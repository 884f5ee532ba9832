"""Texts as codes of articles: fit a summarizer without pairs, and measure its summaries by the titles of others."""

from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf
from safetensors.torch import save_model
from torch import nn

from ssl_cli import console
from ssl_cli.commands.articles import report
from ssl_cli.commands.articles.evaluate import evaluate
from ssl_cli.commands.articles.finished import reopen
from ssl_cli.commands.articles.initialize import initialize, reads_tokens
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.config.instantiate import build
from ssl_cli.data.articles.sources import ArticleData
from ssl_cli.data.articles.words import words_of
from ssl_cli.data.batches import ordered_loader
from ssl_cli.errors import InputError
from ssl_cli.methods.build import new_model
from ssl_cli.methods.scoring import device_of
from ssl_cli.methods.text_latent.protocols import LearnsFromSearch, RebuildsTexts
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import check_process_count
from ssl_cli.training.fit import fit


def run(cfg: DictConfig) -> Path:
    """Fit one model, from config to a finished run folder, and return its path."""
    check_process_count(cfg)
    other = None if cfg.get("beside") is None else reopen(cfg.beside, cfg.paths.outputs, None)
    if other is not None:
        cfg.beside = str(other.folder.resolve())
    data: ArticleData = build(cfg.data).article_splits(cfg.seed)
    check_lengths(cfg, data)
    init = initialize(cfg, data) if reads_tokens(cfg) else None
    if done := find_completed_run(cfg, data.fingerprint):
        return done
    model = new_model(cfg)
    with run_session(cfg, data.fingerprint, {} if init is None else init.files) as (folder, metrics, trackers):
        describe(cfg, data)
        if isinstance(model, LearnsFromSearch):
            console.say("searching the training articles, to learn from")
            model.teacher.fit_texts(data.articles, data.titles)
            rows, held_out = (model.rows(texts) for texts in (data.articles, data.val_articles))
            fit(model, rows, held_out, cfg, folder, trackers)
            with torch.inference_mode():
                model.set_threshold(ordered_loader(held_out.on(device_of(model)), held_out.eval_batch_size))
        elif isinstance(model, RebuildsTexts):
            assert init is not None
            for message in init.load_into(model):
                console.say(message)
            rows = model.rows(data.articles, data.titles, cfg.seed)
            held_out = model.rows(data.val_articles, (), cfg.seed)
            fit(model, rows, held_out, cfg, folder, trackers)
        else:
            model.fit_texts(data.articles, data.titles)
        if is_worker():
            return folder
        save(model, folder)

        console.say(f"evaluating on {len(data.splits['test']):,} test articles")
        found = evaluate(model, data, cfg.seed, None if other is None else other.model)
        metrics |= found.metrics
        report.write(folder, {**cfg.choices, "seed": cfg.seed}, found)
        report.print_summary(found)
    return folder


def check_lengths(cfg: DictConfig, data: ArticleData) -> None:
    """Raise InputError if an article has fewer words than a summary may have: it would be its own summary."""
    for option in ("model.max_words", "model.teacher.max_words", "model.max_tokens"):
        longest = OmegaConf.select(cfg, option)
        n_short = sum(len(words_of(article)) < (longest or 0) for article in data.articles)
        if n_short:
            raise InputError(
                f"{n_short:,} of the {len(data.articles):,} articles have fewer words than {option}={longest}, "
                f"which a summary may have: set data.min_words={longest}, or a smaller {option}."
            )


def save(model: Any, folder: Path) -> None:
    """Write what a model has learned into its run folder."""
    if isinstance(model, nn.Module):
        save_model(model.eval(), str(folder / WEIGHTS))
    else:
        model.save(folder)


def describe(cfg: DictConfig, data: ArticleData) -> None:
    """Print what is fitted to which texts, and the warnings of the data."""
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} seed={cfg.seed}"
    sizes = f"{len(data.articles):,} articles, {len(data.titles):,} titles of others"
    held_out = ", ".join(f"{len(pairs):,} {name}" for name, pairs in data.splits.items())
    console.say(f"reconstruct {chosen}: {sizes}; held out: {held_out}")
    for warning in data.warnings:
        console.warn(warning)
