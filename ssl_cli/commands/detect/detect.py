"""ssl detect: learn what is normal from normal rows, and flag the rows that differ (one-class anomaly detection)."""

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig
from safetensors.numpy import save_file
from safetensors.torch import save_model
from torch import nn

from ssl_cli import console
from ssl_cli.commands.detect import columns, explanations, page, report, summary
from ssl_cli.commands.detect.calibration import fewest_to_hold_out, out_of_fold, settle
from ssl_cli.commands.detect.finished import CALIBRATION, PREPROCESSOR
from ssl_cli.commands.detect.trimming import trimmed
from ssl_cli.commands.finished import WEIGHTS
from ssl_cli.config.instantiate import build
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.one_class import OneClassData
from ssl_cli.data.tables.one_class import TableData
from ssl_cli.evaluation.thresholds import Calibration, Threshold, check_scores, choose_threshold
from ssl_cli.methods.build import new_model
from ssl_cli.methods.scoring import device_of, score_rows
from ssl_cli.process import is_worker
from ssl_cli.runs.duplicates import find_completed_run
from ssl_cli.runs.loggers.base import Tracker
from ssl_cli.runs.session import run_session
from ssl_cli.runs.workers import check_process_count
from ssl_cli.training.fit import fit


def run(cfg: DictConfig) -> Path:
    """Train, calibrate and test a detector; return the folder of the finished run."""
    check_process_count(cfg)
    data = load_data(cfg)
    cfg.facts = data.facts
    choice = settle(cfg, data)
    if done := find_completed_run(cfg, data.fingerprint):
        return done
    model = new_model(cfg)
    with run_session(cfg, data.fingerprint) as (folder, metrics, trackers):
        describe(cfg, data, choice)
        fit_model(model, data, cfg, folder, trackers)
        calibration = calibrate(model, data, cfg, folder)
        if is_worker():
            return folder
        scores = {name: score_rows(model, split.x, device_of(model)) for name, split in data.splits.items()}
        check_scores("test", scores["test"])
        threshold = make_threshold(scores, calibration, data, cfg)
        anomalies = explanations.top_anomalies(model, data, scores, calibration.scores, threshold, cfg.anomalies)

        save(model, data, calibration.scores, folder, cfg.get("escape_formulas", False))
        metrics |= report.measure(scores, data.splits, calibration, threshold, cfg.bootstrap_samples, cfg.seed)
        report.write_scores(folder, scores, data, calibration.scores, threshold)
        explanations.write(folder / explanations.ANOMALIES, data, anomalies, cfg.get("escape_formulas", False))
        report.draw(folder, model, data, scores["test"], threshold, metrics, anomalies)
        chosen = {**cfg.choices, "seed": cfg.seed, "threshold": cfg.threshold, "calibrate": cfg.calibrate}
        page.write(folder, chosen, data, threshold, metrics, anomalies)
        summary.show(folder, data, threshold, metrics, anomalies)
    return folder


def load_data(cfg: DictConfig) -> OneClassData:
    """Return the data set in the splits that the config needs."""
    stops_early, uses_labels = cfg.trainer.patience is not None, cfg.threshold == "f1"
    source = build(cfg.data)
    return source.one_class_splits(
        cfg.seed, hold_out=fewest_to_hold_out(cfg, source), val=stops_early, dev=uses_labels
    )


def describe(cfg: DictConfig, data: OneClassData, choice: str | None) -> None:
    """Print what is run on how many rows, the `choice` of the calibration, and notes and warnings of the data."""
    sizes = ", ".join(f"{len(split.x):,} {name}" for name, split in data.splits.items())
    chosen = f"model={cfg.choices.model} data={cfg.choices.data} seed={cfg.seed}"
    console.say(f"detect {chosen}: {data.size}; {data.rows}: {sizes}")
    if choice:
        console.say(choice)
    hidden = count_hidden_anomalies(data)
    for name, n_hidden in hidden.items():
        console.say(
            f"data.contamination: {n_hidden} anomalies are among the {len(data.splits[name].x):,} {name} {data.rows}"
        )
    if hidden:
        shares = "data.contamination=0,0.001,0.01,0.05,0.1"
        console.say(f"to plot AUROC against this share: ssl detect -m {shares} ...")
    if isinstance(data, TableData):
        columns.show(data.preprocessor.readings)
    for note in data.notes:
        console.say(note)
    for warning in data.warnings:
        console.warn(warning)


def count_hidden_anomalies(data: OneClassData) -> dict[str, int]:
    """Return the number of anomalies among the training and the calibration rows, of those splits that have any."""
    labels = {name: data.splits[name].anomaly for name in ("train", "calibration") if name in data.splits}
    return {name: int(anomaly.sum()) for name, anomaly in labels.items() if anomaly is not None and anomaly.any()}


def fit_model(model: Any, data: OneClassData, cfg: DictConfig, folder: Path, trackers: list[Tracker]) -> None:
    """Fit on the training rows, and validate on held-out rows, or on the training rows if none are held out."""
    val = next(name for name in ("val", "calibration", "train") if name in data.splits)
    rows = make_dataset(data, "train")
    kept = trimmed(rows, cfg)
    if len(kept) < len(rows):
        console.say(f"trim={cfg.trim:g}: {len(rows) - len(kept):,} of {len(rows):,} training {data.rows} are left out")
    fit(model, kept, make_dataset(data, val), cfg, folder, trackers)


def calibrate(model: Any, data: OneClassData, cfg: DictConfig, folder: Path) -> Calibration:
    """Return scores of normal rows by a model that was not trained on them."""
    hidden = count_hidden_anomalies(data)
    if cfg.calibrate == "split":
        scores = score_rows(model, data.splits["calibration"].x, device_of(model))
        return Calibration(scores, clean="calibration" not in hidden)
    val_rows = make_dataset(data, "val") if "val" in data.splits else None
    scores, n_folds = out_of_fold(make_dataset(data, "train"), val_rows, cfg, folder)
    return Calibration(scores, held_out=False, folds=n_folds, clean="train" not in hidden)


def make_dataset(data: OneClassData, split: str) -> ArrayDataset:
    """Return a split as a dataset to train on."""
    return ArrayDataset({"x": data.splits[split].x}, data.splits[split].row)


def make_threshold(
    scores: dict[str, np.ndarray], calibration: Calibration, data: OneClassData, cfg: DictConfig
) -> Threshold:
    """Return the threshold of the config's rule."""
    labels = data.splits["dev"].anomaly if "dev" in data.splits else None
    dev = (scores["dev"], labels) if labels is not None else None
    method = cfg.get("fdr_method", "bh")  # in configs of earlier versions
    return choose_threshold(cfg.threshold, calibration, scores["test"], cfg.fpr, cfg.fdr, dev, method)


def save(model: Any, data: OneClassData, calibration: np.ndarray, folder: Path, escape_formulas: bool) -> None:
    """Write the files that `ssl_cli.load` reads, and how columns were read."""
    data.preprocessor.save(folder / PREPROCESSOR)
    if isinstance(data, TableData):
        columns.write(folder / columns.COLUMNS, data.preprocessor.readings, escape_formulas)
    save_file({"scores": calibration}, folder / CALIBRATION)
    if isinstance(model, nn.Module):
        save_model(model, str(folder / WEIGHTS))
    else:
        model.save(folder)
