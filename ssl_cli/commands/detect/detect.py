"""ssl detect: learn what is normal from normal rows; flag the rows that don't fit (one-class anomaly detection)."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from safetensors.numpy import save_file
from safetensors.torch import save_model
from torch import nn

from ssl_cli import console
from ssl_cli.commands.detect import explanations, report
from ssl_cli.commands.detect.finished import CALIBRATION, PREPROCESSOR
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.one_class import OneClassData
from ssl_cli.evaluation.thresholds import Calibration, Threshold, choose_threshold, refuse_degenerate
from ssl_cli.methods.scoring import device_of, score_rows
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.loggers.base import Tracker
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import refuse_miscounted
from ssl_cli.training.fit import fit, new_model, out_of_fold


def run(cfg: DictConfig) -> Path:
    """One run, from config to a finished run folder, whose path it returns."""
    refuse_miscounted(cfg)
    data = prepare(cfg)
    cfg.facts = data.facts
    if done := find_completed_run(cfg, data.fingerprint):
        return done
    model = new_model(cfg)
    with run_session(cfg, data.fingerprint) as (folder, metrics, trackers):
        describe(cfg, data)
        learn(model, data, cfg, folder, trackers)
        calibration = calibrate(model, data, cfg, folder)
        if is_worker():
            return folder
        scores = {name: score_rows(model, split.x, device_of(model)) for name, split in data.splits.items()}
        refuse_degenerate("test", scores["test"])
        threshold = threshold_for(scores, calibration, data, cfg)
        strangest = explanations.top_anomalies(model, data, scores, calibration.scores, threshold, cfg.anomalies)

        save(model, data, calibration.scores, folder)
        metrics |= report.measure(scores, data.splits, calibration.scores, threshold, cfg.bootstrap_samples, cfg.seed)
        report.write_scores(folder, scores, data, calibration.scores, threshold)
        explanations.write(folder / explanations.ANOMALIES, data, strangest)
        report.draw(folder, model, data, scores["test"], threshold, metrics, strangest)
        report.print_summary(folder, data, threshold, metrics, strangest)
    return folder


def prepare(cfg: DictConfig) -> OneClassData:
    """The rows, in the splits that this config asks for."""
    stops_early, uses_labels = cfg.trainer.patience is not None, cfg.threshold == "f1"
    return build(cfg.data).one_class_splits(
        cfg.seed, hold_out=cfg.calibrate == "split", val=stops_early, dev=uses_labels
    )


def describe(cfg: DictConfig, data: OneClassData) -> None:
    sizes = ", ".join(f"{len(split.x):,} {name}" for name, split in data.splits.items())
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} seed={cfg.seed}"
    console.say(f"detect {chosen}: {data.size}; {data.rows}: {sizes}")
    for name, n_hidden in hidden(data).items():
        console.say(
            f"data.train=polluted: {n_hidden} anomalies hide among the {len(data.splits[name].x):,} {name} {data.rows}"
        )
    if hidden(data):
        shares = "data.pollution=0,0.001,0.01,0.05,0.1"
        console.say(f"AUROC against the share that hides, as a figure: ssl detect -m data.train=polluted {shares} ...")
    for note in data.notes:
        console.say(note)
    for warning in data.warnings:
        console.warn(warning)


def hidden(data: OneClassData) -> dict[str, int]:
    """How many anomalies hide among the training and the calibration rows, where some do."""
    found = {name: data.splits[name].anomaly for name in ("train", "calibration") if name in data.splits}
    return {name: int(anomaly.sum()) for name, anomaly in found.items() if anomaly is not None and anomaly.any()}


def learn(model: Any, data: OneClassData, cfg: DictConfig, folder: Path, trackers: list[Tracker]) -> None:
    """Fit on the training rows. Where no others are held out, the validation curve is that of the training rows too."""
    watched = next(name for name in ("val", "calibration", "train") if name in data.splits)
    fit(model, rows(data, "train"), rows(data, watched), cfg, folder, trackers)


def calibrate(model: Any, data: OneClassData, cfg: DictConfig, folder: Path) -> Calibration:
    """Scores of normal rows by a model that hasn't seen them."""
    if cfg.calibrate == "split":
        return Calibration(score_rows(model, data.splits["calibration"].x, device_of(model)))
    watched = rows(data, "val") if "val" in data.splits else None
    return out_of_fold(rows(data, "train"), watched, cfg, folder)


def rows(data: OneClassData, split: str) -> ArrayDataset:
    return ArrayDataset({"x": data.splits[split].x}, data.splits[split].row)


def threshold_for(
    scores: dict[str, np.ndarray], calibration: Calibration, data: OneClassData, cfg: DictConfig
) -> Threshold:
    labels = data.splits["dev"].anomaly if "dev" in data.splits else None
    dev = (scores["dev"], labels) if labels is not None else None
    threshold = choose_threshold(cfg.threshold, calibration, scores["test"], cfg.fpr, cfg.fdr, dev)
    if not threshold.guaranteed or ("calibration" if calibration.held_out else "train") not in hidden(data):
        return threshold
    promise = f"{threshold.promise}; this is promised for clean calibration {data.rows}, and anomalies hide among these"
    return replace(threshold, promise=promise, guaranteed=False)


def save(model: Any, data: OneClassData, calibration: np.ndarray, folder: Path) -> None:
    """All that `ssl_cli.load` needs."""
    data.preprocessor.save(folder / PREPROCESSOR)
    save_file({"scores": calibration}, folder / CALIBRATION)
    if isinstance(model, nn.Module):
        save_model(model, str(folder / WEIGHTS))
    else:
        model.save(folder)
