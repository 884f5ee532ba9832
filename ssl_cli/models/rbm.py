"""Restricted Boltzmann machines, learned by one step of contrastive divergence."""

import math

import torch
from torch import Tensor

from ssl_cli.errors import InputError

# Of Hinton's own code, as the paper says.
WEIGHT_DECAY = 2e-4
MOMENTUM_AT_FIRST, MOMENTUM, EPOCHS_AT_FIRST = 0.5, 0.9, 5


class RestrictedBoltzmann:
    """Logistic visible units joined to hidden ones: logistic, or linear with unit variance (Science 313, 2006).

    `weights` (visible, hidden); `of_visible`, `of_hidden` are the biases.
    """

    def __init__(self, visible: int, hidden: int, linear: bool, random: torch.Generator):
        self.weights = 0.1 * torch.randn(visible, hidden, generator=random)
        self.of_visible, self.of_hidden = torch.zeros(visible), torch.zeros(hidden)
        self.linear, self.random = linear, random
        self._change = [torch.zeros_like(part) for part in self._parts()]

    def _parts(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.weights, self.of_visible, self.of_hidden

    def up(self, visible: Tensor) -> Tensor:
        """(B, visible) -> (B, hidden): probabilities of logistic units, means of linear ones"""
        activity = visible @ self.weights + self.of_hidden
        return activity if self.linear else activity.sigmoid()

    def down(self, hidden: Tensor) -> Tensor:
        """(B, hidden) -> (B, visible), probabilities"""
        return (hidden @ self.weights.T + self.of_visible).sigmoid()

    def draw(self, mean: Tensor) -> Tensor:
        """Hidden states with these probabilities, or means"""
        if self.linear:
            return mean + torch.randn(mean.shape, generator=self.random)
        return torch.bernoulli(mean, generator=self.random)

    def gradient(self, visible: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """CD-1's estimate for the weights and both biases; and the squared error of the fantasy, (B,)."""
        hidden = self.up(visible)
        fantasy = self.down(self.draw(hidden))
        again = self.up(fantasy)
        weights = (visible.T @ hidden - fantasy.T @ again) / len(visible)
        error = (visible - fantasy).square().sum(1)
        return weights, (visible - fantasy).mean(0), (hidden - again).mean(0), error

    def learn(self, x: Tensor, epochs: int, batch_size: int, lr: float) -> list[float]:
        """CD-1 over rows x (N, visible) in 0..1; gives each epoch's mean squared error a row."""
        errors = []
        for epoch in range(epochs):
            momentum, total = MOMENTUM if epoch >= EPOCHS_AT_FIRST else MOMENTUM_AT_FIRST, 0.0
            for rows in torch.randperm(len(x), generator=self.random).split(batch_size):
                *gradients, error = self.gradient(x[rows])
                gradients[0] -= WEIGHT_DECAY * self.weights
                for part, change, gradient in zip(self._parts(), self._change, gradients, strict=True):
                    part += change.mul_(momentum).add_(gradient, alpha=lr)
                total += float(error.sum())
                if not math.isfinite(total):
                    raise InputError(f"The machine of {x.shape[1]} visible units diverged: try a smaller model.rbm_lr.")
            errors.append(total / len(x))
        return errors
