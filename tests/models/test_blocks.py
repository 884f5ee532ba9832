"""Blocks: gated activations, norms by the root mean square, layers without biases, heads of their own width."""

import math

import pytest
import torch
from torch import nn

from ssl_cli.errors import InputError
from ssl_cli.models.blocks import Block, block_shape
from ssl_cli.models.transformer import Transformer

REST = {"norm": "pre", "dropout": 0.0, "attention_dropout": 0.0, "norm_eps": 1e-6}


def test_a_gated_network_multiplies_two_maps() -> None:
    """GEGLU with GPT-2's approximation, as in T5 v1.1, and SwiGLU: arXiv 2002.05202, eq. 6."""
    formulas = {
        "geglu": lambda a: 0.5 * a * (1 + math.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a**3))),
        "swiglu": lambda a: a / (1 + math.exp(-a)),
    }
    for activation, formula in formulas.items():
        torch.manual_seed(0)
        block = Block(block_shape(4, 2, 3, "learned", activation=activation, biases=False, **REST))
        x = torch.randn(4)
        gate, values = block.up.weight.detach().double().split(3)
        expected = torch.zeros(4, dtype=torch.double)
        for hidden in range(3):
            a, value = (sum(row[hidden, c] * x[c].double() for c in range(4)) for row in (gate, values))
            expected += block.down.weight.detach().double()[:, hidden] * formula(float(a)) * value
        torch.testing.assert_close(block._feedforward(x), expected.float(), atol=1e-6, rtol=1e-4)


def test_rms_norms_divide_by_the_root_mean_square() -> None:
    norm = block_shape(4, 2, 3, "learned", normalization="rms", activation="relu", **REST).new_norm()
    x = torch.randn(5, 4) * 3 + 1
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0, 3.0, 4.0]))
        without_gradient = norm(x)
    for row, normalized in zip(x.tolist(), without_gradient.tolist(), strict=True):
        rms = math.sqrt(sum(value**2 for value in row) / 4 + 1e-6)
        assert normalized == pytest.approx([(c + 1) * value / rms for c, value in enumerate(row)], rel=1e-5)


def test_blocks_without_biases_have_none() -> None:
    model = Transformer(50, 16, layers=1, width=32, norm="pre", normalization="rms", biases=False)
    assert not [name for name, _ in model.named_parameters() if name.endswith("bias")]
    assert [name for name, _ in Transformer(50, 16, layers=1, width=32).named_parameters() if name.endswith("bias")]


def test_heads_have_a_width_of_their_own() -> None:
    model = Transformer(50, 16, layers=1, width=30, heads=4, head_width=6, positions="rotary")
    assert model.blocks[0].attention.qkv.weight.shape == (3 * 4 * 6, 30)
    assert model.blocks[0].attention.out.weight.shape == (30, 4 * 6)
    with pytest.raises(InputError, match="even number of features in each head: head_width=5 makes 5"):
        Transformer(50, 16, layers=1, width=30, heads=4, head_width=5, positions="rotary")


def test_reinitialized_blocks_have_fresh_norms() -> None:
    model = Transformer(50, 16, layers=2, width=32, norm="pre", normalization="rms", positions="relative")
    with torch.no_grad():
        for weight in model.parameters():
            weight.fill_(5.0)
    model.reinitialize_top(1)
    norms = {name: module for name, module in model.named_modules() if isinstance(module, nn.RMSNorm)}
    fresh = {name for name, norm in norms.items() if (norm.weight == 1).all()}
    assert fresh == {"blocks.1.attention_norm", "blocks.1.feedforward_norm", "last_norm"}
