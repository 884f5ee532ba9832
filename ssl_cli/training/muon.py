"""Muon: momentum made orthogonal for matrices and convolutions, AdamW for all other weights, as one optimizer."""

import math
from collections.abc import Iterable
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from ssl_cli.config.types import Count, NonNegative, Share
from ssl_cli.errors import InputError
from ssl_cli.models.cpu import has_bf16

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the polynomial that makes a matrix orthogonal: Jordan et al.
IS_MATRIX = "is_matrix"  # key of a group of weights that Muon updates; see optim.WeightGroups


class MuonAdamW(torch.optim.Optimizer):
    """Muon for matrices and convolutions, torch's AdamW for embeddings, biases and norms.

    Muon (Jordan et al., 2024) replaces the momentum of a matrix by the nearest orthogonal matrix; a convolution is a
    matrix with a row for each output channel. Its updates are scaled to the size of AdamW's (arXiv 2502.16982, eq. 4),
    so both use the same learning rate and decay. The groups of weights may say by `is_matrix` which are Muon's;
    otherwise all of two dimensions or more are. Raises InputError for matrices that are cut over devices.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: Annotated[NonNegative, "learning rate"] = 1e-3,
        weight_decay: Annotated[NonNegative, "weight decay"] = 0.01,
        momentum: Annotated[Share, "share of Muon's momentum that a step keeps"] = 0.95,
        ns_steps: Annotated[Count, "iterations that make the momentum orthogonal"] = 5,
        betas: Annotated[list[Share], "AdamW's decay rates of the two moments"] = (0.9, 0.999),  # type: ignore[assignment]
    ):
        matrices, others = _split(list(params))
        options: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay}
        self.parts: list[torch.optim.Optimizer] = []
        if matrices:
            self.parts.append(Muon(matrices, **options, momentum=momentum, ns_steps=ns_steps))
        if others:
            self.parts.append(torch.optim.AdamW(others, **options, betas=(betas[0], betas[1]), fused=True))
        super().__init__([group for part in self.parts for group in part.param_groups], options)
        self._share()

    def _share(self) -> None:
        """Let the two optimizers read the groups and keep their state in this one, which is saved as a whole."""
        for part in self.parts:
            is_muon = isinstance(part, Muon)
            part.state = self.state
            part.param_groups = [group for group in self.param_groups if group[IS_MATRIX] == is_muon]

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Set the groups and state, as a checkpoint is loaded."""
        super().__setstate__(state)
        self._share()

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the weights by their gradients."""
        for part in self.parts:
            part.step()


class Muon(torch.optim.Optimizer):
    """torch's Muon, which takes matrices alone and multiplies in bfloat16 alone, for convolutions and in float32 too.

    A CPU without bfloat16 emulates it: a step of training would take minutes.
    """

    def __init__(self, params: list[dict[str, Any]], lr: float, weight_decay: float, momentum: float, ns_steps: int):
        options = {"lr": lr, "weight_decay": weight_decay, "momentum": momentum, "ns_steps": ns_steps}
        super().__init__(params, options)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the weights by their gradients."""
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, weight.grad, group)

    def _update(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        momentum = self.state[weight].setdefault("momentum_buffer", torch.zeros_like(gradient))
        momentum.lerp_(gradient, 1 - group["momentum"])
        update = gradient.lerp(momentum, group["momentum"]).flatten(1)  # Nesterov's
        update = update.bfloat16() if has_bf16(weight.device) else update
        update = orthogonalize(update, COEFFICIENTS, group["ns_steps"])
        scale = 0.2 * math.sqrt(max(update.shape))  # arXiv 2502.16982, eq. 4
        weight.mul_(1 - group["lr"] * group["weight_decay"]).add_(update.view(weight.shape), alpha=-group["lr"] * scale)


def orthogonalize(matrix: Tensor, coefficients: tuple[float, float, float], steps: int) -> Tensor:
    """Return about the nearest orthogonal matrix, by steps of Newton-Schulz that bring singular values near 1.

    The polynomial a x + b x^3 + c x^5 of its `coefficients` (a, b, c) overshoots: they end between about 0.7 and 1.2.
    """
    a, b, c = coefficients
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / x.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if matrix.shape[0] > matrix.shape[1] else x


def _split(params: list[Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return the groups of Muon and those of AdamW. Raises InputError for a matrix that is cut into pieces."""
    matrices: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for group in params if params and isinstance(params[0], dict) else [{"params": params}]:
        weights = list(group["params"])
        if group.get(IS_MATRIX) and any(weight.dim() < 2 for weight in weights):
            raise InputError(
                "optim=muon needs whole matrices, which trainer.strategy=fsdp cuts over devices: use ddp, or "
                "optim=adamw."
            )
        for is_matrix, groups in ((True, matrices), (False, others)):
            chosen = [weight for weight in weights if group.get(IS_MATRIX, weight.dim() > 1) == is_matrix]
            if chosen:
                groups.append({**group, "params": chosen, IS_MATRIX: is_matrix})
    return matrices, others
