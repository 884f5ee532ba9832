"""A finished run, back in Python: `ssl_cli.load("latest").score(frame)`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.torch import load_model
from torch import nn

from ssl_cli.blueprint import refuse_other_shapes
from ssl_cli.checking import check_saved, names_where
from ssl_cli.config import build
from ssl_cli.data.encoder import TableEncoder
from ssl_cli.detection.thresholds import flagged_by_fdr, p_values
from ssl_cli.errors import InputError
from ssl_cli.runs import METRICS, find_run, read_config, read_metrics
from ssl_cli.scoring import score_rows
from ssl_cli.vetting import refuse_foreign_targets

ENCODER, CALIBRATION, WEIGHTS = "encoder.json", "calibration.safetensors", "model.safetensors"
# What the readers of a model raise where its files are not what they should be.
DAMAGES = (
    SafetensorError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def load(run: str | Path = "latest", outputs: str | Path = "outputs", trust: tuple[str, ...] = ()) -> "Run":
    """A finished run: a run folder, or `latest`.

    Nothing in the folder can run code: only ssl_cli's and torch's own classes are built from it, and those of the
    packages named in `trust`. Raises InputError where there is no such run, or it names other classes.
    """
    return Run(find_run(run, outputs, finished=True), trust)


class Run:
    """`config` and `metrics` of a finished run, and its `model`, ready for new rows.

    Rows are a data frame or Arrow table with the training file's columns by name, or an array (N, columns) with them in
    the file's order, the label left out.
    """

    def __init__(self, folder: Path, trust: tuple[str, ...] = ()):
        self.folder = folder
        self.config = read_config(folder)
        self.metrics = read_metrics(folder)
        refuse_foreign_targets(self.config, folder, trust)
        check_saved(self.config, folder)
        if self.config.threshold != "fdr" and "threshold/value" not in self.metrics:
            raise InputError(f"{folder / METRICS} is damaged: it has no threshold/value.")
        try:
            self.encoder = TableEncoder.load(folder / ENCODER)
            self.calibration = _calibration(folder / CALIBRATION)
            self.model = restore_model(self.config, folder)
            # One row through it: a model and an encoder that don't fit each other show it here.
            score_rows(self.model, np.zeros((1, len(self.encoder.features)), np.float32))
        except InputError:
            raise
        except DAMAGES as error:
            reason = (str(error).splitlines() or ["it is cut off"])[0]
            raise InputError(f"{folder} is damaged: {type(error).__name__}: {reason[:300]}.") from error

    def encode(self, rows: Any) -> np.ndarray:
        """(N, n_features) float32"""
        return self.encoder.transform(self.encoder.as_table(rows))

    def score(self, rows: Any) -> np.ndarray:
        """(N,) anomaly scores, larger for more abnormal."""
        return score_rows(self.model, self.encode(rows))

    def p_value(self, rows: Any) -> np.ndarray:
        """(N,) conformal p-values: small for rows stranger than the calibration rows."""
        return p_values(self.calibration, self.score(rows))

    def flag(self, rows: Any) -> np.ndarray:
        """(N,) bool: which rows score above the run's threshold; with threshold=fdr, above the one these rows make."""
        scores = self.score(rows)
        if self.config.threshold != "fdr":
            return scores > self.metrics["threshold/value"]
        return flagged_by_fdr(self.calibration, scores, self.config.fdr)

    def embed(self, rows: Any) -> np.ndarray:
        """(N, latent) codes, where the model has them."""
        if not hasattr(self.model, "embed"):
            have = ", ".join(names_where("model", lambda target: hasattr(target, "embed")))
            raise InputError(f"{self.folder}: model={self.config.choices.model} has no embed; {have} have.")
        with torch.inference_mode():
            return self.model.embed({"x": torch.from_numpy(self.encode(rows))}).numpy()

    def __repr__(self) -> str:
        return f"Run({str(self.folder)!r})"


def _calibration(path: Path) -> np.ndarray:
    """(n,) scores, at least one, all finite"""
    scores = load_file(path)["scores"]
    if scores.ndim != 1 or scores.dtype.kind != "f" or not len(scores) or not np.isfinite(scores).all():
        raise InputError(f"{path} is damaged: its scores must be finite numbers in a row, one at least.")
    return scores


def restore_model(cfg: DictConfig, folder: Path) -> Any:
    """The trained model of a run folder, on the CPU."""
    refuse_other_shapes(cfg, folder / WEIGHTS)
    model = build(cfg.model)
    if isinstance(model, nn.Module):
        load_model(model, folder / WEIGHTS)
        return model.eval()
    model.restore(folder)
    return model
