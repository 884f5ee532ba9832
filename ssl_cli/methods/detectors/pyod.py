"""PyOD's detectors, by name: `model=pyod model.detector=COPOD` (Zhao, Nasrullah and Li, JMLR 2019).

PyOD is an extra: `pip install 'ssl-cli[pyod]'`. It is imported when a detector is asked for, not before.
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
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file
from torch import Tensor

from ssl_cli import console
from ssl_cli.config.choices import nearest
from ssl_cli.config.types import Count
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import sample

WEIGHTS = "model.safetensors"
# Modules of pyod.models whose detectors read graphs, time series, texts or sounds, and no tables; and suod, which loads
# pickles from the paths that its options name.
NOT_FOR_TABLES = re.compile(r"pyg_|ts_|embedding|audio_ae|base|suod")
SEEDS = ("random_state", "random_seed", "seed")  # what PyOD's classes call it
FILLED_IN = ("n_features", *SEEDS)  # options that follow from the rows and the seed
PROBED = 32  # rows


class PyOD:
    """Any detector of PyOD that learns from rows without labels, with its `options` as keyword arguments.

    A row's score is a function of the row and the training rows alone, here. Some of PyOD's detectors (ECOD, COPOD,
    ROD, DIF, VAE) let it depend on the rows scored beside it too: ECOD and COPOD count those with the training rows.
    Whether a detector does is measured once it is fitted, and its rows are then scored one by one, which takes long
    on large tables. One that can't score a row by itself (SOS, SOD, COF) is refused.

    The training rows are the model: PyOD can save its detectors only as pickles, which run code when they are read,
    so `restore` fits again, with the same seed, and makes sure that the scores are the same.
    """

    reads: ClassVar[tuple[str, ...]] = ("x",)

    def __init__(
        self,
        detector: Annotated[str, "a class of PyOD's: COPOD, ECOD, INNE, LOF, AutoEncoder, ..."],
        options: Annotated[dict[str, Any] | None, "keyword arguments of that class"] = None,
        max_rows: Annotated[
            Count | None, "training rows used, drawn at random (many detectors' cost is quadratic); null: all"
        ] = 10_000,
    ):
        for fault in self.option_faults({"detector": detector, "options": options}):
            raise InputError(fault)
        self.detector, self.options, self.max_rows = detector, dict(options or {}), max_rows

    @staticmethod
    def option_faults(options: Mapping[str, Any]) -> Iterator[str]:
        """What no single option's type can say; `check` asks before any data is read."""
        name, given = options["detector"], dict(options.get("options") or {})
        try:
            made = find_class(name)
        except InputError as error:
            yield f"detector={name} {error}"
            return
        takes, needs, open_ended = _parameters(made)
        faults = [
            f"options.{option} is not an option of {name}.{nearest(option, takes)} It takes {', '.join(takes)}."
            for option in given
            if option not in takes and not open_ended
        ]
        faults += [
            f"options.{option} is missing: {name} can't do without it."
            for option in needs
            if option not in (*given, *FILLED_IN)
        ]
        yield from faults
        try:
            if not faults:
                make(made, given, n_features=1, seed=0)
        except InputError as error:
            yield f"options don't suit {name}: {error}"

    def fit(self, x: np.ndarray, seed: int) -> None:
        self._fit(sample(x, self.max_rows, seed), seed)
        if self.one_by_one:
            started = time.perf_counter()
            self._scores(self.rows[:1])
            cost_ms = 1e3 * (time.perf_counter() - started)
            console.say(
                f"{self.detector} scores a row by the rows beside it too: each is scored by itself ({cost_ms:.2g} ms)"
            )

    def _fit(self, rows: np.ndarray, seed: int) -> None:
        self.rows, self.seed = rows, seed  # (N, D)
        self.estimator = make(find_class(self.detector), self.options, rows.shape[1], seed)
        with _foreign(seed, f"{self.detector} can't be fitted to {len(rows):,} rows of {rows.shape[1]} features"):
            self.estimator.fit(rows.astype(np.float64))
        self.one_by_one = self._needs_company()

    def _needs_company(self) -> bool:
        """Whether the score of one row changes with the rows beside it."""
        some = self.rows[:PROBED]
        strangest = some[[np.argmax(self._scores(some))]]  # (1, D)
        try:
            alone = self._scores(strangest)
        except InputError:
            alone = np.array([np.nan])
        if not np.isfinite(alone).all():
            raise InputError(
                f"{self.detector} only compares rows with the rows beside them, and can't score one by itself: "
                "its scores say nothing about new rows. Use another detector."
            )
        companies = [strangest.repeat(PROBED, 0), np.concatenate([strangest, some])]
        return not all(np.allclose(alone, self._scores(company)[0], rtol=1e-4, atol=0) for company in companies)

    def score(self, batch: dict[str, Tensor]) -> Tensor:
        x = batch["x"].numpy()  # (B, D)
        parts = [self._scores(part) for part in (x[:, None] if self.one_by_one else [x])]
        return torch.from_numpy(np.concatenate(parts))

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        """(B, D) -> (B,), as PyOD gives them"""
        with _foreign(self.seed, f"{self.detector} can't score {len(rows):,} rows"):
            return np.asarray(self.estimator.decision_function(rows.astype(np.float64)), np.float64).reshape(len(rows))

    def save(self, folder: Path) -> None:
        some = torch.from_numpy(self.rows[:PROBED])
        content = {"rows": np.ascontiguousarray(self.rows), "scores": self.score({"x": some}).numpy()}
        save_file(content, folder / WEIGHTS, {"seed": str(self.seed), "pyod": version("pyod")})

    def restore(self, folder: Path) -> None:
        with safe_open(folder / WEIGHTS, "numpy") as file:
            rows, scores, facts = file.get_tensor("rows"), file.get_tensor("scores"), file.metadata()
        self._fit(rows, int(facts["seed"]))
        again = self.score({"x": torch.from_numpy(rows[:PROBED])}).numpy()
        if not np.allclose(again, scores, rtol=1e-3, atol=1e-3 * np.abs(scores).max()):
            raise InputError(
                f"{folder}: {self.detector}, fitted again, gives other scores than it did. The run was made with "
                f"pyod {facts['pyod']}; here is {version('pyod')}."
            )


