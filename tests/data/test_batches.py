"""Batch k is a function of (seed, k), and an epoch has every row once."""

import copy
from itertools import islice

import numpy as np
import pytest
import torch

from ssl_cli.data import batches
from ssl_cli.data.batches import ArrayDataset, InfiniteSampler, batch_stream, ordered_loader


@pytest.mark.parametrize(("n_rows", "batch_size"), [(10, 3), (12, 4), (5, 100), (1, 1)])
def test_an_epoch_has_every_row_once(n_rows: int, batch_size: int) -> None:
    stream = InfiniteSampler(n_rows, batch_size, seed=0)
    for epoch in range(3):
        start = epoch * stream.batches_per_epoch
        seen = torch.cat([stream.rows(k) for k in range(start, start + stream.batches_per_epoch)])
        assert sorted(seen.tolist()) == list(range(n_rows))


def test_batch_k_does_not_depend_on_where_the_stream_began() -> None:
    whole = list(islice(InfiniteSampler(10, 3, seed=1), 20))
    later = list(islice(InfiniteSampler(10, 3, seed=1, start=13), 7))
    for (k, rows, _), (k_later, rows_later, _) in zip(whole[13:], later, strict=True):
        assert k == k_later
        assert torch.equal(rows, rows_later)


def test_epochs_and_seeds_differ_in_order() -> None:
    first, second = InfiniteSampler(50, 50, seed=0).rows(0), InfiniteSampler(50, 50, seed=0).rows(1)
    assert not torch.equal(first, second)
    assert not torch.equal(first, InfiniteSampler(50, 50, seed=1).rows(0))


def test_a_limited_epoch_begins_as_the_whole_one_and_ends_after_so_many_batches() -> None:
    whole, limited = InfiniteSampler(10, 3, seed=1), InfiniteSampler(10, 3, seed=1, limit_batches=2)
    assert (whole.batches_per_epoch, limited.batches_per_epoch) == (4, 2)
    for epoch in range(3):
        for place in range(2):
            assert torch.equal(limited.rows(2 * epoch + place), whole.rows(4 * epoch + place))
    assert InfiniteSampler(10, 3, seed=1, limit_batches=9).batches_per_epoch == 4


def test_two_processes_share_each_batch() -> None:
    whole = InfiniteSampler(11, 4, seed=0)
    shares = [InfiniteSampler(11, 4, seed=0, rank=rank, world=2) for rank in range(2)]
    for k in range(6):
        together = torch.cat([share.rows(k) for share in shares])
        assert sorted(together.tolist()) == sorted(whole.rows(k).tolist())


@pytest.mark.parametrize(("n_rows", "batch_size", "world"), [(11, 4, 2), (9, 4, 2), (5, 2, 3)])
def test_weights_make_the_mean_of_shares_the_mean_of_the_batch(n_rows: int, batch_size: int, world: int) -> None:
    loss = torch.arange(float(n_rows)) ** 2  # of each row
    whole = InfiniteSampler(n_rows, batch_size, seed=0)
    shares = [iter(InfiniteSampler(n_rows, batch_size, seed=0, rank=rank, world=world)) for rank in range(world)]
    for k in range(2 * whole.batches_per_epoch):
        parts = [(rows, weight) for _, rows, weight in (next(share) for share in shares)]
        assert all(len(rows) > 0 for rows, _ in parts)  # no process takes the mean of nothing
        together = sum(weight * loss[rows].mean() for rows, weight in parts) / world
        torch.testing.assert_close(together, loss[whole.rows(k)].mean())


def test_loaders_gather_rows_of_every_array() -> None:
    rows = ArrayDataset({"x": np.arange(20).reshape(10, 2), "y": np.arange(10)})
    batch = next(iter(batch_stream(rows, InfiniteSampler(10, 4, seed=0, start=5))))
    assert batch["k"] == 5
    assert torch.equal(batch["x"][:, 0], 2 * batch["y"])
    assert torch.equal(torch.cat([batch["y"] for batch in ordered_loader(rows, 3)]), torch.arange(10))


def test_rows_on_a_device_are_gathered_there() -> None:
    rows = ArrayDataset({"x": np.arange(20).reshape(10, 2)}, row_ids=np.arange(100, 110)).on(torch.device("meta"))
    stream = InfiniteSampler(10, 4, seed=0, start=2, device=rows.device)
    k, index, weight = next(iter(stream))
    assert index.device.type == "meta"  # a view of the epoch's order: nothing is sent for a batch
    assert (k, weight) == (2, 1.0)
    batch = rows[k, index, weight]
    assert batch["x"].device.type == "meta" and batch["x"].shape == (2, 2)
    assert next(iter(ordered_loader(rows, 3)))["x"].device.type == "meta"
    assert rows.row_ids[0] == 100


def test_rows_too_many_for_a_device_stay_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = ArrayDataset({"x": np.zeros((10, 2), np.uint8)})
    monkeypatch.setattr(batches, "MAX_BYTES_ON_DEVICE", 20)
    assert rows.on(torch.device("meta")).device.type == "meta"
    monkeypatch.setattr(batches, "MAX_BYTES_ON_DEVICE", 19)
    assert rows.on(torch.device("meta")) is rows


def test_a_copy_of_what_holds_the_rows_does_not_copy_them() -> None:
    rows = ArrayDataset({"x": torch.zeros(3, 2)})
    assert copy.deepcopy([rows])[0] is rows
