"""Pretraining on images: views of an image get similar vectors (SimCLR, BYOL, ...), or hidden patches are rebuilt."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.commands.pretrain import image_probes, image_report
from ssl_cli.commands.pretrain.evaluate import median_throughput
from ssl_cli.commands.pretrain.image_init import Start, begin_with, resolve_start
from ssl_cli.commands.reconstruct.finished import READER
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.images.datasets import ImageData, format_shape
from ssl_cli.errors import InputError
from ssl_cli.methods.build import new_model
from ssl_cli.methods.training_protocols import NeedsWholeBatches
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.folder import HISTORY, read_history
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import check_process_count
from ssl_cli.training.limits import limit_validation
from ssl_cli.training.live_probes import LiveProbes, ProbedImages
from ssl_cli.training.trainer import train

IMAGES_PER_S = "train/images_per_s"
NO_LABELS = "no labels of two classes: the probes measure how the vectors are spread, and no accuracy"


class ImageRows(ArrayDataset):
    """Images `x` (N, C, H, W) as bytes."""

    throughput_unit = "images"
    row_name = "images"


def run(cfg: DictConfig) -> Path | None:
    """Run one training, from config to a finished run folder, and return its path; None with show=batch."""
    check_process_count(cfg)
    start = resolve_start(cfg)
    data: ImageData = build(cfg.data).image_splits(cfg.seed)
    cfg.facts = data.facts | begun_with(cfg, start)
    model = new_model(cfg)
    messages = [] if start is None else [begin_with(start, model, cfg)]
    cfg.init = cfg.init if start is None else start.place
    rows, held_out = image_rows(data, "train"), image_rows(data, "val")
    check_batches(cfg, model, data)
    if cfg.show == "batch":
        describe(cfg, data, messages)
        image_report.show_batch(cfg, model, data)
        return None
    if done := find_completed_run(cfg, data.fingerprint):
        return done
    with run_session(cfg, data.fingerprint) as (folder, metrics, trackers):
        describe(cfg, data, messages)
        callbacks = []
        if cfg.probes:
            probed = ProbedImages.of_splits(data.splits, cfg.seed)
            callbacks = [LiveProbes(probed, cfg.seed)]
            if probed.labels is None:
                console.say(NO_LABELS)
        val_rows = limit_validation(cfg.trainer, held_out, isinstance(model, NeedsWholeBatches))
        train(model, rows, val_rows, cfg, folder, trackers, callbacks)
        if is_worker():
            return folder
        save_model(model.eval(), str(folder / WEIGHTS))
        data.reader.save(folder / READER)

        history = read_history(folder / HISTORY)
        metrics |= image_probes.last_row(history) | median_throughput(history, IMAGES_PER_S)
        table = image_probes.probe(model, data, cfg) if cfg.probes else {}
        metrics |= image_probes.probe_metrics(table)
        figures = image_report.draw(folder, model, data, cfg.seed)
        warnings = image_report.collapse_warnings(history, model)
        image_report.write(folder, {**cfg.choices, "seed": cfg.seed}, metrics, table, figures, warnings)
        image_report.print_summary(metrics, table, figures, warnings)
    return folder


def image_rows(data: ImageData, split: str) -> ImageRows:
    """Return the images of a split as rows; those of training if nothing is held out."""
    own = data.splits.get(split, data.splits["train"])
    return ImageRows({"x": own.x}, own.row)


def check_batches(cfg: DictConfig, model: Any, data: ImageData) -> None:
    """Raise InputError if a device would get another number of images than the others, or a batch is one image."""
    if not isinstance(model, NeedsWholeBatches):
        return
    compares = f"model={cfg.choices.model} compares the images of a batch with each other"
    batch = min(cfg.trainer.batch_size, len(data.splits["train"].x))
    devices = cfg.trainer.devices * cfg.trainer.num_nodes
    if batch < 2:
        raise InputError(f"{compares}: trainer.batch_size must be 2 or more, better 256, not {batch}.")
    if batch % devices:
        raise InputError(f"{compares}: trainer.batch_size={batch} must be a multiple of the {devices} devices.")
    if "val" in data.splits and len(data.splits["val"].x) < 2:
        raise InputError(f"{compares}, and data.val={cfg.data.val:g} holds out one: hold out 2 or more, or none.")


def begun_with(cfg: DictConfig, start: Start | None) -> dict[str, str]:
    """Return the fact `start`, a hash of the weights that init= gives: the same place may hold others later."""
    digest = cfg.facts.get("start") if start is None else start.digest
    return {"start": digest} if digest else {}


def describe(cfg: DictConfig, data: ImageData, messages: Sequence[str]) -> None:
    """Print what is trained on which images, what was loaded, and the warnings of the data."""
    sizes = ", ".join(f"{len(split.x):,} {name}" for name, split in data.splits.items())
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} seed={cfg.seed}"
    console.say(f"pretrain {chosen}: {format_shape(data.facts['shape'])}; images: {sizes}")
    for message in messages:
        console.say(message)
    if "val" not in data.splits:
        console.warn("no image is held out: the metrics of val are those of training; data.val=0.05 holds some out")
    for warning in data.warnings:
        console.warn(warning)