def find_class(name: str) -> type:
    """PyOD's detector class of that name. Raises InputError, to go on after `detector=NAME`, where it can't be had."""
    where = _modules()
    if name not in where:
        spelt = {known.lower(): known for known in where}.get(name.lower())
        hint = f" Did you mean {spelt}?" if spelt else nearest(name, where)
        raise InputError(f"is no detector of PyOD for tables.{hint} It has {', '.join(sorted(where))}.")
    try:
        with _silence():
            found = getattr(importlib.import_module(f"pyod.models.{where[name]}"), name)
    except ImportError as error:
        missing = (error.name or str(error)).split(".")[0]
        raise InputError(f"needs the package {missing}: pip install {missing}") from error
    labels = inspect.signature(found.fit).parameters.get("y")
    if labels is not None and labels.default is labels.empty:
        raise InputError("learns from labels, and here are normal rows only. Use another detector.")
    return found


def _modules() -> dict[str, str]:
    """Class -> the module of pyod.models that defines it. Reads the files: to import them all takes seconds."""
    package = importlib.util.find_spec("pyod")
    if package is None or package.origin is None:
        raise InputError("needs the package pyod: pip install 'ssl-cli[pyod]'")
    found: dict[str, str] = {}
    for path in sorted((Path(package.origin).parent / "models").glob("*.py")):
        if not NOT_FOR_TABLES.match(path.stem):
            text = path.read_text(encoding="utf-8")
            for name in re.findall(r"^class (\w+)\(Base(?:DeepLearning)?Detector\)", text, re.MULTILINE):
                found.setdefault(name, path.stem)
    return found


def _parameters(detector: type) -> tuple[list[str], list[str], bool]:
    """The options that a class takes, those it needs, and whether it takes any others."""
    parameters = inspect.signature(detector).parameters.values()
    named = [parameter for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]
    needed = [parameter.name for parameter in named if parameter.default is parameter.empty]
    return [parameter.name for parameter in named], needed, len(named) < len(parameters)


def make(detector: type, options: Mapping[str, Any], n_features: int, seed: int) -> Any:
    """A detector, unfitted. What follows from the rows and the seed is filled in where its class takes it."""
    takes, _, _ = _parameters(detector)
    known = dict.fromkeys(SEEDS, seed) | {"n_features": n_features}
    with _foreign(seed, ""):
        return detector(**{name: value for name, value in known.items() if name in takes} | dict(options))


@contextmanager
def _foreign(seed: int, doing: str) -> Iterator[None]:
    """Run PyOD's code: silent, every global generator seeded and then set back, its errors in one sentence."""
    hash_seed, numpy_state, python_state = os.environ.get("PYTHONHASHSEED"), np.random.get_state(), random.getstate()
    try:
        with _silence(), torch.random.fork_rng(), torch.inference_mode(False):
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
    except Exception as error:  # whatever a detector makes of rows or options that it isn't made for
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"{doing}: {said}" if doing else said) from error
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        os.environ.pop("PYTHONHASHSEED", None)  # PyOD's networks set it, for nothing
        if hash_seed is not None:
            os.environ["PYTHONHASHSEED"] = hash_seed


@contextmanager
def _silence() -> Iterator[None]:
    """Not every detector takes `verbose`."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
