"""A finished run of ssl detect: `ssl_cli.load("latest").score(frame)`."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from ssl_cli.commands.finished import Finished
from ssl_cli.data.images.reader import ImageReader
from ssl_cli.data.io.json_state import read_state
from ssl_cli.data.tables.preprocessing import TablePreprocessor
from ssl_cli.errors import InputError
from ssl_cli.evaluation.thresholds import flagged_by_fdr, p_values
from ssl_cli.methods.scoring import score_rows
from ssl_cli.models.images import numbers
from ssl_cli.runs.folder import METRICS

PREPROCESSOR, CALIBRATION = "encoder.json", "calibration.safetensors"


class DetectRun(Finished):
    """A detector, its calibration scores and its encoder, ready for new rows.

    Rows of a table are a data frame or Arrow table with the training file's columns by name, or an array (N, columns)
    with them in the file's order, the label left out. Images are an array (N, C, H, W) of bytes, or of numbers in 0..1.
    """

    def restore(self) -> None:
        if self.config.threshold != "fdr" and "threshold/value" not in self.metrics:
            raise InputError(f"{self.folder / METRICS} is damaged: it has no threshold/value.")
        self.encoder = _encoder(self.folder / PREPROCESSOR)
        self.calibration = _calibration(self.folder / CALIBRATION)
        one = self._blank()
        if list(one.shape[1:]) != list(self.config.facts.shape):
            raise InputError(
                f"{self.folder / PREPROCESSOR} is damaged: what it makes has another shape than the model's."
            )
        score_rows(self.model, one)

    def _blank(self) -> np.ndarray:
        """One row of nothing"""
        if isinstance(self.encoder, ImageReader):
            return np.zeros((1, *self.encoder.shape), np.uint8)
        return np.zeros((1, len(self.encoder.features)), np.float32)

    def encode(self, rows: Any) -> np.ndarray:
        """(N, n_features) float32, or images (N, C, H, W)"""
        if isinstance(self.encoder, ImageReader):
            return self.encoder.checked(rows)
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
        self.need("embed")
        with torch.inference_mode():
            return self.model.embed({"x": numbers(torch.from_numpy(self.encode(rows)))}).numpy()


def _encoder(path: Path) -> TablePreprocessor | ImageReader:
    """What makes new rows, or new images, such as the model knows."""
    state = read_state(path)
    return (ImageReader if state.get("kind") == "images" else TablePreprocessor).from_state(path, state)


def _calibration(path: Path) -> np.ndarray:
    """(n,) scores, at least one, all finite"""
    scores = load_file(path)["scores"]
    if scores.ndim != 1 or scores.dtype.kind != "f" or not len(scores) or not np.isfinite(scores).all():
        raise InputError(f"{path} is damaged: its scores must be finite numbers in a row, one at least.")
    return scores
