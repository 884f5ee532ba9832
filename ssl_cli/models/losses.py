"""The cross-entropy over a large vocabulary, a few tokens at a time."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

CHUNK = 512  # tokens whose logits are in memory at once
IGNORED = -100  # a target that counts for nothing: as torch's own cross-entropy has it


def chunked_cross_entropy(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor) -> Tensor:
    """The mean cross-entropy of logits `hidden @ weight.T + bias`: (N, C), (V, C), (V,), (N,) -> ()

    The logits (N, V) are never there as a whole; the gradients are computed along with the loss, chunk by chunk (as in
    Liger Kernel, arXiv 2410.10989, sec. 3.2). Under autocast the products are in its precision, sums in float32.
    The mean is over the targets that aren't IGNORED, and 0 where all are.
    """
    return _apply(hidden, weight, bias, targets, counts_hits=False)[0]


def cross_entropy_and_hits(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor
) -> tuple[Tensor, Tensor]:
    """The same, and the share of tokens whose target has the largest logit, (), which has no gradient."""
    return _apply(hidden, weight, bias, targets, counts_hits=True)


def _apply(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, counts_hits: bool
) -> tuple[Tensor, Tensor]:
    device = hidden.device.type
    precision = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
    return _Chunked.apply(hidden, weight, bias, targets, precision, counts_hits)


class _Chunked(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        precision: torch.dtype,
        counts_hits: bool,
    ) -> tuple[Tensor, Tensor]:
        n = (targets != IGNORED).sum().clamp(min=1)
        with torch.autocast(hidden.device.type, enabled=False):
            (loss, hits), gradients = _sums_and_gradients(
                hidden.to(precision), weight.to(precision), bias, targets, any(ctx.needs_input_grad), counts_hits
            )
        ctx.save_for_backward(n, *gradients)
        found = loss / n, hits / n
        ctx.mark_non_differentiable(found[1])
        ctx.dtypes = [None if part is None else part.dtype for part in (hidden, weight, bias)]
        return found

    @staticmethod
    def backward(ctx: Any, of_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        n, *parts = ctx.saved_tensors
        of_sum, gradients = of_loss / n, zip(parts, ctx.dtypes, strict=True)
        # In float32: the loss scale of mixed precision is more than float16 holds.
        scaled = (None if part is None else (part.float() * of_sum).to(dtype) for part, dtype in gradients)
        return (*scaled, None, None, None)


def _sums_and_gradients(
    hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, learns: bool, counts_hits: bool
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor | None, ...]]:
    """Sums of losses and of hits; the first's gradients for hidden, weight and bias, None each unless it `learns`.

    Of the sum, not the mean: a share of a mean over many tokens would be nothing in float16.
    """
    losses, hits = (torch.zeros((), device=hidden.device) for _ in range(2))
    of_hidden = torch.empty_like(hidden) if learns else None
    of_weight = torch.zeros_like(weight, dtype=torch.float32) if learns else None
    of_bias = torch.zeros_like(bias) if learns and bias is not None else None
    for first in range(0, len(targets), CHUNK):
        part = slice(first, first + CHUNK)
        logits = functional.linear(hidden[part], weight).float()  # (chunk, V)
        if bias is not None:
            logits += bias
        # In the logits' own memory.
        of_logits = _loss_and_slope(logits, targets[part], losses, hits if counts_hits else None)
        if of_hidden is None or of_weight is None:
            continue
        if of_bias is not None:
            of_bias += of_logits.sum(0)
        of_logits = of_logits.to(hidden.dtype)
        torch.mm(of_logits, weight, out=of_hidden[part])
        _add_product(of_weight, of_logits, hidden[part])
    return (losses, hits), (of_hidden, of_weight, of_bias)


def _loss_and_slope(logits: Tensor, targets: Tensor, losses: Tensor, hits: Tensor | None) -> Tensor:
    """Adds to `losses` and `hits`; logits (chunk, V) -> softmax minus one-hot, their gradient, in place."""
    counts, index = (targets != IGNORED)[:, None], targets.clamp(min=0)[:, None]  # (chunk, 1)
    if hits is None:  # where the largest is takes several times as long as how large it is
        top = logits.amax(1, keepdim=True)  # (chunk, 1)
    else:
        top, best = logits.max(1, keepdim=True)
        hits += ((best == index) & counts).sum()
    of_target = logits.gather(1, index)
    weights = logits.sub_(top).exp_()
    total = weights.sum(1, keepdim=True)
    losses += ((total.log() + top - of_target) * counts).sum()
    share = weights.div_(total)
    return share.scatter_add_(1, index, torch.full_like(of_target, -1.0)).mul_(counts)


def _add_product(sums: Tensor, of_logits: Tensor, hidden: Tensor) -> None:
    if of_logits.dtype == sums.dtype:
        sums.addmm_(of_logits.T, hidden)
    else:
        sums += of_logits.T @ hidden
