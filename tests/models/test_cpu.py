"""Fast CPU products compute the same as torch's own."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.models import cpu
from ssl_cli.models.cpu import Linear, onednn_float32_is_exact, tuned_for_large_matmuls

needs_onednn = pytest.mark.skipif(
    not cpu._has_onednn_operators(), reason="this torch has no such operators of oneDNN"
)


@pytest.mark.parametrize(("rows", "inner", "columns"), [(64, 256, 1024), (256, 1024, 64), (33, 771, 65)])
def test_tuned_products_are_as_exact_as_before(rows: int, inner: int, columns: int) -> None:
    x, weight = torch.rand(rows, inner), torch.rand(columns, inner)
    exact = x.double() @ weight.double().T
    with tuned_for_large_matmuls():
        product = x @ weight.T
        gradient = x.T @ product
    assert torch.allclose(product.double(), exact, rtol=5e-6, atol=0)  # rounding to bfloat16 would be 1,000 times worse
    assert torch.allclose(gradient.double(), x.double().T @ exact, rtol=1e-5, atol=0)


def test_the_settings_are_restored() -> None:
    before = torch.get_float32_matmul_precision()
    with pytest.raises(RuntimeError), tuned_for_large_matmuls():
        assert (torch.get_float32_matmul_precision() == "medium") is (onednn_float32_is_exact() and before == "highest")
        raise RuntimeError
    assert torch.get_float32_matmul_precision() == before


def test_a_precision_set_by_the_user_stays() -> None:
    torch.set_float32_matmul_precision("high")
    try:
        with tuned_for_large_matmuls():
            assert torch.get_float32_matmul_precision() == "high"
    finally:
        torch.set_float32_matmul_precision("highest")


# --- the linear layer ---


def naive_linear(layer: nn.Linear, x: Tensor, error: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the output and the gradients of input, weight and bias, in double precision."""
    x, weight, error = x.double(), layer.weight.detach().double(), error.double()
    return x @ weight.T + layer.bias.detach().double(), error @ weight, error.T @ x, error.sum(0)


@needs_onednn
@pytest.mark.parametrize("has_gaps", [False, True])
def test_output_and_gradients_by_onednn(monkeypatch: pytest.MonkeyPatch, has_gaps: bool) -> None:
    monkeypatch.setattr(cpu, "_can_use_onednn", lambda x: True)
    layer, whole, error = Linear(30, 20), torch.randn(7, 40, requires_grad=True), torch.randn(7, 20)
    x = whole[:, :30] if has_gaps else whole[:, :30].contiguous()
    x.retain_grad()
    out = layer(x)
    out.backward(error)
    expected = naive_linear(layer, x.detach(), error)
    for value, correct in zip((out, x.grad, layer.weight.grad, layer.bias.grad), expected, strict=True):
        assert value is not None and value.layout == torch.strided
        torch.testing.assert_close(value.detach().double(), correct, atol=1e-5, rtol=1e-5)


@needs_onednn
def test_gradients_of_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """A contractive loss or a gradient penalty asks for them."""
    monkeypatch.setattr(cpu, "_can_use_onednn", lambda x: True)
    torch.manual_seed(0)
    layers, x = [Linear(6, 5), Linear(5, 3)], torch.randn(7, 6, requires_grad=True)

    def second_order(linear: Callable[[Tensor, Linear], Tensor]) -> tuple[Tensor, ...]:
        z = linear(torch.tanh(linear(x, layers[0])), layers[1])
        (slope,) = torch.autograd.grad(z.square().sum(), x, create_graph=True)
        return torch.autograd.grad(slope.square().sum() + z.sum(), [*layers[0].parameters(), *layers[1].parameters()])

    expected = second_order(lambda rows, layer: functional.linear(rows, layer.weight, layer.bias))
    for value, correct in zip(second_order(lambda rows, layer: layer(rows)), expected, strict=True):
        torch.testing.assert_close(value, correct, atol=1e-4, rtol=1e-4)


def test_outside_training_the_layer_is_bit_identical_to_torchs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_can_use_onednn", lambda x: pytest.fail("called outside training"))
    layer, x = Linear(30, 20), torch.randn(7, 30)
    expected = nn.functional.linear(x, layer.weight, layer.bias)
    with torch.no_grad():
        assert torch.equal(layer(x), expected)
    assert torch.equal(layer.eval()(x), expected)


@pytest.mark.parametrize("other", ["float64", "meta", "autocast"])
def test_other_inputs_are_computed_by_torch(other: str) -> None:
    x = torch.randn(7, 30, dtype=torch.float64 if other == "float64" else None)
    if other == "meta":
        x = x.to("meta")
    with torch.autocast("cpu", torch.bfloat16, enabled=other == "autocast"):
        out = Linear(30, 20).to(x.device, x.dtype)(x)
    assert out.dtype == (torch.bfloat16 if other == "autocast" else x.dtype)
    assert out.device == x.device


# --- layers that score ---


@pytest.mark.parametrize("by_onednn", [False, pytest.param(True, marks=needs_onednn)])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU, nn.GELU])
def test_scoring_layers_are_the_layers(
    monkeypatch: pytest.MonkeyPatch, by_onednn: bool, activation: type[nn.Module]
) -> None:
    monkeypatch.setattr(cpu, "_can_use_onednn", lambda x: by_onednn)
    layers = cpu.ScoringLayers(nn.Linear(9, 40), activation(), nn.Linear(40, 5))
    x = 3 * torch.randn(33, 9)
    exact = nn.Sequential(*copy.deepcopy(layers).double())(x.double())
    with torch.no_grad():
        out = layers(x)
    assert torch.allclose(out.double(), exact, rtol=1e-5, atol=2e-6)
    assert torch.equal(layers(x), nn.Sequential(*layers)(x)) and layers(x).requires_grad
