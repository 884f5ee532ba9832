"""Gradients of drawn tokens: REINFORCE with a leave-one-out baseline, and Gumbel straight-through."""

import torch
from torch import Tensor
from torch.nn import functional


def leave_one_out(rewards: Tensor) -> Tensor:
    """Return advantages (B, n) of n draws each: a reward (B, n) minus the mean of the others of its row.

    They are divided by their root mean square over all draws, so that rewards of different units can be added.
    Source: Kool et al., 2019, "Buy 4 REINFORCE samples, get a baseline for free!", eq. 8.
    """
    n = rewards.shape[1]
    advantages = (rewards - rewards.mean(1, keepdim=True)) * (n / (n - 1))
    return advantages / advantages.square().mean().sqrt().clamp(min=1e-6)


def reinforce_loss(log_p: Tensor, is_chosen: Tensor, advantage: Tensor) -> Tensor:
    """Return a loss whose gradient is minus that of the expected reward (Williams, 1992), per chosen token.

    `log_p` (N, T) are those of drawn tokens, `is_chosen` (N, T) which of them count, `advantage` (N,) that of a text.
    """
    return -(advantage[:, None] * torch.where(is_chosen, log_p, 0.0)).sum() / is_chosen.sum()


def straight_through(scores: Tensor, ids: Tensor, temperature: float) -> Tensor:
    """Return one-hot vectors (B, T, V) of drawn tokens (B, T), with the gradient of a softmax (arXiv 1611.01144).

    `scores` (B, T, V) are log-probabilities plus the Gumbel noise that chose the tokens. Each choice is differentiated
    with the earlier ones held fixed.
    """
    soft = (scores / temperature).softmax(2)
    hard = functional.one_hot(ids, scores.shape[2]).to(soft)
    return hard + soft - soft.detach()
