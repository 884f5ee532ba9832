"""Conversion of images between bytes and floats, and the smoothed error."""

import numpy as np
import torch

from ssl_cli.models.images import (
    MAX_BATCH_VALUES,
    float_batches,
    smoothed_relative_error,
    to_float,
    to_uint8,
)


def test_every_byte_survives_the_round_trip() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    as_floats = to_float(every)
    assert as_floats.dtype == torch.float32
    np.testing.assert_array_equal(as_floats.numpy(), np.arange(256, dtype=np.float32) / np.float32(255))
    assert torch.equal(to_uint8(as_floats), every)


def test_floats_stay_and_values_outside_are_clipped() -> None:
    x = torch.tensor([-0.3, 0.0, 0.5, 1.0, 7.0])
    assert to_float(x) is x
    assert to_uint8(x).tolist() == [0, 0, 128, 255, 255]


def test_large_images_are_batched_in_smaller_batches() -> None:
    cpu = torch.device("cpu")
    sizes = [len(part) for part in float_batches(torch.zeros(50, 3, 512, 512, dtype=torch.uint8), 40, cpu)]
    assert sizes == [10] * 5 and 10 * 3 * 512 * 512 <= MAX_BATCH_VALUES < 11 * 3 * 512 * 512
    assert [len(part) for part in float_batches(torch.zeros(9, 3, 8, 8), 4, cpu)] == [4, 4, 1]
    rows = torch.zeros(3, 1).expand(3, MAX_BATCH_VALUES)  # rows of a table: `max_rows`, however wide they are
    assert [len(part) for part in float_batches(rows, 2, cpu)] == [2, 1]
    x = torch.arange(48, dtype=torch.uint8).view(6, 1, 2, 4)
    assert torch.equal(torch.cat([*float_batches(x, 4, cpu)]), to_float(x))


def test_the_error_is_smoothed_squared_and_relative_to_the_image() -> None:
    torch.manual_seed(0)
    reconstruction, x = torch.rand(2, 1, 6, 7), torch.rand(2, 1, 6, 7)
    error = reconstruction - x
    for _ in range(2):
        padded = torch.zeros(2, 1, 8, 9)
        padded[:, :, 1:-1, 1:-1] = error
        error = sum(padded[:, :, i : i + 6, j : j + 7] for i in range(3) for j in range(3)) / 9
    square = torch.stack([image.square().mean() for image in x])[:, None, None, None]
    torch.testing.assert_close(smoothed_relative_error(reconstruction, x), error**2 / (square + 1e-3))
