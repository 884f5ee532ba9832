"""Cross-entropy over a large vocabulary, computed on a chunk of tokens at a time."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CHUNK_TOKENS = 512  # tokens whose logits are in memory at a time
IGNORE_INDEX = -100  # a target that does not count, as in torch's own cross-entropy


def chunked_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """Return the mean cross-entropy of logits `hidden @ weight.T + bias`: (N, C), (V, C), (V,), (N,) -> ().

    The logits (N, V) never exist as a whole. The gradients are computed together with the loss, chunk by chunk (as in
    Liger Kernel, arXiv 2410.10989, sec. 3.2). Under autocast the products are in its precision and sums in float32.
    The mean is over the targets that are not IGNORE_INDEX; it is 0 if all are.
    """
    return _apply(hidden, weight, bias, targets, with_accuracy=False)[0]


def cross_entropy_and_accuracy(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """Return `chunked_cross_entropy`, and the share of tokens whose target has the largest logit, without gradient."""
    return _apply(hidden, weight, bias, targets, with_accuracy=True)


def _apply(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, with_accuracy: bool
) -> tuple[Tensor, Tensor]:
    device = hidden.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    return _ChunkedCrossEntropy.apply(hidden, weight, bias, targets, precision, with_accuracy)


class _ChunkedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        precision: torch.dtype,
        with_accuracy: bool,
    ) -> tuple[Tensor, Tensor]:
        n = (targets != IGNORE_INDEX).sum().clamp(min=1)
        with torch.autocast(hidden.device.type, enabled=False):
            (loss, hits), gradients = _sums_and_gradients(
                hidden.to(precision), weight.to(precision), bias, targets, any(ctx.needs_input_grad), with_accuracy
            )
        ctx.save_for_backward(n, *gradients)
        mean_loss, accuracy = loss / n, hits / n
        ctx.mark_non_differentiable(accuracy)
        ctx.dtypes = [None if x is None else x.dtype for x in (hidden, weight, bias)]
        return mean_loss, accuracy

    @staticmethod
    def backward(ctx: Any, grad_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        n, *gradients = ctx.saved_tensors
        scale = grad_loss / n
        # In float32: the loss scale of mixed precision exceeds the range of float16.
        scaled = (
            None if gradient is None else (gradient.float() * scale).to(dtype)
            for gradient, dtype in zip(gradients, ctx.dtypes, strict=True)
        )
        return (*scaled, None, None, None)


def _sums_and_gradients(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, needs_grad: bool, with_accuracy: bool
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor | None, ...]]:
    """Return the sums of losses and of hits, and the loss sum's gradients for hidden, weight and bias.

    The gradients are None unless `needs_grad`. They are of the sum, not of the mean, because a token's share of a mean
    over many tokens would underflow in float16.
    """
    losses, hits = (torch.zeros((), device=hidden.device) for _ in range(2))
    grad_hidden = torch.empty_like(hidden) if needs_grad else None
    grad_weight = torch.zeros_like(weight, dtype=torch.float32) if needs_grad else None
    grad_bias = torch.zeros_like(bias) if needs_grad and bias is not None else None
    for first in range(0, len(targets), CHUNK_TOKENS):
        chunk = slice(first, first + CHUNK_TOKENS)
        logits = functional.linear(hidden[chunk], weight).float()  # (chunk, V)
        if bias is not None:
            logits += bias
        grad_logits = _add_loss_and_differentiate(logits, targets[chunk], losses, hits if with_accuracy else None)
        if grad_hidden is None or grad_weight is None:
            continue
        if grad_bias is not None:
            grad_bias += grad_logits.sum(0)
        grad_logits = grad_logits.to(hidden.dtype)
        torch.mm(grad_logits, weight, out=grad_hidden[chunk])
        _add_product(grad_weight, grad_logits, hidden[chunk])
    return (losses, hits), (grad_hidden, grad_weight, grad_bias)


def _add_loss_and_differentiate(logits: Tensor, targets: Tensor, losses: Tensor, hits: Tensor | None) -> Tensor:
    """Add the chunk's loss to `losses` and its hits to `hits`, and return the gradient of the logits (chunk, V).

    The gradient, softmax minus one-hot, overwrites the logits' memory.
    """
    counts, index = (targets != IGNORE_INDEX)[:, None], targets.clamp(min=0)[:, None]  # (chunk, 1)
    if hits is None:  # finding where the largest logit is takes several times as long as finding its value
        top = logits.amax(1, keepdim=True)  # (chunk, 1)
    else:
        top, best = logits.max(1, keepdim=True)
        hits += ((best == index) & counts).sum()
    target_logit = logits.gather(1, index)
    exponentials = logits.sub_(top).exp_()
    total = exponentials.sum(1, keepdim=True)
    losses += ((total.log() + top - target_logit) * counts).sum()
    softmax = exponentials.div_(total)
    return softmax.scatter_add_(1, index, torch.full_like(target_logit, -1.0)).mul_(counts)


def _add_product(grad_weight: Tensor, grad_logits: Tensor, hidden: Tensor) -> None:
    if grad_logits.dtype == grad_weight.dtype:
        grad_weight.addmm_(grad_logits.T, hidden)
    else:
        grad_weight += grad_logits.T @ hidden
