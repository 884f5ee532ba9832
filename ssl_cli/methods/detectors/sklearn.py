"""scikit-learn's outlier detectors, saved with skops."""

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
from ssl_cli.methods.protocols import sample

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
        if self.estimator._max_features != self.estimator.n_features_in_:
            raise InputError(f"{folder / SKOPS} holds a forest whose trees see some of the features only.")
        for tree in self.estimator.estimators_:
            _refuse_wild_nodes(tree.tree_, self.estimator.n_features_in_, folder)


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
        _refuse_wild_vectors(self.estimator, folder)


def _load(folder: Path, wanted: type, trusted: list[str] | None = None) -> Any:
    # skops builds scikit-learn's and numpy's own types only: nothing in the file can run.
    try:
        estimator = skops.io.load(folder / SKOPS, trusted=trusted or [])
    except UntrustedTypesFoundException as error:
        raise InputError(f"{folder / SKOPS} holds foreign types and is not loaded: {error}") from error
    except Exception as error:  # skops raises many kinds for a file that isn't its own
        raise InputError(f"{folder / SKOPS} is damaged: {type(error).__name__}: {error}.") from error
    if type(estimator) is not wanted:
        raise InputError(f"{folder / SKOPS} holds a {type(estimator).__name__}, not a {wanted.__name__}.")
    if hidden := [name for name in vars(estimator) if hasattr(wanted, name)]:
        raise InputError(f"{folder / SKOPS} has something else in the place of {hidden[0]} of {wanted.__name__}.")
    return estimator


def _refuse_wild_vectors(machine: Any, folder: Path) -> None:
    """libsvm takes the sizes of one array from another: forged ones would have it read beyond their end."""
    n = len(machine.support_vectors_)
    shapes = {
        "support_": (n,),
        "support_vectors_": (n, machine.n_features_in_),
        "_dual_coef_": (1, n),
        "_intercept_": (1,),
        "_probA": (0,),
        "_probB": (0,),
        "offset_": (1,),
    }
    sound = all(array.shape == shapes[name] for name, array in vars(machine).items() if name in shapes)
    if not sound or machine._n_support.tolist()[:1] != [n] or machine.kernel != "rbf" or machine._sparse:
        raise InputError(f"{folder / SKOPS} holds support vectors whose shapes don't fit each other.")


def _refuse_wild_nodes(tree: Any, n_features: int, folder: Path) -> None:
    """scikit-learn follows a tree's indices without looking: a forged one could read anywhere in memory."""
    if tree.n_features != n_features:
        raise InputError(f"{folder / SKOPS} holds a tree of {tree.n_features} features in a forest of {n_features}.")
    nodes = np.arange(tree.node_count)
    leaf = tree.children_left == -1
    for children in (tree.children_left, tree.children_right):
        sound = np.where(leaf, children == -1, (children > nodes) & (children < tree.node_count))
        if not sound.all() or not np.where(leaf, True, (tree.feature >= 0) & (tree.feature < tree.n_features)).all():
            raise InputError(f"{folder / SKOPS} holds a tree whose nodes point outside it.")
