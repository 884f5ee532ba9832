"""The same loss and gradients as torch's own, in chunks."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_cli.models import losses
from ssl_cli.models.losses import IGNORED, chunked_cross_entropy, cross_entropy_and_hits

N, C, V = 75, 16, 101


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CHUNK", 20)  # so that the last one is cut off


def parts(with_bias: bool = True) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
    torch.manual_seed(0)
    bias = torch.randn(V, requires_grad=True) if with_bias else None
    return torch.randn(N, C, requires_grad=True), torch.randn(V, C, requires_grad=True), bias, torch.randint(V, (N,))


def plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    return functional.cross_entropy(functional.linear(hidden, weight, bias), targets)


@pytest.mark.parametrize("with_bias", [False, True])
def test_equals_torchs_own(with_bias: bool) -> None:
    *inputs, targets = parts(with_bias)
    learned = [part for part in inputs if part is not None]
    ours, theirs = chunked_cross_entropy(*inputs, targets), plain(*inputs, targets)
    torch.testing.assert_close(ours, theirs)
    # Times 3, so that the gradient of what comes after is heeded.
    torch.testing.assert_close(torch.autograd.grad(3 * ours, learned), torch.autograd.grad(3 * theirs, learned))


def test_equals_torchs_own_in_bf16_within_its_rounding() -> None:
    *inputs, targets = parts()
    with torch.autocast("cpu", torch.bfloat16):
        ours = chunked_cross_entropy(*inputs, targets)
    theirs = plain(*inputs, targets)
    torch.testing.assert_close(ours, theirs, atol=0.02, rtol=0)
    found, wanted = (torch.autograd.grad(loss, inputs) for loss in (ours, theirs))
    for mine, other in zip(found, wanted, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - other).norm() < 0.01 * other.norm()


def test_ignored_targets_count_for_nothing() -> None:
    *inputs, targets = parts()
    targets[::3] = IGNORED
    ours, theirs = chunked_cross_entropy(*inputs, targets), plain(*inputs, targets)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs))
    nothing = chunked_cross_entropy(*inputs, torch.full_like(targets, IGNORED))
    assert nothing == 0 and not torch.autograd.grad(nothing, inputs)[0].any()


def test_large_logits_overflow_nothing() -> None:
    *inputs, targets = parts()
    inputs[0] = (1000 * inputs[0].detach()).requires_grad_()
    ours = chunked_cross_entropy(*inputs, targets)
    torch.testing.assert_close(ours, plain(*inputs, targets))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(ours, inputs))


def test_hits_are_those_of_the_largest_logit() -> None:
    hidden, weight, bias, targets = parts()
    best = functional.linear(hidden, weight, bias).argmax(1)
    targets[::2] = best[::2]
    _, hits = cross_entropy_and_hits(hidden, weight, bias, targets)
    assert hits.item() == pytest.approx((best == targets).float().mean().item())


def test_of_equal_logits_one_is_the_largest() -> None:
    hidden, weight = torch.ones(8, 1), torch.ones(4, 1)
    _, hits = cross_entropy_and_hits(hidden, weight, None, torch.arange(8) % 4)
    assert hits.item() == 0.25


def test_many_tokens_and_a_loss_scale_leave_gradients_in_fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a mean over thousands a token's share is less than float16 holds; a loss scale is more."""
    monkeypatch.setattr(losses, "CHUNK", 512)
    torch.manual_seed(0)
    n, vocabulary = 4000, 2000
    hidden, weight = torch.randn(n, 4, requires_grad=True), torch.randn(vocabulary, 4, requires_grad=True)
    targets = torch.randint(vocabulary, (n,))
    with torch.autocast("cpu", torch.float16):
        ours = chunked_cross_entropy(hidden, weight, None, targets)
    found = torch.autograd.grad(65536 * 8 * ours, (hidden, weight))
    wanted = torch.autograd.grad(plain(hidden, weight, None, targets), (hidden, weight))
    for mine, other in zip(found, wanted, strict=True):
        assert (mine / (65536 * 8) - other).norm() < 0.01 * other.norm()


class Largest(TorchDispatchMode):
    """Notes the most numbers that any tensor had."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.numbers = max(self.numbers, out.numel())
        return out


def test_the_logits_are_never_there_as_a_whole() -> None:
    *inputs, targets = parts()
    with Largest() as ours:
        chunked_cross_entropy(*inputs, targets).backward()
    with Largest() as theirs:
        plain(*inputs, targets).backward()
    assert ours.numbers == 20 * V and theirs.numbers == N * V


def test_without_gradients_none_are_computed() -> None:
    *inputs, targets = parts()
    with torch.no_grad(), Largest() as seen:
        loss = chunked_cross_entropy(*inputs, targets)
    assert not loss.requires_grad and seen.numbers == 20 * V
