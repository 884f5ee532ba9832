"""ssl reconstruct: learn to rebuild images through a code; or, with run=, rebuild given images with a finished run."""

from pathlib import Path

from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.reconstruct import apply, collapse, evaluate, report
from ssl_cli.commands.reconstruct import figures as figure_files
from ssl_cli.commands.reconstruct.finished import READER
from ssl_cli.commands.reconstruct.predictions import model_outputs
from ssl_cli.commands.reconstruct.prior import fit_prior
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.images.datasets import ImageData, in_words
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import refuse_miscounted
from ssl_cli.training.fit import fit, new_model


def run(cfg: DictConfig) -> Path:
    """One run, from config to a finished run folder, whose path it returns; or the folder of rebuilt images."""
    if cfg.get("run") is not None:
        return apply.rebuild(cfg)
    refuse_miscounted(cfg)
    data = build(cfg.data).image_splits(cfg.seed)
    cfg.facts = data.facts
    if done := find_completed_run(cfg, data.fingerprint):
        return done
    model = new_model(cfg)
    with run_session(cfg, data.fingerprint) as (folder, metrics, trackers):
        describe(cfg, data)
        train = rows(data, "train")
        fit(model, train, rows(data, "val") if "val" in data.splits else train, cfg, folder, trackers)
        fit_prior(model, data.splits["train"].x, cfg, folder)
        if is_worker():
            return folder
        save_model(model.eval(), str(folder / WEIGHTS))
        data.reader.save(folder / READER)

        views = model_outputs(model, data)
        console.say(f"measuring what it makes of {len(views['test']):,} test images")
        metrics |= evaluate.measure(views, cfg.seed, cfg.importance_samples, cfg.likelihood_images, cfg.probes)
        alarms = collapse.collapse_warnings(views)
        figures = figure_files.draw(folder, views, data.classes, cfg.seed)
        report.write(folder, {**cfg.choices, "seed": cfg.seed}, metrics, alarms, figures)
        report.print_summary(metrics, alarms, figures)
    return folder


def describe(cfg: DictConfig, data: ImageData) -> None:
    sizes = ", ".join(f"{len(split.x):,} {name}" for name, split in data.splits.items())
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} seed={cfg.seed}"
    console.say(f"reconstruct {chosen}: {in_words(data.facts['shape'])}; images: {sizes}")
    for warning in data.warnings:
        console.warn(warning)


def rows(data: ImageData, split: str) -> ArrayDataset:
    return ArrayDataset({"x": data.splits[split].x}, data.splits[split].row)
