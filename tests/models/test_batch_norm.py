"""Batch normalization: torch's own on one device; on several, that of the whole batch."""

import pytest
import torch
from torch import nn

from ssl_cli.models.batch_norm import BatchNorm, gathered, world_size


@pytest.mark.parametrize("shape", [(7, 3), (5, 3, 4, 6)])
def test_on_one_device_it_is_torchs(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    ours, theirs = BatchNorm(3), (nn.BatchNorm1d if len(shape) == 2 else nn.BatchNorm2d)(3)
    for norm in (ours, theirs):
        nn.init.constant_(norm.weight, 1.5)
    for _ in range(3):
        x = 2 * torch.randn(shape) + 1
        assert torch.equal(ours(x), theirs(x))
    for norm in (ours, theirs):
        norm.eval()
    assert torch.equal(ours(x), theirs(x))
    assert all(torch.equal(value, theirs.state_dict()[name]) for name, value in ours.state_dict().items())


def test_rows_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(B, C\) or \(B, C, H, W\), got 3 dimensions"):
        BatchNorm(3)(torch.zeros(2, 3, 4))


def test_one_device_shares_with_nobody() -> None:
    x = torch.randn(3, 2)
    assert world_size() == 1 and gathered(x) is x
