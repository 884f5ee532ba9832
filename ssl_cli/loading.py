"""A finished run, back in Python: `ssl_cli.load("latest").score(frame)`."""

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig, ListConfig
from safetensors import SafetensorError
from safetensors.numpy import load_file
from safetensors.torch import load_model
from torch import nn

from ssl_cli.checking import locate, names_where
from ssl_cli.config import build
from ssl_cli.data.encoder import TableEncoder
from ssl_cli.detection.thresholds import flagged_by_fdr, p_values
from ssl_cli.errors import InputError
from ssl_cli.runs import find_run, read_config, read_metrics
from ssl_cli.scoring import score_rows

ENCODER, CALIBRATION, WEIGHTS = "encoder.json", "calibration.safetensors", "model.safetensors"
# Where the classes live that a run folder may name as a `_target_`.
OWN = (
    *("ssl_cli.objectives.", "ssl_cli.models.", "ssl_cli.detection.", "ssl_cli.data.", "ssl_cli.tracking."),
    *("torch.nn.modules.", "torch.optim."),
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
        try:
            self.model = restore_model(self.config, folder)
            self.encoder = TableEncoder.load(folder / ENCODER)
            self.calibration = load_file(folder / CALIBRATION)["scores"]  # (n,)
        except (SafetensorError, ValueError, KeyError, OSError, RuntimeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{folder} is damaged: {type(error).__name__}: {str(error).splitlines()[0]}.") from error

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


def restore_model(cfg: DictConfig, folder: Path) -> Any:
    """The trained model of a run folder, on the CPU."""
    model = build(cfg.model)
    if isinstance(model, nn.Module):
        load_model(model, folder / WEIGHTS)
        return model.eval()
    model.restore(folder)
    return model


def refuse_foreign_targets(cfg: DictConfig, folder: Path, trust: tuple[str, ...] = ()) -> None:
    """Raise InputError for a `_target_` that is no class of our own or torch's, nor of a trusted package."""
    for target in _targets(cfg):
        if target.split(".")[0] not in trust and not _is_own_class(target):
            package = target.split(".")[0]
            raise InputError(
                f"{folder} names {target}, which isn't one of ssl's own classes: building it would run its code. "
                f"If the run is yours, trust it: `trust={package}`, or load(..., trust=({package!r},)) in Python."
            )


def _is_own_class(target: str) -> bool:
    """A class where it is defined: a prefix alone would let through whatever our modules import."""
    if not target.startswith(OWN):
        return False
    try:
        found = locate(target)
    except InputError:
        return False
    return inspect.isclass(found) and f"{found.__module__}.".startswith(OWN)


def _targets(node: Any) -> Iterator[str]:
    if isinstance(node, DictConfig):
        if "_target_" in node:
            yield str(node["_target_"])
        for key in node:
            yield from _targets(node[key])
    elif isinstance(node, ListConfig):
        for item in node:
            yield from _targets(item)
