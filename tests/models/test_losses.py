"""The chunked cross-entropy has the same loss and gradients as torch's own."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from ssl_cli.models import losses
from ssl_cli.models.losses import IGNORE_INDEX, chunked_cross_entropy, cross_entropy_and_accuracy

N, C, V = 75, 16, 101


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CHUNK_TOKENS", 20)  # the last chunk is then shorter


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
    # Times 3, to test that the incoming gradient is used.
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


def test_ignored_targets_do_not_count() -> None:
    *inputs, targets = parts()
    targets[::3] = IGNORE_INDEX
    ours, theirs = chunked_cross_entropy(*inputs, targets), plain(*inputs, targets)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(torch.autograd.grad(ours, inputs), torch.autograd.grad(theirs, inputs))
    nothing = chunked_cross_entropy(*inputs, torch.full_like(targets, IGNORE_INDEX))
    assert nothing == 0 and not torch.autograd.grad(nothing, inputs)[0].any()


def test_large_logits_do_not_overflow() -> None:
    *inputs, targets = parts()
    inputs[0] = (1000 * inputs[0].detach()).requires_grad_()
    ours = chunked_cross_entropy(*inputs, targets)
    torch.testing.assert_close(ours, plain(*inputs, targets))
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(ours, inputs))


def test_accuracy_is_that_of_the_largest_logit() -> None:
    hidden, weight, bias, targets = parts()
    best = functional.linear(hidden, weight, bias).argmax(1)
    targets[::2] = best[::2]
    _, accuracy = cross_entropy_and_accuracy(hidden, weight, bias, targets)
    assert accuracy.item() == pytest.approx((best == targets).float().mean().item())


def test_of_equal_logits_only_one_is_a_hit() -> None:
    hidden, weight = torch.ones(8, 1), torch.ones(4, 1)
    _, accuracy = cross_entropy_and_accuracy(hidden, weight, None, torch.arange(8) % 4)
    assert accuracy.item() == 0.25


def test_fp16_gradients_survive_many_tokens_and_a_loss_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token's share of a mean over thousands underflows float16; a loss scale overflows it."""
    monkeypatch.setattr(losses, "CHUNK_TOKENS", 512)
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


class LargestTensor(TorchDispatchMode):
    """Record the size of the largest tensor that was created."""

    n_values = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor):
            self.n_values = max(self.n_values, out.numel())
        return out


def test_the_logits_never_exist_as_a_whole() -> None:
    *inputs, targets = parts()
    with LargestTensor() as ours:
        chunked_cross_entropy(*inputs, targets).backward()
    with LargestTensor() as theirs:
        plain(*inputs, targets).backward()
    assert ours.n_values == 20 * V and theirs.n_values == N * V


def test_without_gradients_none_are_computed() -> None:
    *inputs, targets = parts()
    with torch.no_grad(), LargestTensor() as seen:
        loss = chunked_cross_entropy(*inputs, targets)
    assert not loss.requires_grad and seen.n_values == 20 * V
