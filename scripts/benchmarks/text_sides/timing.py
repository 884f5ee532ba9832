"""How sides are timed: each in a process of its own, by a clock that the model carries."""

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

WARM_UP = 2  # steps that don't count


class Clock:
    """Looks at the time whenever the model is called in training: a step is all that lies between two calls, the
    gathering of its batch, the optimizer and the trainer included."""

    def __init__(self, model: nn.Module):
        self.started: list[float] = []
        model.register_forward_pre_hook(self._look)

    def _look(self, model: nn.Module, _: Any) -> None:
        if model.training:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self.started.append(time.perf_counter())

    def seconds_a_step(self) -> float:
        """The median"""
        return statistics.median(after - before for before, after in pairwise(self.started[WARM_UP:]))


def alone(threads: int, work: str, *args: Any, **named: Any) -> Any:
    """What `module:function` returns, called in a new process: no side meets what another has set or left in memory.

    A module without a dot in its name is one of text_sides.
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
    """Seconds of some work, the median of a few times, after once."""
    work()
    times = []
    for _ in range(least):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)
