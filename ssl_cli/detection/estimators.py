"""scikit-learn's outlier detectors, saved with skops."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import skops.io
import torch
from sklearn import ensemble, svm
from skops.io.exceptions import UntrustedTypesFoundException
from torch import Tensor

from ssl_cli.bounds import Count, OpenShare, Positive
from ssl_cli.detection.detector import sample
from ssl_cli.errors import InputError

SKOPS = "model.skops"


class IsolationForest:
    """How few random cuts isolate a row (Liu, Ting and Zhou, ICDM 2008)."""

    reads: ClassVar[tuple[str, ...]] = ("x",)

    def __init__(
        self,
        n_estimators: Annotated[Count, "trees"] = 200,
        max_samples: Annotated[Count, "training rows a tree sees"] = 256,
    ):
        self.n_estimators, self.max_samples = n_estimators, max_samples

    def fit(self, x: np.ndarray, seed: int) -> None:
        max_samples = min(self.max_samples, len(x))
        self.estimator = ensemble.IsolationForest(
            n_estimators=self.n_estimators, max_samples=max_samples, random_state=seed
        ).fit(x)

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        return torch.from_numpy(-self.estimator.score_samples(batch["x"].numpy()))

    def save(self, folder: Path) -> None:
        skops.io.dump(self.estimator, folder / SKOPS)

    def restore(self, folder: Path) -> None:
        self.estimator = _load(folder, ensemble.IsolationForest, trusted=["sklearn.tree._tree.Tree"])
        for tree in self.estimator.estimators_:
            _refuse_wild_nodes(tree.tree_, folder)


class OneClassSvm:
    """The signed distance from a boundary around the training rows (Schoelkopf et al., 2001), with an RBF kernel."""

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
        self.estimator = svm.OneClassSVM(nu=self.nu, gamma=self.gamma).fit(sample(x, self.max_rows, seed))

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        return torch.from_numpy(-self.estimator.decision_function(batch["x"].numpy()))

    def save(self, folder: Path) -> None:
        skops.io.dump(self.estimator, folder / SKOPS)

    def restore(self, folder: Path) -> None:
        self.estimator = _load(folder, svm.OneClassSVM)


def _load(folder: Path, wanted: type, trusted: list[str] | None = None) -> Any:
    # skops builds scikit-learn's and numpy's own types only: nothing in the file can run.
    try:
        estimator = skops.io.load(folder / SKOPS, trusted=trusted or [])
    except UntrustedTypesFoundException as error:
        raise InputError(f"{folder / SKOPS} holds foreign types and is not loaded: {error}") from error
    if not isinstance(estimator, wanted):
        raise InputError(f"{folder / SKOPS} holds a {type(estimator).__name__}, not a {wanted.__name__}.")
    return estimator


def _refuse_wild_nodes(tree: Any, folder: Path) -> None:
    """scikit-learn follows a tree's indices without looking: a forged one could read anywhere in memory."""
    nodes = np.arange(tree.node_count)
    leaf = tree.children_left == -1
    for children in (tree.children_left, tree.children_right):
        sound = np.where(leaf, children == -1, (children > nodes) & (children < tree.node_count))
        if not sound.all() or not np.where(leaf, True, (tree.feature >= 0) & (tree.feature < tree.n_features)).all():
            raise InputError(f"{folder / SKOPS} holds a tree whose nodes point outside it.")
