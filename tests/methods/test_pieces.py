"""Rows scored in pieces by threads."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from ssl_cli.methods.pieces import PIECE_ROWS, map_pieces

ROWS = torch.arange(5 * PIECE_ROWS + 1).float()[:, None]


@pytest.fixture(params=[1, 2])
def n_threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_come_in_order_from_threads_that_end(n_threads: int) -> None:
    seen = set[tuple[int, int, bool, bool]]()

    def work(piece: Tensor) -> Tensor:
        modes = torch.is_inference_mode_enabled(), torch.is_grad_enabled()
        seen.add((threading.get_ident(), torch.get_num_threads(), *modes))
        return 2 * piece

    before = threading.active_count()
    with torch.inference_mode():
        assert torch.equal(torch.cat(map_pieces(work, ROWS)), 2 * ROWS)
    assert threading.active_count() == before and torch.get_num_threads() == n_threads
    # Each thread has torch's threads to itself, and the caller's modes.
    assert {each[1:] for each in seen} == {(1, True, False)} and len(seen) <= n_threads
    assert (threading.get_ident() in {each[0] for each in seen}) is (n_threads == 1)


def test_an_error_is_passed_on_and_leaves_no_thread(n_threads: int) -> None:
    def work(piece: Tensor) -> None:
        raise ArithmeticError("no score")

    before = threading.active_count()
    with pytest.raises(ArithmeticError, match="no score"):
        map_pieces(work, ROWS)
    assert threading.active_count() == before and torch.get_num_threads() == n_threads
