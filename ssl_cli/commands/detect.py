"""ssl detect: learn what is normal from normal rows; flag the rows that don't fit (one-class anomaly detection)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from safetensors.numpy import save_file
from safetensors.torch import save_model
from torch import nn

from ssl_cli import console, runs
from ssl_cli.config import build
from ssl_cli.data.batches import Rows
from ssl_cli.data.one_class import OneClassData, Split
from ssl_cli.detection import report
from ssl_cli.detection.thresholds import Threshold, choose_threshold, refuse_degenerate
from ssl_cli.loading import CALIBRATION, ENCODER, WEIGHTS
from ssl_cli.objectives.reconstruction import MeasuresSpread
from ssl_cli.scoring import device_of, score_rows
from ssl_cli.training import train


def run(cfg: DictConfig) -> Path:
    """One run, from config to a finished run folder, whose path it returns."""
    stops_early, uses_labels = cfg.trainer.patience is not None, cfg.threshold == "f1"
    data: OneClassData = build(cfg.data).prepare(cfg.seed, val=stops_early, dev=uses_labels)
    cfg.facts = data.facts
    torch.manual_seed(cfg.seed)
    model = build(cfg.model)
    with runs.open_run(cfg, data.fingerprint) as (folder, metrics):
        describe(cfg, data)
        fit(model, data, cfg, folder)
        if runs.is_worker():
            return folder
        scores = {name: score_rows(model, split.x, device_of(model)) for name, split in data.splits.items()}
        refuse_degenerate("test", scores["test"])
        threshold = threshold_for(scores, data.splits, cfg)

        save(model, data, scores["calibration"], folder)
        metrics |= report.measure(scores, data.splits, threshold, cfg.resamples, cfg.seed)
        report.write_scores(folder, scores, data.splits, threshold)
        report.draw(folder, scores["test"], data.splits["test"].anomaly, threshold, metrics)
        report.tell(folder, threshold, metrics)
    return folder


def describe(cfg: DictConfig, data: OneClassData) -> None:
    sizes = ", ".join(f"{len(split.x):,} {name}" for name, split in data.splits.items())
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} seed={cfg.seed}"
    console.say(f"detect {chosen}: {data.facts['n_features']} features; rows: {sizes}")
    for name in ("train", "calibration"):
        hidden = data.splits[name].anomaly
        if hidden is not None and hidden.any():
            console.say(
                f"data.train=polluted: {int(hidden.sum())} anomalies hide among the {len(hidden):,} {name} rows"
            )
    for column, reason in data.encoder.dropped.items():
        console.say(f"column {column} is left out: {reason}")


def fit(model: Any, data: OneClassData, cfg: DictConfig, folder: Path) -> None:
    """Train the model by gradient where it is a module; else fit it in one go."""
    splits = data.splits
    if isinstance(model, nn.Module):
        watched = splits.get("val", splits["calibration"])
        train(model, Rows({"x": splits["train"].x}), Rows({"x": watched.x}), cfg, folder)
        if isinstance(model, MeasuresSpread):
            with torch.inference_mode():
                model.measure_spread(torch.from_numpy(splits["train"].x).to(device_of(model)))
    else:
        model.fit(splits["train"].x, cfg.seed)


def save(model: Any, data: OneClassData, calibration: np.ndarray, folder: Path) -> None:
    """All that `ssl_cli.load` needs."""
    data.encoder.save(folder / ENCODER)
    save_file({"scores": calibration}, folder / CALIBRATION)
    if isinstance(model, nn.Module):
        save_model(model, str(folder / WEIGHTS))
    else:
        model.save(folder)


def threshold_for(scores: dict[str, np.ndarray], splits: dict[str, Split], cfg: DictConfig) -> Threshold:
    labels = splits["dev"].anomaly if "dev" in splits else None
    dev = (scores["dev"], labels) if labels is not None else None
    threshold = choose_threshold(cfg.threshold, cfg.fpr, scores["calibration"], dev)
    hidden = splits["calibration"].anomaly
    if threshold.promised_fpr is None or hidden is None or not hidden.any():
        return threshold
    promise = f"{threshold.promise}; this is promised for clean calibration rows, and anomalies hide among these"
    return replace(threshold, promise=promise)
