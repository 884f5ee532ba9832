"""Trimming: leave out the training rows that an isolation forest finds most abnormal, if some may be anomalies."""

import numpy as np
from omegaconf import DictConfig

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.methods.detectors.sklearn import IsolationForest
from ssl_cli.methods.scoring import score_rows
from ssl_cli.models.images import to_float


def trimmed(rows: ArrayDataset, cfg: DictConfig) -> ArrayDataset:
    """Return the training rows without the share `cfg.trim` that is most abnormal, in their order.

    A detector's own scores would not do: anomalies that resemble each other are neighbours, and hide one another. A
    tree of an isolation forest sees 256 rows only, and so few of them.
    """
    n_left_out = round(cfg.get("trim", 0) * len(rows))
    if not n_left_out:
        return rows
    forest, x = IsolationForest(categories=cfg.facts.categories), to_float(rows.arrays["x"]).flatten(1).numpy()
    forest.fit(x, cfg.seed)
    order = np.argsort(score_rows(forest, x), kind="stable")
    return rows.take(np.sort(order[: len(rows) - n_left_out]))
