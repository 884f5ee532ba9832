"""Positions, against naive transcriptions: relative ones of T5's, those in a grid of MAE's."""

import math

import pytest
import torch

from ssl_cli.models.positions import (
    apply_rotary,
    distance_bucket,
    grid_waves,
    neighbour_biases,
    position_angles,
    prefer_near_keys,
    relative_bias,
)


def naive_bucket(distance: int, causal: bool) -> int:
    """The bucket of key minus query: `_relative_position_bucket` of the code of arXiv 1910.10683, for one distance."""
    buckets, bucket, n = 32, 0, -distance
    if not causal:
        buckets //= 2
        bucket += buckets if n < 0 else 0
        n = abs(n)
    else:
        n = max(n, 0)
    if n < buckets // 2:
        return bucket + n
    wide = buckets // 2 + int(math.log(n / (buckets // 2)) / math.log(128 / (buckets // 2)) * (buckets - buckets // 2))
    return bucket + min(wide, buckets - 1)


@pytest.mark.parametrize("causal", [False, True])
def test_buckets_are_t5s(causal: bool) -> None:
    distances = range(-300, 301)
    expected = [naive_bucket(distance, causal) for distance in distances]
    assert distance_bucket(torch.tensor(distances), causal).tolist() == expected
    assert len(set(expected)) == 32 - (not causal), "32 kinds; no distance is 0 after the query"


@pytest.mark.parametrize(("n_queries", "n_keys"), [(7, 7), (1, 7), (3, 7), (1, 1)])
@pytest.mark.parametrize("causal", [False, True])
def test_the_bias_is_that_of_the_distance(n_queries: int, n_keys: int, causal: bool) -> None:
    """The queries are the last of the tokens: the others are in a cache."""
    table = torch.randn(32, 4)
    bias = relative_bias(table, n_queries, n_keys, causal)
    assert bias.shape == (4, n_queries, n_keys)
    for query in range(n_queries):
        for key in range(n_keys):
            bucket = naive_bucket(key - (n_keys - n_queries + query), causal)
            assert torch.equal(bias[:, query, key], table[bucket])


@pytest.mark.parametrize("offset", [-2, -1, 1])
def test_biases_look_at_a_neighbour(offset: int) -> None:
    q, k = neighbour_biases(64, offset)
    angles = position_angles(20, 64)
    rotated = apply_rotary(torch.stack([q, k])[:, None], angles.cos(), angles.sin())  # (2, 20, 64)
    scores = rotated[0] @ rotated[1].T / 8
    at_offset = scores.diagonal(offset)
    assert at_offset.tolist() == pytest.approx([2.0] * (20 - abs(offset)), rel=1e-4), "the same at each position"
    assert scores.max().item() == pytest.approx(2.0, rel=1e-4)
    assert scores[10].argmax() == 10 + offset and scores[10, 0] < 1.5


def test_a_head_looks_near_at_first_and_to_its_own_side() -> None:
    table = torch.empty(32, 4)
    prefer_near_keys(table, causal=False)
    left, right = relative_bias(table, 9, 9, causal=False)[:2, 4]  # of the token in the middle
    for head in (left, right):
        assert head[:5].diff().gt(0).all() and head[5:].diff().lt(0).all()
    assert left[3] > left[5] and right[3] < right[5]

    prefer_near_keys(table, causal=True)
    last = relative_bias(table, 9, 9, causal=True)[:, 8]
    assert last.diff(dim=-1).gt(0).all() and last[0, 0] < last[3, 0], "the first head looks nearest"


@pytest.mark.parametrize("channels", [8, 6])
def test_places_of_a_grid_have_waves_of_their_row_and_their_column(channels: int) -> None:
    waves, half = grid_waves(2, 3, channels), channels // 2
    for row in range(2):
        for column in range(3):
            expected = []
            for place in (row, column):
                angles = [place / 10_000 ** (2 * k / half) for k in range(-(-half // 2))]
                expected += [*map(math.sin, angles), *map(math.cos, angles)][:half]
            torch.testing.assert_close(waves[3 * row + column], torch.tensor(expected))
