"""Gradients of draws, against the exact gradient of the expected reward."""

import itertools

import torch
from torch.nn import functional

from ssl_cli.methods.text_latent.policy_gradient import leave_one_out, reinforce_loss, straight_through


def test_reinforce_has_the_gradient_of_the_expected_reward() -> None:
    logits = torch.tensor([[0.3, -0.2, 0.1], [0.5, 0.0, -1.0]], dtype=torch.float64, requires_grad=True)  # (T, V)
    reward = torch.rand(3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_p = logits.log_softmax(1)
    pairs = list(itertools.product(range(3), range(3)))
    expected = sum((log_p[0, a] + log_p[1, b]).exp() * reward[a, b] for a, b in pairs)
    (exact,) = torch.autograd.grad(expected, logits, retain_graph=True)
    drawn = torch.stack([torch.stack([log_p[0, a], log_p[1, b]]) for a, b in pairs])  # (9, T): every text once
    advantage = torch.stack([drawn[k].sum().exp().detach() * (reward[a, b] - 0.4) for k, (a, b) in enumerate(pairs)])
    loss = reinforce_loss(drawn, torch.ones(9, 2, dtype=torch.bool), advantage) * 18  # a mean over 9 texts of 2 tokens
    (found,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(found, -exact)  # whatever the baseline, here 0.4


def test_tokens_that_were_not_chosen_have_no_gradient() -> None:
    log_p = torch.zeros(2, 3, requires_grad=True)
    is_chosen = torch.tensor([[True, True, False], [True, False, False]])
    reinforce_loss(log_p, is_chosen, torch.tensor([1.0, -2.0])).backward()
    assert log_p.grad is not None
    torch.testing.assert_close(log_p.grad, torch.tensor([[-1 / 3, -1 / 3, 0], [2 / 3, 0, 0]]))


def test_the_baseline_is_the_mean_of_the_others() -> None:
    rewards = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 3.0]])
    naive = torch.tensor([[1 - 4, 2 - 3.5, 6 - 1.5], [0 - 1.5, 0 - 1.5, 3.0]])
    scale = naive.square().mean().sqrt()
    torch.testing.assert_close(leave_one_out(rewards), naive / scale)
    torch.testing.assert_close(leave_one_out(100 * rewards + 7), naive / scale)  # whatever the unit
    assert not leave_one_out(torch.ones(2, 3)).any()


def test_straight_through_is_one_hot_with_the_gradient_of_a_softmax() -> None:
    scores = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    ids, weight = scores.argmax(2), torch.arange(5.0)
    choices = straight_through(scores, ids, 0.5)
    torch.testing.assert_close(choices, functional.one_hot(ids, 5).float())
    (found,) = torch.autograd.grad((choices * weight).sum(), scores)
    (soft,) = torch.autograd.grad(((scores / 0.5).softmax(2) * weight).sum(), scores)
    torch.testing.assert_close(found, soft)
