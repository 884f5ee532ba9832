"""Optimizer and learning-rate schedule."""

import math
from functools import partial

import pytest
import torch
from omegaconf import OmegaConf

from ssl_cli.errors import InputError
from ssl_cli.training.limits import duration_s
from ssl_cli.training.optim import ParamGroups, WeightGroups, lr_schedule, optimizer_factory
from tests.helpers.pretrain_runs import causal


def test_biases_and_norms_are_spared_the_decay() -> None:
    """As in BERT's code and GPT-2's: with no gradient at all, only matrices shrink."""
    model = causal()

    def make(weights: ParamGroups) -> torch.optim.Optimizer:
        return torch.optim.AdamW(weights, lr=0.1, weight_decay=0.5)  # type: ignore[arg-type]

    optimizer = make(WeightGroups(model).split())
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in model.named_parameters():
        shrunk = 0.95 if weight.dim() > 1 else 1.0
        torch.testing.assert_close(weight.detach(), shrunk * before[name], msg=name)


def test_an_optimizer_that_needs_a_closure_is_refused() -> None:
    make = optimizer_factory(OmegaConf.create({"_target_": "torch.optim.LBFGS", "_partial_": True, "lr": 0.1}))
    with pytest.raises(InputError, match=r"optim\.optimizer can't be LBFGS"):
        make([torch.nn.Parameter(torch.zeros(2))])


def test_schedules() -> None:
    optim = OmegaConf.create({"warmup_steps": 4, "schedule": "cosine"})
    factor = partial(lr_schedule(optim, 104), elapsed_s=never_asked)
    assert [factor(step) for step in range(4)] == [0.2, 0.4, 0.6, 0.8]
    assert (factor(4), factor(54), factor(104)) == pytest.approx((1, 0.5, 0))
    assert factor(29) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))
    optim.schedule = "linear"
    assert lr_schedule(optim, 104)(29, never_asked) == pytest.approx(0.75)
    optim.schedule = "constant"
    assert lr_schedule(optim, -1)(10**6, never_asked) == 1


def never_asked() -> float:
    raise AssertionError("the clock has no say in this schedule")


def test_a_budget_of_time_is_used_from_the_first_step_on() -> None:
    """No jump where the warm-up ends."""
    optim = OmegaConf.create({"warmup_steps": 9, "schedule": "linear"})
    factor = lr_schedule(optim, -1, max_s=100)
    rates = [factor(step, partial(float, 4 * step)) for step in range(25)]
    assert rates[:7] == [(step + 1) / 10 for step in range(7)]
    assert rates[8:] == pytest.approx([1 - 4 * step / 100 for step in range(8, 25)])


def test_a_schedule_ends_with_the_time_it_has() -> None:
    optim = OmegaConf.create({"warmup_steps": 2, "schedule": "linear"})
    factor = lr_schedule(optim, -1, max_s=600)
    assert [factor(5, [s].pop) for s in (0.0, 150.0, 600.0, 700.0)] == [1, 0.75, 0, 0]
    assert lr_schedule(optim, 102, max_s=600)(77, lambda: 150.0) == 0.25  # the steps are further on
    assert [duration_s(text) for text in ("00:10:00", "01:00:00:01", None)] == [600, 86401, math.inf]
