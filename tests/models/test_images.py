"""Images as bytes and as numbers are the same images."""

import numpy as np
import torch

from ssl_cli.models.images import MOST_TOGETHER, in_bytes, misfit, numbers, parts, shifted


def test_every_byte_comes_back() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    as_numbers = numbers(every)
    assert as_numbers.dtype == torch.float32
    np.testing.assert_array_equal(as_numbers.numpy(), np.arange(256, dtype=np.float32) / np.float32(255))
    assert torch.equal(in_bytes(as_numbers), every)


def test_numbers_stay_and_what_lies_outside_is_cut_off() -> None:
    x = torch.tensor([-0.3, 0.0, 0.5, 1.0, 7.0])
    assert numbers(x) is x
    assert in_bytes(x).tolist() == [0, 0, 128, 255, 255]


def test_large_images_go_together_in_smaller_parts() -> None:
    cpu = torch.device("cpu")
    sizes = [len(part) for part in parts(torch.zeros(50, 3, 512, 512, dtype=torch.uint8), 40, cpu)]
    assert sizes == [10] * 5 and 10 * 3 * 512 * 512 <= MOST_TOGETHER < 11 * 3 * 512 * 512
    assert [len(part) for part in parts(torch.zeros(9, 3, 8, 8), 4, cpu)] == [4, 4, 1]
    rows = torch.zeros(3, 1).expand(3, MOST_TOGETHER)  # of a table: as many as ever, however wide
    assert [len(part) for part in parts(rows, 2, cpu)] == [2, 1]
    x = torch.arange(48, dtype=torch.uint8).view(6, 1, 2, 4)
    assert torch.equal(torch.cat([*parts(x, 4, cpu)]), numbers(x))


def test_misfit_squares_the_smoothed_error_in_the_images_own_units() -> None:
    torch.manual_seed(0)
    rebuilt, x = torch.rand(2, 1, 6, 7), torch.rand(2, 1, 6, 7)
    error = rebuilt - x
    for _ in range(2):
        padded = torch.zeros(2, 1, 8, 9)
        padded[:, :, 1:-1, 1:-1] = error
        error = sum(padded[:, :, i : i + 6, j : j + 7] for i in range(3) for j in range(3)) / 9
    square = torch.stack([image.square().mean() for image in x])[:, None, None, None]
    torch.testing.assert_close(misfit(rebuilt, x), error**2 / (square + 1e-3))


def test_images_are_shifted_by_whole_pixels_each_by_itself() -> None:
    torch.manual_seed(0)
    x = torch.rand(60, 2, 5, 6)
    moves = []
    for before, after in zip(x, shifted(x, 1), strict=True):
        padded = torch.nn.functional.pad(before, (1, 1, 1, 1))
        windows = {(i, j): padded[:, i : i + 5, j : j + 6] for i in range(3) for j in range(3)}
        moves += [place for place, window in windows.items() if torch.equal(window, after)]
    assert len(moves) == 60
    assert len(set(moves)) == 9
