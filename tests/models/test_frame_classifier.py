"""The classifier of sounds: padding has no influence on it."""

import pytest
import torch

from ssl_cli.models.frame_classifier import FrameClassifier


@pytest.mark.parametrize("length", [1, 2, 7, 16])
def test_logits_do_not_depend_on_padding(length: int) -> None:
    torch.manual_seed(0)
    network = FrameClassifier(20, 5).eval()
    network.mean.uniform_(-1, 1)
    frames = torch.randn(1, length, 20)
    padded = torch.cat([frames, torch.randn(1, 9, 20)], 1)
    alone = network(frames, torch.tensor([length]))
    torch.testing.assert_close(network(padded, torch.tensor([length])), alone, rtol=1e-4, atol=1e-5)
    assert alone.shape == (1, 5) and not torch.allclose(network(padded, torch.tensor([length + 9])), alone)
