"""Detectors of PyOD, by name: `model=pyod model.detector=COPOD` (Zhao, Nasrullah and Li, JMLR 2019).

PyOD is an optional dependency: `pip install 'ssl-cli[pyod]'`. It is imported only when one of its detectors is used.
"""

import importlib.util
import inspect
import io
import os
import random
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ssl_cli import console
from ssl_cli.config.choices import did_you_mean
from ssl_cli.config.types import Count
from ssl_cli.errors import InputError
from ssl_cli.methods.detectors.saved_as_rows import PROBE_ROWS, SavedAsRows
from ssl_cli.methods.detectors.subsample import subsample

# Modules of pyod.models whose detectors read graphs, time series, texts or sounds, not tables; and suod, which loads
# pickles from the paths that its options name.
NOT_FOR_TABLES = re.compile(r"pyg_|ts_|embedding|audio_ae|base|suod")
SEED_OPTIONS = ("random_state", "random_seed", "seed")  # its names in PyOD's classes
EXAMPLES = ("ECOD", "COPOD", "IForest", "LOF", "HBOS", "GMM", "INNE", "LODA", "AutoEncoder")
DERIVED_OPTIONS = ("n_features", *SEED_OPTIONS)  # set from the rows and the seed


class PyOD(SavedAsRows):
    """Any detector of PyOD that is fitted without labels, with its `options` as keyword arguments.

    Here a row's score depends only on the row and the training rows. In some of PyOD's detectors (ECOD, COPOD, ROD,
    DIF, VAE) it also depends on the rows scored beside it: ECOD and COPOD count those as training rows. Whether a
    detector does so is measured after it is fitted; if so its rows are scored one by one, which takes long on large
    tables. A detector that can't score a single row (SOS, SOD, COF) is rejected.

    PyOD can save its detectors only as pickles, which run code when they are read.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)
    library: ClassVar[str] = "pyod"

    def __init__(
        self,
        detector: Annotated[str | None, f"a class of PyOD, such as {', '.join(EXAMPLES)}; must be named"],
        options: Annotated[dict[str, Any] | None, "keyword arguments of that class"] = None,
        max_rows: Annotated[
            Count | None, "training rows used, drawn at random (many detectors' cost is quadratic); null: all"
        ] = 10_000,
    ):
        for fault in self.option_faults({"detector": detector, "options": options}):
            raise InputError(fault)
        assert detector is not None  # a fault above
        self.detector, self.options, self.max_rows = detector, dict(options or {}), max_rows

    @property
    def name(self) -> str:
        """Return the class of PyOD."""
        return self.detector

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        """Yield what is wrong with options together; `check` calls it before any data is read."""
        name, keyword_options = options["detector"], dict(options.get("options") or {})
        if name is None:
            yield f"detector must name a detector of PyOD: {', '.join(EXAMPLES)} or another of its classes."
            return
        try:
            detector = find_class(name)
        except InputError as error:
            yield f"detector={name} {error}"
            return
        known, required, takes_others = _parameters(detector)
        faults = [
            f"options.{option} is not an option of {name}.{did_you_mean(option, known)} It takes {', '.join(known)}."
            for option in keyword_options
            if option not in known and not takes_others
        ]
        faults += [
            f"options.{option} is missing: {name} needs it."
            for option in required
            if option not in (*keyword_options, *DERIVED_OPTIONS)
        ]
        yield from faults
        try:
            if not faults:
                new_detector(detector, keyword_options, n_features=1, seed=0)
        except InputError as error:
            yield f"options don't suit {name}: {error}"

    def fit(self, x: np.ndarray, seed: int) -> None:
        """Fit the detector to rows (N, D). Raises InputError if the rows don't suit it."""
        self._fit(subsample(x, self.max_rows, seed), seed)
        if self.one_by_one:
            started = time.perf_counter()
            self._scores(self.rows[:1])
            cost_ms = 1e3 * (time.perf_counter() - started)
            console.say(
                f"{self.detector} scores depend on the rows scored together: each row is scored by itself "
                f"({cost_ms:.2g} ms)"
            )

    def _fit(self, rows: np.ndarray, seed: int) -> None:
        self.rows, self.seed = rows, seed  # (N, D)
        self.estimator = new_detector(find_class(self.detector), self.options, rows.shape[1], seed)
        with _isolated(seed, f"{self.detector} can't be fitted to {len(rows):,} rows of {rows.shape[1]} features"):
            self.estimator.fit(rows.astype(np.float64))
        self.one_by_one = self._depends_on_other_rows()

    def _depends_on_other_rows(self) -> bool:
        """Return whether the score of a row changes with the rows beside it. Raises InputError if it needs them."""
        sample = self.rows[:PROBE_ROWS]
        top = sample[[np.argmax(self._scores(sample))]]  # (1, D), the most abnormal row
        try:
            alone = self._scores(top)
        except InputError:
            alone = np.array([np.nan])
        if not np.isfinite(alone).all():
            raise InputError(
                f"{self.detector} only compares rows with the rows beside them, and can't score one by itself: "
                "its scores say nothing about new rows. Use another detector."
            )
        batches = [top.repeat(PROBE_ROWS, 0), np.concatenate([top, sample])]
        return not all(np.allclose(alone, self._scores(batch)[0], rtol=1e-4, atol=0) for batch in batches)

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        """Return the scores (B,) of rows `x` (B, D)."""
        x = batch["x"].numpy()
        batches = [self._scores(rows) for rows in (x[:, None] if self.one_by_one else [x])]
        return torch.from_numpy(np.concatenate(batches))

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        """Return PyOD's scores, (B, D) -> (B,)."""
        with _isolated(self.seed, f"{self.detector} can't score {len(rows):,} rows"):
            return np.asarray(self.estimator.decision_function(rows.astype(np.float64)), np.float64).reshape(len(rows))


