"""Calibration: scores of normal rows by models that were not trained on them, held-out or cross-fitted."""

from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.detect.trimming import trimmed
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.data.images.datasets import Images
from ssl_cli.data.one_class import OneClassData
from ssl_cli.evaluation.thresholds import CONFORMAL, min_calibration_rows
from ssl_cli.methods.build import new_model
from ssl_cli.methods.scoring import device_of, score_rows
from ssl_cli.training.fit import fit

FOLDS = "folds"  # folder in the run folder, with one folder per model
# calibrate=auto cross-fits small data only, as it takes several times as long: not if so many can be held out.
MANY_ROWS, MANY_IMAGES = 1000, 100


def fewest_to_hold_out(cfg: DictConfig, source: Any) -> int:
    """Return how many rows of the data `source` must be there to be held out, else none is; 0: none in any case."""
    if cfg.calibrate != "auto":
        return 1 if cfg.calibrate == "split" else 0
    many = MANY_IMAGES if isinstance(source, Images) else MANY_ROWS
    return min(min_calibration_rows(cfg.threshold, cfg.fpr, cfg.fdr), many)


def settle(cfg: DictConfig, data: OneClassData) -> str | None:
    """Replace calibrate=auto in the config by how the data were split, and return it with the reason, else None.

    A resumed run keeps to it: what it changes, such as `fpr`, could otherwise move rows that its model has learned
    from into the calibration.
    """
    if cfg.calibrate != "auto":
        return None
    cfg.calibrate = "split" if "calibration" in data.splits else "cross"
    needed, rows = min_calibration_rows(cfg.threshold, cfg.fpr, cfg.fdr), data.rows
    if needed == 1:
        return f"calibrate=auto: split; threshold={cfg.threshold} does not depend on the calibration {rows}"
    option = f"fpr={cfg.fpr:g}" if cfg.threshold == "auto" else f"fdr={cfg.fdr:g}"
    option = option if cfg.threshold in CONFORMAL else f"threshold={cfg.threshold}"
    if cfg.calibrate == "cross":
        return (
            f"calibrate=auto: cross, {cfg.folds + 1} fits; fewer {rows} would be held out than the {needed:,} that "
            f"{option} needs"
        )
    n = len(data.splits["calibration"].x)
    if n >= needed:
        return f"calibrate=auto: split; {n:,} {rows} are held out, and {option} needs {needed:,}"
    return (
        f"calibrate=auto: split; {n:,} {rows} are held out, and {option} needs {needed:,}, but cross would take "
        f"{cfg.folds + 1} fits of many {rows}"
    )


def out_of_fold(
    rows: ArrayDataset, val_rows: ArrayDataset | None, cfg: DictConfig, folder: Path
) -> tuple[np.ndarray, int]:
    """Return the score (N,) of each row by a model fitted without that row's fold, and the number of models.

    Without `val_rows`, each model is validated on the fold that it scores.
    """
    n_folds = min(cfg.folds, len(rows))
    fold = np.random.default_rng([cfg.seed, 4]).permutation(len(rows)) % n_folds  # (N,)
    scores = np.empty(len(rows))
    for k in range(n_folds):
        console.say(f"calibrate=cross: fold {k + 1} of {n_folds}")
        fold_folder = folder / FOLDS / str(k)
        fold_folder.mkdir(parents=True, exist_ok=True)
        held_out, model = rows.take(fold == k), new_model(cfg)
        fit(model, trimmed(rows.take(fold != k), cfg), held_out if val_rows is None else val_rows, cfg, fold_folder)
        scores[fold == k] = score_rows(model, held_out.arrays["x"].numpy(), device_of(model))
    return scores, n_folds
