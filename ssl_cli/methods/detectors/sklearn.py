"""Outlier detectors of scikit-learn, saved with skops."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import skops.io
import torch
from sklearn import ensemble, svm
from skops.io.exceptions import UntrustedTypesFoundException
from torch import Tensor

from ssl_cli.config.types import Count, OpenShare, Positive
from ssl_cli.errors import InputError
from ssl_cli.methods.detectors.subsample import subsample

ESTIMATOR_FILE = "model.skops"


class IsolationForest:
    """Isolation forest: a row is abnormal if few random splits isolate it (Liu, Ting and Zhou, ICDM 2008)."""

    reads: ClassVar[tuple[str, ...]] = ("x",)

    def __init__(
        self,
        n_estimators: Annotated[Count, "trees"] = 200,
        max_samples: Annotated[Count, "training rows per tree"] = 256,
    ):
        self.n_estimators, self.max_samples = n_estimators, max_samples

    def fit(self, x: np.ndarray, seed: int) -> None:
        """Fit the forest to rows (N, D)."""
        max_samples = min(self.max_samples, len(x))
        self.estimator = ensemble.IsolationForest(
            n_estimators=self.n_estimators, max_samples=max_samples, random_state=seed
        ).fit(x)

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scores (B,) of rows `x` (B, D)."""
        return torch.from_numpy(-self.estimator.score_samples(batch["x"].numpy()))

    def save(self, folder: Path) -> None:
        """Write the forest into a run folder."""
        skops.io.dump(self.estimator, folder / ESTIMATOR_FILE)

    def restore(self, folder: Path) -> None:
        """Read the forest back, from a file that may be untrusted. Raises InputError if it is damaged or unsafe."""
        self.estimator = _load(folder, ensemble.IsolationForest, trusted=["sklearn.tree._tree.Tree"])
        if self.estimator._max_features != self.estimator.n_features_in_:
            raise InputError(f"{folder / ESTIMATOR_FILE} holds a forest whose trees see some of the features only.")
        for tree in self.estimator.estimators_:
            _check_tree_nodes(tree.tree_, self.estimator.n_features_in_, folder)


class OneClassSvm:
    """One-class SVM with an RBF kernel: signed distance from a boundary around the rows (Schoelkopf et al., 2001)."""

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
        self.estimator = svm.OneClassSVM(nu=self.nu, gamma=self.gamma).fit(subsample(x, self.max_rows, seed))

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scores (B,) of rows `x` (B, D)."""
        return torch.from_numpy(-self.estimator.decision_function(batch["x"].numpy()))

    def save(self, folder: Path) -> None:
        """Write the support vectors into a run folder."""
        skops.io.dump(self.estimator, folder / ESTIMATOR_FILE)

    def restore(self, folder: Path) -> None:
        """Read the support vectors back, from a file that may be untrusted. Raises InputError if it is damaged or
        unsafe."""
        self.estimator = _load(folder, svm.OneClassSVM)
        _check_support_vectors(self.estimator, folder)


def _load(folder: Path, expected: type, trusted: list[str] | None = None) -> Any:
    """Return the estimator of a run folder. Raises InputError if it is not of the expected class."""
    # skops builds only types of scikit-learn and numpy: nothing in the file can run.
    try:
        estimator = skops.io.load(folder / ESTIMATOR_FILE, trusted=trusted or [])
    except UntrustedTypesFoundException as error:
        raise InputError(f"{folder / ESTIMATOR_FILE} holds foreign types and is not loaded: {error}") from error
    except Exception as error:  # skops raises many types of errors for a file that isn't its own
        raise InputError(f"{folder / ESTIMATOR_FILE} is damaged: {type(error).__name__}: {error}.") from error
    if type(estimator) is not expected:
        raise InputError(f"{folder / ESTIMATOR_FILE} holds a {type(estimator).__name__}, not a {expected.__name__}.")
    if overridden := [name for name in vars(estimator) if hasattr(expected, name)]:
        raise InputError(f"{folder / ESTIMATOR_FILE} overrides {overridden[0]} of {expected.__name__}.")
    return estimator


def _check_support_vectors(estimator: Any, folder: Path) -> None:
    """Raise InputError if the arrays of an SVM don't fit each other.

    libsvm takes the sizes of one array from another: with forged sizes it would read beyond their end.
    """
    n = len(estimator.support_vectors_)
    shapes = {
        "support_": (n,),
        "support_vectors_": (n, estimator.n_features_in_),
        "_dual_coef_": (1, n),
        "_intercept_": (1,),
        "_probA": (0,),
        "_probB": (0,),
        "offset_": (1,),
    }
    fits = all(array.shape == shapes[name] for name, array in vars(estimator).items() if name in shapes)
    if not fits or estimator._n_support.tolist()[:1] != [n] or estimator.kernel != "rbf" or estimator._sparse:
        raise InputError(f"{folder / ESTIMATOR_FILE} holds support vectors whose shapes don't fit each other.")


def _check_tree_nodes(tree: Any, n_features: int, folder: Path) -> None:
    """Raise InputError if a tree's indices point outside it.

    scikit-learn follows the indices without a check: a forged one could read anywhere in memory.
    """
    if tree.n_features != n_features:
        raise InputError(
            f"{folder / ESTIMATOR_FILE} holds a tree of {tree.n_features} features in a forest of {n_features}."
        )
    nodes = np.arange(tree.node_count)
    leaf = tree.children_left == -1
    for children in (tree.children_left, tree.children_right):
        fits = np.where(leaf, children == -1, (children > nodes) & (children < tree.node_count))
        if not fits.all() or not np.where(leaf, True, (tree.feature >= 0) & (tree.feature < tree.n_features)).all():
            raise InputError(f"{folder / ESTIMATOR_FILE} holds a tree whose nodes point outside it.")
