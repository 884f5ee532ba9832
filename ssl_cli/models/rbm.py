"""Restricted Boltzmann machine, trained by one step of contrastive divergence (CD-1)."""

import math

import torch
from torch import Tensor

from ssl_cli.errors import InputError

# From Hinton's own code, as the paper says.
WEIGHT_DECAY = 2e-4
INITIAL_MOMENTUM, MOMENTUM, INITIAL_MOMENTUM_EPOCHS = 0.5, 0.9, 5


class RestrictedBoltzmann:
    """Logistic visible units, and hidden units that are logistic or linear with unit variance (Science 313, 2006).

    `weights` (visible, hidden); `visible_bias` (visible,); `hidden_bias` (hidden,).
    """

    def __init__(self, visible: int, hidden: int, linear: bool, random: torch.Generator):
        self.weights = 0.1 * torch.randn(visible, hidden, generator=random)
        self.visible_bias, self.hidden_bias = torch.zeros(visible), torch.zeros(hidden)
        self.linear, self.random = linear, random
        self._velocity = [torch.zeros_like(parameter) for parameter in self._parameters()]

    def _parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.weights, self.visible_bias, self.hidden_bias

    def up(self, visible: Tensor) -> Tensor:
        """Return probabilities of logistic hidden units, or means of linear ones: (B, visible) -> (B, hidden)."""
        activity = visible @ self.weights + self.hidden_bias
        return activity if self.linear else activity.sigmoid()

    def down(self, hidden: Tensor) -> Tensor:
        """Return probabilities of the visible units: (B, hidden) -> (B, visible)."""
        return (hidden @ self.weights.T + self.visible_bias).sigmoid()

    def sample(self, mean: Tensor) -> Tensor:
        """Sample hidden states with these probabilities or means, (B, hidden)."""
        if self.linear:
            return mean + torch.randn(mean.shape, generator=self.random)
        return torch.bernoulli(mean, generator=self.random)

    def gradient(self, visible: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the CD-1 estimates for the weights and both biases, and the squared reconstruction error (B,)."""
        hidden = self.up(visible)
        reconstruction = self.down(self.sample(hidden))
        hidden_again = self.up(reconstruction)
        weights = (visible.T @ hidden - reconstruction.T @ hidden_again) / len(visible)
        error = (visible - reconstruction).square().sum(1)
        return weights, (visible - reconstruction).mean(0), (hidden - hidden_again).mean(0), error

    def fit(self, x: Tensor, epochs: int, batch_size: int, lr: float) -> list[float]:
        """Train on rows x (N, visible) in 0..1 and return each epoch's mean squared error per row.

        Raises InputError if the error is no longer finite.
        """
        errors = []
        for epoch in range(epochs):
            momentum = MOMENTUM if epoch >= INITIAL_MOMENTUM_EPOCHS else INITIAL_MOMENTUM
            total = 0.0
            for rows in torch.randperm(len(x), generator=self.random).split(batch_size):
                *gradients, error = self.gradient(x[rows])
                gradients[0] -= WEIGHT_DECAY * self.weights
                for parameter, velocity, gradient in zip(self._parameters(), self._velocity, gradients, strict=True):
                    parameter += velocity.mul_(momentum).add_(gradient, alpha=lr)
                total += float(error.sum())
                if not math.isfinite(total):
                    raise InputError(
                        f"The Boltzmann machine of {x.shape[1]} visible units diverged: try a smaller model.rbm_lr."
                    )
            errors.append(total / len(x))
        return errors
