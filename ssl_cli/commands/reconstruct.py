"""ssl reconstruct: learn to rebuild images through a code; or, with run=, rebuild given images with a finished run."""

from pathlib import Path

from omegaconf import DictConfig
from safetensors.torch import save_model

from ssl_cli import console
from ssl_cli.autoencoding import collapse, gallery, measures, page, rebuilding
from ssl_cli.autoencoding.finished import READER
from ssl_cli.autoencoding.prior import fit_prior
from ssl_cli.autoencoding.views import look
from ssl_cli.data.batches import Rows
from ssl_cli.data.images import ImageData, in_words
from ssl_cli.fitting import fit, new_model
from ssl_cli.loading import WEIGHTS
from ssl_cli.nodes import build
from ssl_cli.ranks import is_worker
from ssl_cli.repeats import done_before
from ssl_cli.under_way import under_way
from ssl_cli.workers import refuse_miscounted


def run(cfg: DictConfig) -> Path:
    """One run, from config to a finished run folder, whose path it returns; or the folder of rebuilt images."""
    if cfg.get("run") is not None:
        return rebuilding.rebuild(cfg)
    refuse_miscounted(cfg)
    data = build(cfg.data).pictures(cfg.seed)
    cfg.facts = data.facts
    if done := done_before(cfg, data.fingerprint):
        return done
    model = new_model(cfg)
    with under_way(cfg, data.fingerprint) as (folder, metrics, trackers):
        describe(cfg, data)
        train = rows(data, "train")
        fit(model, train, rows(data, "val") if "val" in data.splits else train, cfg, folder, trackers)
        fit_prior(model, data.splits["train"].x, cfg, folder)
        if is_worker():
            return folder
        save_model(model.eval(), str(folder / WEIGHTS))
        data.reader.save(folder / READER)

        views = look(model, data)
        console.say(f"measuring what it makes of {len(views['test']):,} test images")
        metrics |= measures.measure(views, cfg.seed, cfg.importance_samples, cfg.likelihood_images, cfg.probes)
        alarms = collapse.alarms(views)
        figures = gallery.draw(folder, views, data.classes, cfg.seed)
        page.write(folder, {**cfg.choices, "seed": cfg.seed}, metrics, alarms, figures)
        page.tell(metrics, alarms, figures)
    return folder


def describe(cfg: DictConfig, data: ImageData) -> None:
    sizes = ", ".join(f"{len(split.x):,} {name}" for name, split in data.splits.items())
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} seed={cfg.seed}"
    console.say(f"reconstruct {chosen}: {in_words(data.facts['shape'])}; images: {sizes}")
    for warning in data.warnings:
        console.warn(warning)


def rows(data: ImageData, split: str) -> Rows:
    return Rows({"x": data.splits[split].x}, data.splits[split].row)
