"""Autoencoders of images: train and evaluate one, and write what it makes of the test images."""

from pathlib import Path

from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.reconstruct import collapse, evaluate, report
from ssl_cli.commands.reconstruct import figures as figure_files
from ssl_cli.commands.reconstruct.finished import READER
from ssl_cli.commands.reconstruct.predictions import model_outputs
from ssl_cli.commands.reconstruct.prior import describe_prior, fit_prior
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.images.datasets import ImageData, format_shape
from ssl_cli.methods.build import new_model
from ssl_cli.methods.protocols import HasPrior
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import check_process_count
from ssl_cli.training.fit import fit
from ssl_cli.training.live_probes import LiveProbes, ProbedImages


def run(cfg: DictConfig) -> Path:
    """Run one training, from config to a finished run folder, and return its path."""
    check_process_count(cfg)
    data = build(cfg.data).image_splits(cfg.seed)
    cfg.facts = data.facts
    if done := find_completed_run(cfg, data.fingerprint):
        return done
    model = new_model(cfg)
    with run_session(cfg, data.fingerprint) as (folder, metrics, trackers):
        describe(cfg, data)
        if isinstance(model, HasPrior) and cfg.prior_steps != 0:
            length = describe_prior(cfg, len(data.splits["train"].x))
            console.say(f"then its prior: {length}; prior_steps=0 leaves it out")
        elif cfg.prior_steps:
            console.warn(f"prior_steps={cfg.prior_steps} is not used: model={cfg.choices.model} has no prior")
        train = make_dataset(data, "train")
        held_out = make_dataset(data, "val") if "val" in data.splits else train
        callbacks = [LiveProbes(ProbedImages.of_splits(data.splits, cfg.seed), cfg.seed)] if cfg.probes else []
        fit(model, train, held_out, cfg, folder, trackers, callbacks)
        fit_prior(model, data.splits["train"].x, cfg, folder)
        if is_worker():
            return folder
        save_model(model.eval(), str(folder / WEIGHTS))
        data.reader.save(folder / READER)

        outputs = model_outputs(model, data)
        console.say(f"evaluating on {len(outputs['test']):,} test images")
        metrics |= evaluate.measure(outputs, cfg.seed, cfg.importance_samples, cfg.likelihood_images, cfg.probes)
        warnings = collapse.collapse_warnings(outputs)
        figures = figure_files.draw(folder, outputs, data.classes, cfg.seed)
        report.write(folder, {**cfg.choices, "seed": cfg.seed}, metrics, warnings, figures)
        report.print_summary(metrics, warnings, figures)
    return folder


def describe(cfg: DictConfig, data: ImageData) -> None:
    """Print what is trained on which images, and the warnings of the data."""
    sizes = ", ".join(f"{len(split.x):,} {name}" for name, split in data.splits.items())
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} seed={cfg.seed}"
    console.say(f"reconstruct {chosen}: {format_shape(data.facts['shape'])}; images: {sizes}")
    for warning in data.warnings:
        console.warn(warning)


def make_dataset(data: ImageData, split: str) -> ArrayDataset:
    """Return a split as a dataset to train on."""
    return ArrayDataset({"x": data.splits[split].x}, data.splits[split].row)
