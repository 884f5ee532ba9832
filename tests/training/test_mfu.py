"""The operations of a training step, counted by torch itself."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.transformer import Transformer
from ssl_cli.training.mfu import flops_per_pair, flops_per_token


@pytest.mark.parametrize("causal", [False, True])
def test_operations_are_those_that_torch_counts(causal: bool) -> None:
    network = Transformer(97, 64, layers=2, width=32, heads=2, dropout=0.0, causal=causal)
    ids = torch.zeros(3, 64, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        network.logits(network(ids)).sum().backward()
    # Nothing is learned below the first layer, so the gradient of its input isn't needed, nor of the ids.
    assert counter.get_total_flops() / ids.numel() == pytest.approx(flops_per_token(network, 1.0), rel=0.03)


@pytest.mark.parametrize("activation", ["gelu", "geglu"])
def test_operations_of_a_pair_are_those_that_torch_counts(activation) -> None:
    options = {"layers": 2, "decoder_layers": 3, "width": 32, "heads": 2, "head_width": 24, "activation": activation}
    network = EncoderDecoder(97, 64, dropout=0.0, **options)
    with FlopCounterMode(display=False) as counter:
        source, ids = torch.zeros(3, 40, dtype=torch.int64), torch.zeros(3, 60, dtype=torch.int64)
        network.logits(network(source, ids)).sum().backward()
    assert counter.get_total_flops() / 3 == pytest.approx(flops_per_pair(network, 40, 60), rel=0.03)


def test_fewer_logits_are_fewer_operations() -> None:
    network = Transformer(97, 64, layers=2, width=32, heads=2)
    assert flops_per_token(network, 1.0) - flops_per_token(network, 0.15) == pytest.approx(6 * 0.85 * 97 * 32)
