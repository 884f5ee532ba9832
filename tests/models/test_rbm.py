"""Restricted Boltzmann machines against a naive transcription of one step of contrastive divergence."""

import math

import pytest
import torch
from torch import Tensor

from ssl_cli.models.rbm import INITIAL_MOMENTUM, MOMENTUM, WEIGHT_DECAY, RestrictedBoltzmann

VISIBLE, HIDDEN, ROWS = 4, 3, 5


def logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value))


def machine(linear: bool, seed: int = 0) -> RestrictedBoltzmann:
    found = RestrictedBoltzmann(VISIBLE, HIDDEN, linear, torch.Generator().manual_seed(seed))
    found.visible_bias.copy_(torch.tensor([0.3, -0.2, 0.1, 0.5]))
    found.hidden_bias.copy_(torch.tensor([-0.4, 0.2, 0.6]))
    return found


def naive_gradient(rbm: RestrictedBoltzmann, x: Tensor, linear: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hinton, A Practical Guide to Training RBMs, sec. 3: <v h> of the data minus <v h> of the reconstruction."""
    w, a, b = rbm.weights.double(), rbm.visible_bias.double(), rbm.hidden_bias.double()
    hidden = torch.zeros(ROWS, HIDDEN)
    for n in range(ROWS):
        for j in range(HIDDEN):
            activity = float(b[j]) + sum(float(x[n, i] * w[i, j]) for i in range(VISIBLE))
            hidden[n, j] = activity if linear else logistic(activity)
    # The same draws as the machine will make.
    random = torch.Generator().manual_seed(0)
    random.set_state(rbm.random.get_state())
    states = hidden + torch.randn(ROWS, HIDDEN, generator=random) if linear else None
    if states is None:
        states = torch.bernoulli(rbm.up(x), generator=random)
    weights, visible, hidden_bias_gradient = torch.zeros(VISIBLE, HIDDEN), torch.zeros(VISIBLE), torch.zeros(HIDDEN)
    error = torch.zeros(ROWS)
    for n in range(ROWS):
        reconstruction = [
            logistic(float(a[i] + sum(w[i, j] * states[n, j] for j in range(HIDDEN)))) for i in range(VISIBLE)
        ]
        for i in range(VISIBLE):
            visible[i] += (float(x[n, i]) - reconstruction[i]) / ROWS
            error[n] += (float(x[n, i]) - reconstruction[i]) ** 2
        for j in range(HIDDEN):
            activity = float(b[j]) + sum(reconstruction[i] * float(w[i, j]) for i in range(VISIBLE))
            again = activity if linear else logistic(activity)
            hidden_bias_gradient[j] += (float(hidden[n, j]) - again) / ROWS
            for i in range(VISIBLE):
                weights[i, j] += (float(x[n, i]) * float(hidden[n, j]) - reconstruction[i] * again) / ROWS
    return weights, visible, hidden_bias_gradient, error


@pytest.mark.parametrize("linear", [False, True], ids=["logistic", "linear"])
def test_the_gradient_is_that_of_one_step_of_contrastive_divergence(linear: bool) -> None:
    rbm, x = machine(linear), torch.rand(ROWS, VISIBLE)
    naive = naive_gradient(rbm, x, linear)
    for found, wanted in zip(rbm.gradient(x), naive, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("linear", [False, True], ids=["logistic", "linear"])
def test_a_step_has_momentum_and_decays_only_the_weights(linear: bool) -> None:
    """Hinton and Salakhutdinov's rbm.m: an increment is momentum times the last one, and lr times the gradient."""
    rbm, naive, x = machine(linear, 4), machine(linear, 4), torch.rand(ROWS, VISIBLE)
    rbm.fit(x, epochs=7, batch_size=ROWS, lr=0.05)
    parts = [naive.weights, naive.visible_bias, naive.hidden_bias]
    steps = [torch.zeros_like(part) for part in parts]
    for epoch in range(7):
        momentum = INITIAL_MOMENTUM if epoch < 5 else MOMENTUM
        order = torch.randperm(ROWS, generator=naive.random)
        gradients = list(naive_gradient(naive, x[order], linear)[:3])
        naive.sample(naive.up(x))  # the naive gradient copied the random stream without advancing it
        gradients[0] = gradients[0] - WEIGHT_DECAY * naive.weights
        steps = [momentum * step + 0.05 * gradient for step, gradient in zip(steps, gradients, strict=True)]
        for part, step in zip(parts, steps, strict=True):
            part += step
    for found, wanted in zip((rbm.weights, rbm.visible_bias, rbm.hidden_bias), parts, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_hidden_states_follow_their_probabilities_or_means() -> None:
    mean = torch.tensor([[0.1, 0.5, 0.8]]).expand(20_000, -1)
    states = machine(linear=False).sample(mean)
    assert set(states.unique().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(states.mean(0), mean[0], atol=0.02, rtol=0)
    values = machine(linear=True).sample(mean)
    torch.testing.assert_close(values.mean(0), mean[0], atol=0.03, rtol=0)
    torch.testing.assert_close(values.var(0), torch.ones(3), atol=0.05, rtol=0)


@pytest.mark.parametrize(("linear", "lr"), [(False, 0.1), (True, 0.01)], ids=["logistic", "linear"])
def test_learning_lowers_the_error(linear: bool, lr: float) -> None:
    random = torch.Generator().manual_seed(0)
    kinds = torch.bernoulli(torch.full((4, 16), 0.5), generator=random)
    x = kinds[torch.randint(4, (205,), generator=random)]  # the last batch is short
    rbm = RestrictedBoltzmann(16, 6, linear, torch.Generator().manual_seed(1))
    errors = rbm.fit(x, epochs=30, batch_size=20, lr=lr)
    assert len(errors) == 30
    assert errors[-1] < 0.4 * errors[0]
    reconstructed = rbm.down(rbm.up(x))
    # Far better than the mean of every row, which needs no hidden units at all.
    assert float((reconstructed - x).square().sum(1).mean()) < 0.5 * float((x - x.mean(0)).square().sum(1).mean())
