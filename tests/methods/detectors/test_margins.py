"""Margins: counts of training rows against naive counts, values that were never seen, and what is saved."""

from pathlib import Path

import numpy as np
import pytest
import torch

from ssl_cli.methods.detectors.margins import Margins


def fitted(x: np.ndarray, **options: object) -> Margins:
    margins = Margins(**options)
    margins.fit(x.astype(np.float32), seed=0)
    return margins


def rarity(margins: Margins, x: np.ndarray, left_out: bool = False) -> tuple[np.ndarray, np.ndarray]:
    surprisal, tail = margins.rarity(torch.from_numpy(x.astype(np.float32)), left_out)
    return surprisal.numpy(), tail.numpy()


def test_few_values_are_counted_one_by_one() -> None:
    column = np.array([0, 0, 0, 0, 1, 1, 5, 5, 5, 5], dtype=float)[:, None]
    at = np.array([0, 1, 5, 3, -1, 9], dtype=float)[:, None]  # three known values, one between them, two outside
    surprisal, tail = rarity(fitted(column), at)
    counts, beyond = np.array([4, 2, 4, 0, 0, 0]), np.array([4, 6, 4, 4, 0, 0])
    np.testing.assert_allclose(surprisal[:, 0], -np.log((counts + 0.5) / (10 + 0.5 * 4)), rtol=1e-6)
    np.testing.assert_allclose(tail[:, 0], -np.log((beyond + 1) / 11), rtol=1e-6)


def test_neighbouring_floats_are_two_values() -> None:
    low = np.float32(1.0)
    values = np.array([low, np.nextafter(low, np.float32(2)), np.nextafter(low, np.float32(2))])[:, None]
    surprisal, _ = rarity(fitted(values), values)
    assert surprisal[0, 0] > surprisal[1, 0]


@pytest.mark.parametrize("draw", ["normal", "lognormal", "rounded"])
def test_many_values_are_counted_in_ranges(draw: str) -> None:
    rng = np.random.default_rng(0)
    x = {"normal": rng.normal(size=999), "lognormal": np.exp(2 * rng.normal(size=999)),
         "rounded": rng.normal(size=999).round(1)}[draw].astype(np.float32)[:, None]
    at = np.concatenate([x[:200], [[-1e6], [1e6]]])
    surprisal, tail = rarity(fitted(x), at)
    inner = np.unique(np.quantile(x, np.linspace(0, 1, 33)[1:-1], method="nearest"))
    in_range = np.bincount(np.searchsorted(inner, x[:, 0], side="right"), minlength=len(inner) + 1)
    naive = -np.log((in_range[np.searchsorted(inner, at[:, 0], side="right")] + 0.5) / (999 + 0.5 * 33))
    np.testing.assert_allclose(surprisal[:, 0], naive, rtol=1e-5)
    beyond = np.minimum((x[:, 0] <= at).sum(1), (x[:, 0] >= at).sum(1))  # exact counts: ranks are kept to a half
    np.testing.assert_allclose(tail[:, 0], -np.log((beyond + 1) / 1000), atol=np.log(2) + 1e-6)
    assert (tail[-2:, 0] == np.float32(-np.log(1 / 1000))).all()


def test_a_training_row_is_left_out_as_if_it_had_not_been_counted() -> None:
    x = np.random.default_rng(1).integers(0, 6, (40, 3)).astype(np.float32)
    x[0, 0] = 77  # nobody else has it
    surprisal, tail = rarity(fitted(x), x, left_out=True)
    rest = np.delete(x, 0, axis=0)
    counts = (rest == x[0]).sum(0)
    n_bins = np.array([len(np.unique(column)) + 1 for column in x.T])
    np.testing.assert_allclose(surprisal[0], -np.log((counts + 0.5) / (39 + 0.5 * n_bins)), rtol=1e-5)
    beyond = np.minimum((rest <= x[0]).sum(0), (rest >= x[0]).sum(0))
    np.testing.assert_allclose(tail[0], -np.log((beyond + 1) / 40), rtol=1e-5)


def test_a_category_is_one_column_without_a_tail() -> None:
    rng = np.random.default_rng(2)
    state = rng.integers(0, 3, 60)
    x = np.column_stack([rng.normal(size=60), np.eye(4)[state]])  # the fourth value is never taken
    margins = fitted(x, categories=[[1, 5]])
    surprisal, tail = rarity(margins, np.array([[0.0, 0, 0, 0, 1], [0, 1, 0, 0, 0]]))
    assert surprisal.shape == tail.shape == (2, 2)
    assert surprisal[0, 1] > surprisal[1, 1]
    assert (tail[:, 1] == 0).all()
    by_column = margins.rarity_by_column(torch.tensor([[0.0, 0, 0, 0, 1]]), [slice(0, 1), slice(1, 5)])
    np.testing.assert_array_equal(torch.cat(by_column).numpy(), [surprisal[0], tail[0]])


def test_margins_are_restored(tmp_path: Path) -> None:
    x = np.random.default_rng(3).normal(size=(50, 4)).astype(np.float32)
    x[:, 1] = x[:, 1].round()
    margins, again = fitted(x), Margins()
    margins.save(tmp_path)
    again.restore(tmp_path)
    np.testing.assert_array_equal(rarity(again, x), rarity(margins, x))
