"""Outlier detectors of scikit-learn."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from safetensors.numpy import load_file, save_file
from sklearn import ensemble, svm
from sklearn.metrics.pairwise import rbf_kernel
from torch import Tensor

from ssl_cli.config.types import Count, OpenShare, Positive, Range
from ssl_cli.methods.columns import Categories, rank_categories
from ssl_cli.methods.detectors.saved_arrays import WEIGHTS, check_shapes
from ssl_cli.methods.detectors.saved_as_rows import SavedAsRows
from ssl_cli.methods.detectors.subsample import subsample

KERNEL_SIZE = 1 << 22  # numbers of the kernel matrix that are in memory at once


class IsolationForest(SavedAsRows):
    """Isolation forest: a row is abnormal if few random splits isolate it (Liu, Ting and Zhou, ICDM 2008).

    A category is one feature here, its values in the order of their frequency: as one-hot features, a category of fifty
    values would get most of the splits. The forest is fitted to as many rows as its trees can see, `n_estimators` times
    `max_samples`, drawn at random. These are saved: fitting them again takes 0.2 to 0.4 s, as long as reading 200
    trees.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    library: ClassVar[str] = "scikit-learn"

    def __init__(
        self,
        n_estimators: Annotated[int, Range(1, 10_000), "trees"] = 200,
        max_samples: Annotated[Count, "training rows per tree"] = 256,
        categories: Categories | None = None,
    ):
        self.n_estimators, self.max_samples, self.categories = n_estimators, max_samples, categories or []

    def fit(self, x: np.ndarray, seed: int) -> None:
        """Fit the forest to rows (N, D)."""
        self._fit(subsample(x, self.n_estimators * self.max_samples, seed), seed)

    def _fit(self, rows: np.ndarray, seed: int) -> None:
        self.rows, self.seed = rows, seed  # (N, D)
        max_samples = min(self.max_samples, len(rows))
        self.estimator = ensemble.IsolationForest(
            n_estimators=self.n_estimators, max_samples=max_samples, random_state=seed
        ).fit(rank_categories(rows, self.categories))

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scores (B,) of rows `x` (B, D)."""
        rows = rank_categories(batch["x"].numpy(), self.categories)
        return torch.from_numpy(-self.estimator.score_samples(rows))


class OneClassSvm:
    """One-class SVM with an RBF kernel: signed distance from a boundary around the rows (Schoelkopf et al., 2001).

    What is saved are the terms of that distance, a weight for each support vector: fitting the rows again would take
    seconds (4.9 s for 10,000 images of MNIST).
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)

    def __init__(
        self,
        nu: Annotated[OpenShare, "upper bound on the share of training rows outside"] = 0.1,
        gamma: Annotated[Literal["scale", "auto"] | Positive, "the kernel's inverse squared width"] = "scale",
        max_rows: Annotated[
            Count | None, "training rows used, drawn at random (cost is quadratic); null: all"
        ] = 10_000,
    ):
        self.nu, self.gamma, self.max_rows = nu, gamma, max_rows

    def fit(self, x: np.ndarray, seed: int) -> None:
        """Fit the boundary to rows (N, D)."""
        rows = subsample(x, self.max_rows, seed)
        machine = svm.OneClassSVM(nu=self.nu, gamma=self.gamma).fit(rows)
        self.support_vectors = rows[machine.support_]  # (S, D)
        self.weights, self.offset = machine.dual_coef_[0], machine.offset_  # (S,), (1,)
        self.width = np.array([machine._gamma])  # (1,), the kernel's inverse squared width

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scores (B,) of rows `x` (B, D)."""
        x, vectors = batch["x"].numpy().astype(np.float64), self.support_vectors.astype(np.float64)
        step = max(1, KERNEL_SIZE // len(vectors))
        similarity = [
            rbf_kernel(x[begin : begin + step], vectors, self.width[0]) @ self.weights
            for begin in range(0, len(x), step)
        ]
        return torch.from_numpy(self.offset - np.concatenate(similarity))

    def save(self, folder: Path) -> None:
        """Write the support vectors and their weights into a run folder."""
        arrays = {name: getattr(self, name) for name in ("support_vectors", "weights", "offset", "width")}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, folder / WEIGHTS)

    def restore(self, folder: Path) -> None:
        """Read the support vectors and their weights back."""
        arrays = load_file(folder / WEIGHTS)
        shapes = {"support_vectors": "S D", "weights": "S", "offset": "1", "width": "1"}
        check_shapes(folder / WEIGHTS, arrays, shapes)
        self.support_vectors, self.weights = arrays["support_vectors"], arrays["weights"]
        self.offset, self.width = arrays["offset"], arrays["width"]
