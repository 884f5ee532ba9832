"""Timing of the sides: each in a new process, by a clock that is attached to the model."""

import contextlib
import importlib
import io
import os
import statistics
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from typing import Any

import torch
from torch import nn

WARM_UP = 2  # steps that are not measured


class Clock:
    """Record of the times at which the model is called in training.

    A step is everything between two calls: loading the batch, the optimizer and the trainer.
    """

    def __init__(self, model: nn.Module):
        self.started: list[float] = []
        model.register_forward_pre_hook(self._record)

    def _record(self, model: nn.Module, _: Any) -> None:
        if model.training:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.started.append(time.perf_counter())

    def seconds_a_step(self) -> float:
        """Return the median time of a step."""
        return statistics.median(after - before for before, after in pairwise(self.started[WARM_UP:]))


def alone(threads: int, work: str, *args: Any, **named: Any) -> Any:
    """Call `module:function` in a new process and return its result: no side is affected by the state of another.

    A module without a dot in its name is in text_sides.
    """
    os.environ["OMP_NUM_THREADS"] = str(threads)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        return process.submit(_call, threads, work, args, named).result()


def _call(threads: int, work: str, args: tuple[Any, ...], named: dict[str, Any]) -> Any:
    module, _, function = work.partition(":")
    torch.set_num_threads(threads)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        folder = "" if "." in module else "text_sides."
        return getattr(importlib.import_module(folder + module), function)(*args, **named)


def repeated(work: Any, least: int = 3) -> float:
    """Return the seconds of some work: the median of `least` runs, after an unmeasured one."""
    work()
    times = []
    for _ in range(least):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
