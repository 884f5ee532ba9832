"""Rows scored in pieces, by as many threads as torch may use."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from torch import Tensor

PIECE_ROWS = 512
Result = TypeVar("Result")


def map_pieces(work: Callable[[Tensor], Result], x: Tensor) -> list[Result]:
    """Return what `work` returns for each piece of rows x (N, D), in order.

    Within a piece, operations are too small to be divided among threads: these would wait for each other at the end of
    each one. So each thread has pieces of its own. The threads end before this returns.
    """
    pieces, n_threads = x.split(PIECE_ROWS), torch.get_num_threads()
    if n_threads == 1 or len(pieces) == 1:
        return [work(piece) for piece in pieces]
    modes = torch.is_inference_mode_enabled(), torch.is_grad_enabled()  # a new thread has the defaults

    def work_alone(piece: Tensor) -> Result:
        with torch.inference_mode(modes[0]), torch.set_grad_enabled(modes[1]):
            return work(piece)

    try:
        with ThreadPoolExecutor(min(n_threads, len(pieces)), "score", torch.set_num_threads, (1,)) as threads:
            return list(threads.map(work_alone, pieces))
    finally:
        torch.set_num_threads(n_threads)  # it is a setting of each thread, but also that of threads yet to come
