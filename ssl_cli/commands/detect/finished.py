"""A finished run of ssl detect: `ssl_cli.load("latest").score(frame)`."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file

from ssl_cli.commands.detect.contributions import FeatureContribution, explain_rows
from ssl_cli.commands.finished import Finished
from ssl_cli.data.images.reader import ImageReader
from ssl_cli.data.io.json_state import read_state
from ssl_cli.data.tables.preprocessing import TablePreprocessor
from ssl_cli.data.tables.reasons import cell_texts
from ssl_cli.errors import InputError
from ssl_cli.evaluation.conformal import FdrMethod, flagged_by_fdr, p_values
from ssl_cli.methods.protocols import Embeds, Explains
from ssl_cli.methods.scoring import score_rows
from ssl_cli.models.images import to_float
from ssl_cli.runs.folder import METRICS

PREPROCESSOR, CALIBRATION = "preprocessor.json", "calibration.safetensors"


class DetectRun(Finished):
    """A detector with its calibration scores and its preprocessor, ready for new rows.

    Rows of a table are a data frame or Arrow table with the training file's columns by name, or an array (N, columns)
    with the columns in the file's order; both without the label. Images are an array (N, C, H, W) of bytes, or of
    numbers in 0..1.
    """

    def restore(self) -> None:
        """Read the preprocessor and the calibration scores, and score one row."""
        if self.config.threshold != "fdr" and "threshold/value" not in self.metrics:
            raise InputError(f"{self.folder / METRICS} is damaged: it has no threshold/value.")
        self.preprocessor = _read_preprocessor(self.folder / PREPROCESSOR)
        self.calibration = _read_calibration(self.folder / CALIBRATION)
        x = self._zero_row()
        if list(x.shape[1:]) != list(self.config.facts.shape):
            raise InputError(f"{self.folder / PREPROCESSOR} is damaged: its rows do not have the model's shape.")
        score_rows(self.model, x)

    def _zero_row(self) -> np.ndarray:
        """Return one preprocessed row of zeros."""
        if isinstance(self.preprocessor, ImageReader):
            return np.zeros((1, *self.preprocessor.shape), np.uint8)
        return np.zeros((1, len(self.preprocessor.feature_names)), np.float32)

    def preprocess(self, rows: Any) -> np.ndarray:
        """Return rows as the model takes them: (N, D) float32, or images (N, C, H, W).

        Raises InputError if they are not such rows as the run was trained on; so do the methods below.
        """
        if isinstance(self.preprocessor, ImageReader):
            return self.preprocessor.validate(rows)
        return self.preprocessor.transform(self.preprocessor.as_table(rows))

    def score(self, rows: Any) -> np.ndarray:
        """Return anomaly scores (N,); larger is more abnormal."""
        return score_rows(self.model, self.preprocess(rows))

    def p_value(self, rows: Any) -> np.ndarray:
        """Return conformal p-values (N,): small for rows that are more abnormal than the calibration rows."""
        return p_values(self.calibration, self.score(rows))

    def flag(self, rows: Any) -> np.ndarray:
        """Return which rows score above the run's threshold, (N,) bool; with threshold=fdr, judged together."""
        scores = self.score(rows)
        if self.config.threshold != "fdr":
            return scores > self.metrics["threshold/value"]
        return flagged_by_fdr(self.calibration, scores, self.config.fdr, self.fdr_method)

    @property
    def fdr_method(self) -> FdrMethod:
        """Return how threshold=fdr controls the rate; in runs of earlier versions by Benjamini and Hochberg alone."""
        return self.config.get("fdr_method", "bh")

    def explain(self, rows: Any) -> list[list[FeatureContribution]]:
        """Return the columns that contribute most to each row's score, the largest first, each with its `reason`.

        Raises InputError if the rows are images, or the model can't explain its scores.
        """
        if isinstance(self.preprocessor, ImageReader):
            raise InputError("The run was trained on images: only rows of a table are explained.")
        self.require(Explains, "explain scores")
        table = self.preprocessor.as_table(rows)
        x = self.preprocessor.transform(table)
        texts = partial(cell_texts, self.preprocessor, table, before=None)
        return list(explain_rows(self.model, self.preprocessor, x, range(len(x)), texts))

    def embed(self, rows: Any) -> np.ndarray:
        """Return codes (N, Z). Raises InputError if the model has none."""
        self.require(Embeds, "embed rows")
        with torch.inference_mode():
            return self.model.embed({"x": to_float(torch.from_numpy(self.preprocess(rows)))}).numpy()


def _read_preprocessor(path: Path) -> TablePreprocessor | ImageReader:
    """Read what converts new rows, or new images, to the model's input."""
    state = read_state(path)
    return (ImageReader if state.get("kind") == "images" else TablePreprocessor).from_state(path, state)


def _read_calibration(path: Path) -> np.ndarray:
    """Read the calibration scores (n,). Raises InputError if there are none or they are not finite."""
    scores = load_file(path)["scores"]
    if scores.ndim != 1 or scores.dtype.kind != "f" or not len(scores) or not np.isfinite(scores).all():
        raise InputError(f"{path} is damaged: its scores must be a row of at least one finite number.")
    return scores
