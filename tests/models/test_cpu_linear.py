"""The linear layer that trains by oneDNN computes what torch's own does."""

import pytest
import torch
from torch import Tensor, nn

from ssl_cli.models import cpu
from ssl_cli.models.cpu import Linear


def by_hand(layer: nn.Linear, x: Tensor, error: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Output, and the gradients of the input, the weights and the bias, in double precision."""
    x, weight, error = x.double(), layer.weight.detach().double(), error.double()
    return x @ weight.T + layer.bias.detach().double(), error @ weight, error.T @ x, error.sum(0)


@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")
def test_output_and_gradients_are_those_of_the_product(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_suits_onednn", lambda x: True)
    layer, x, error = Linear(30, 20), torch.randn(7, 30, requires_grad=True), torch.randn(7, 20)
    out = layer(x)
    out.backward(error)
    expected = by_hand(layer, x.detach(), error)
    for found, right in zip((out, x.grad, layer.weight.grad, layer.bias.grad), expected, strict=True):
        assert found is not None and found.layout == torch.strided
        torch.testing.assert_close(found.detach().double(), right, atol=1e-5, rtol=1e-5)


def test_outside_training_it_is_torchs_own_to_the_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_suits_onednn", lambda x: pytest.fail("asked outside training"))
    layer, x = Linear(30, 20), torch.randn(7, 30)
    expected = nn.functional.linear(x, layer.weight, layer.bias)
    with torch.no_grad():
        assert torch.equal(layer(x), expected)
    assert torch.equal(layer.eval()(x), expected)


@pytest.mark.parametrize("other", ["float64", "meta", "autocast"])
def test_what_onednn_is_not_for_goes_to_torch(other: str) -> None:
    x = torch.randn(7, 30, dtype=torch.float64 if other == "float64" else None)
    if other == "meta":
        x = x.to("meta")
    with torch.autocast("cpu", torch.bfloat16, enabled=other == "autocast"):
        out = Linear(30, 20).to(x.device, x.dtype)(x)
    assert out.dtype == (torch.bfloat16 if other == "autocast" else x.dtype)
    assert out.device == x.device
