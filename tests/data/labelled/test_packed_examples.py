"""Tests of packing examples of different lengths into rows."""

import numpy as np
import pytest
import torch

from ssl_cli.data.batches import InfiniteSampler
from ssl_cli.data.labelled.packed_examples import IGNORE_INDEX, PackedExamples, TokenizedSequences, pack_first_fit


def rows_of(lengths: list[int], offsets: list[int] | None = None) -> PackedExamples:
    """Return examples in which sequence s has the tokens 100 s + 1, 100 s + 2, ..."""
    ids = [[100 * s + t + 1 for t in range(length)] for s, length in enumerate(lengths)]
    label = [[s] * length for s, length in enumerate(lengths)]
    sequences = TokenizedSequences.from_lists({"ids": ids, "label": label}, fill_values={"label": IGNORE_INDEX})
    n_examples = len(lengths) if offsets is None else len(offsets) - 1
    return PackedExamples(
        sequences,
        {"target": np.arange(n_examples) * 10},
        np.arange(n_examples),
        None if offsets is None else np.array(offsets),
    )


def test_batch_has_each_example_whole_and_nothing_else() -> None:
    rows = rows_of([70, 3, 90, 58, 120, 5])
    batch = rows[0, torch.tensor([4, 0, 3, 1]), 1.0]
    n_rows, length = batch["ids"].shape
    assert (n_rows, length) == (2, 128), "120 + 3, and 70 + 58, fill two rows"
    flat, labels, document = (batch[name].flatten() for name in ("ids", "label", "document"))
    for place, example in enumerate((4, 0, 3, 1)):
        begin, size = int(batch["begin"][place]), int(batch["length"][place])
        assert size == [70, 3, 90, 58, 120, 5][example]
        own = slice(begin, begin + size)
        assert flat[own].tolist() == [100 * example + t + 1 for t in range(size)]
        assert (labels[own] == example).all()
        assert (document[own] == document[begin]).all() and begin // length == (begin + size - 1) // length
    assert batch["target"].tolist() == [40, 0, 30, 10]
    room = torch.ones(n_rows * length, dtype=torch.bool)
    for begin, size in zip(batch["begin"].tolist(), batch["length"].tolist(), strict=True):
        room[begin : begin + size] = False
    assert (flat[room] == 0).all() and (labels[room] == IGNORE_INDEX).all()
    own = {int(document[begin]) for begin in batch["begin"]}
    assert len(own) == 4 and not own & set(document[room].tolist()), "no example attends to the empty positions"


def test_example_of_several_sequences_is_whole() -> None:
    rows = rows_of([4, 5, 6, 7, 8], offsets=[0, 2, 2, 5])
    batch = rows[0, torch.tensor([2, 0]), 1.0]
    assert batch["length"].tolist() == [6, 7, 8, 4, 5]
    assert batch["example"].tolist() == [0, 0, 0, 1, 1]
    assert batch["target"].tolist() == [20, 0]


def test_throughput_counts_examples_not_windows() -> None:
    length = np.array([3, 3, 3, 3])
    tokens = {"ids": np.arange(12)}
    assert PackedExamples(TokenizedSequences(length, tokens), {}, np.array([0, 0, 0, 7])).units_per_row == 0.5
    assert PackedExamples(TokenizedSequences(length, tokens), {}, np.arange(4)).units_per_row == 1


def test_slices_and_indices_give_the_same_batch() -> None:
    rows = rows_of([9, 30, 2, 77])
    a, b = rows[3, slice(1, 3), 2.0], rows[3, torch.tensor([1, 2]), 2.0]
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a if isinstance(a[name], torch.Tensor))


def test_row_length_leaves_fewest_tokens_empty() -> None:
    batch = rows_of([20, 20, 19, 18])[0, slice(0, 4), 1.0]
    assert batch["ids"].shape == (2, 40), "not one row of 128"
    many = rows_of([13] * 70)[0, slice(0, 70), 1.0]
    assert many["ids"].shape == (8, 128)


def test_longer_examples_make_longer_rows() -> None:
    assert rows_of([200, 10])[0, slice(0, 2), 1.0]["ids"].shape == (2, 200)


def test_ranks_share_a_batch() -> None:
    rows = rows_of([5] * 10)
    shares = [next(iter(InfiniteSampler(10, 4, seed=0, rank=rank, world=2))) for rank in range(2)]
    targets = [rows[share]["target"].tolist() for share in shares]
    assert sorted(targets[0] + targets[1]) == sorted((InfiniteSampler(10, 4, seed=0).batch(0) * 10).tolist())


@pytest.mark.parametrize("seed", range(20))
def test_packing_has_no_overlaps_and_wastes_little(seed: int) -> None:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, rng.integers(2, 129), rng.integers(1, 60))
    begin = pack_first_fit(lengths, 128)
    taken = np.zeros((int(begin.max()) // 128 + 1) * 128, bool)
    for start, length in zip(begin.tolist(), lengths.tolist(), strict=True):
        assert start // 128 == (start + length - 1) // 128, "no sequence is split"
        assert not taken[start : start + length].any()
        taken[start : start + length] = True
    n_rows = len(taken) // 128
    # The best can't have fewer rows than the tokens fill; first-fit decreasing needs 11/9 of the best and one more.
    halves = max(int((lengths > 64).sum()), -(-int(lengths.sum()) // 128))
    assert n_rows <= 11 / 9 * halves * 1.5 + 1
    filled = taken.reshape(n_rows, 128).sum(1)
    least = lengths[begin // 128 == n_rows - 1].min()
    assert (filled[:-1] + least > 128).all(), "no sequence of the last row would have fitted in another"
