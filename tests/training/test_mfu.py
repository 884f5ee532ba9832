"""The operations of a training step, counted by torch itself."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ssl_cli.models.transformer import Transformer
from ssl_cli.training.mfu import flops_per_token, model_flops_utilisation


@pytest.mark.parametrize("causal", [False, True])
def test_operations_are_those_that_torch_counts(causal: bool) -> None:
    network = Transformer(97, 64, layers=2, width=32, heads=2, dropout=0.0, causal=causal)
    ids = torch.zeros(3, 64, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        network.logits(network(ids)).sum().backward()
    # Nothing is learned below the first layer, so the gradient of its input isn't needed, nor of the ids.
    assert counter.get_total_flops() / ids.numel() == pytest.approx(flops_per_token(network, 1.0), rel=0.03)


def test_the_share_of_a_pace() -> None:
    network = Transformer(97, 64, layers=2, width=32, heads=2)
    assert model_flops_utilisation(network, 0.15, 1000.0, 1000.0 * flops_per_token(network, 0.15)) == pytest.approx(1.0)
    assert flops_per_token(network, 0.15) < flops_per_token(network, 1.0)