def find_class(name: str) -> type:
    """Return PyOD's detector class of that name.

    Raises InputError, with a message that continues `detector=NAME`, if there is none or it can't be used.
    """
    modules = _module_of_each_class()
    if name not in modules:
        spelling = {known.lower(): known for known in modules}.get(name.lower())
        hint = f" Did you mean {spelling}?" if spelling else did_you_mean(name, modules)
        raise InputError(f"is no detector of PyOD for tables.{hint} It has {', '.join(sorted(modules))}.")
    try:
        with _silence():
            detector = getattr(importlib.import_module(f"pyod.models.{modules[name]}"), name)
    except ImportError as error:
        missing = (error.name or str(error)).split(".")[0]
        raise InputError(f"needs the package {missing}: pip install {missing}") from error
    labels = inspect.signature(detector.fit).parameters.get("y")
    if labels is not None and labels.default is labels.empty:
        raise InputError("learns from labels, but a detector is fitted without them here. Use another detector.")
    return detector


def _module_of_each_class() -> dict[str, str]:
    """Return class -> the module of pyod.models that defines it. Parses the files: importing them all takes seconds."""
    package = importlib.util.find_spec("pyod")
    if package is None or package.origin is None:
        raise InputError("needs the package pyod: pip install 'ssl-cli[pyod]'")
    modules: dict[str, str] = {}
    for path in sorted((Path(package.origin).parent / "models").glob("*.py")):
        if not NOT_FOR_TABLES.match(path.stem):
            text = path.read_text(encoding="utf-8")
            for name in re.findall(r"^class (\w+)\(Base(?:DeepLearning)?Detector\)", text, re.MULTILINE):
                modules.setdefault(name, path.stem)
    return modules


def _parameters(detector: type) -> tuple[list[str], list[str], bool]:
    """Return the options of a class, those that are required, and whether it takes any others."""
    parameters = inspect.signature(detector).parameters.values()
    named = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    required = [parameter.name for parameter in named if parameter.default is parameter.empty]
    return [parameter.name for parameter in named], required, len(named) < len(parameters)


def new_detector(detector: type, options: Mapping[str, Any], n_features: int, seed: int) -> Any:
    """Return an unfitted detector; the options that follow from the rows and the seed are set if its class has them."""
    known, _, _ = _parameters(detector)
    derived = dict.fromkeys(SEED_OPTIONS, seed) | {"n_features": n_features}
    with _isolated(seed, ""):
        return detector(**{name: value for name, value in derived.items() if name in known} | dict(options))


@contextmanager
def _isolated(seed: int, action: str) -> Iterator[None]:
    """Run PyOD's code without output, with global generators seeded and then restored.

    Any error becomes an InputError of one sentence that begins with `action`.
    """
    hash_seed, numpy_state, python_state = os.environ.get("PYTHONHASHSEED"), np.random.get_state(), random.getstate()
    try:
        with _silence(), torch.random.fork_rng(), torch.inference_mode(False):
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
    except Exception as error:  # a detector may raise anything for rows or options that don't suit it
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"{action}: {reason}" if action else reason) from error
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        os.environ.pop("PYTHONHASHSEED", None)  # PyOD's networks set it, without any effect
        if hash_seed is not None:
            os.environ["PYTHONHASHSEED"] = hash_seed


@contextmanager
def _silence() -> Iterator[None]:
    """Discard output and warnings; not every detector has an option `verbose`."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
