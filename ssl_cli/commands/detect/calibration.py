"""Cross-fitted calibration: scores of the training rows by models that were not trained on them."""

from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.data.batches import ArrayDataset
from ssl_cli.evaluation.thresholds import Calibration
from ssl_cli.methods.build import new_model
from ssl_cli.methods.scoring import device_of, score_rows
from ssl_cli.training.fit import fit

FOLDS = "folds"  # folder in the run folder, with one folder per model


def out_of_fold(rows: ArrayDataset, val_rows: ArrayDataset | None, cfg: DictConfig, folder: Path) -> Calibration:
    """Return the score (N,) of each row by a model fitted without that row's fold; `cfg.folds` models in all.

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
        fit(model, rows.take(fold != k), held_out if val_rows is None else val_rows, cfg, fold_folder)
        scores[fold == k] = score_rows(model, held_out.arrays["x"].numpy(), device_of(model))
    return Calibration(scores, held_out=False, folds=n_folds)
