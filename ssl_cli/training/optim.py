"""Optimizer and learning-rate schedule: groups of weights with their weight decay and learning-rate scales."""

import inspect
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from ssl_cli.config.instantiate import build
from ssl_cli.errors import InputError
from ssl_cli.methods.training_protocols import LearningRateScales, NoDecayOnVectors
from ssl_cli.training.limits import share_done

ParamGroups = Iterable[nn.Parameter] | list[dict[str, Any]]  # parameters, or groups of them with their own options
OptimizerFactory = Callable[[ParamGroups], torch.optim.Optimizer]
# (optimizer steps taken, clock of the elapsed seconds, read only if time counts) -> factor of the learning rate.
LRSchedule = Callable[[int, Callable[[], float]], float]
STEPS_PER_WARMUP_STEP = 10  # the default warm-up is a tenth of the steps
FSDP_PREFIX = "_fsdp_wrapped_module."  # in the name of a weight that is sharded over devices


class WeightGroups:
    """A method's weights in groups for an optimizer.

    It must be made before the weights are sharded over devices: a sharded weight is flat, whatever its shape was.
    """

    def __init__(self, method: nn.Module):
        self.method = method
        self.dims = {name: weight.dim() for name, weight in method.named_parameters()}
        embeddings = [name for name, module in method.named_modules() if isinstance(module, nn.Embedding)]
        self.tables = {f"{name}.weight" for name in embeddings}

    def split(self, among: Iterable[nn.Parameter] | None = None) -> list[dict[str, Any]]:
        """Return the groups of all weights, or of some of them; the largest learning-rate scale first.

        Each has `params`, `lr_scale`, and `is_matrix`: whether they are matrices or convolutions, and no embeddings.
        For a `NoDecayOnVectors` method, weights of one dimension (biases, the scales of norms) have no decay.
        """
        spares_vectors = isinstance(self.method, NoDecayOnVectors)
        scales = self.method.lr_scales if isinstance(self.method, LearningRateScales) else {}
        chosen = None if among is None else {id(weight) for weight in among}
        weights: dict[tuple[float, bool, bool], list[nn.Parameter]] = {}
        for full_name, weight in self.method.named_parameters():
            name = full_name.replace(FSDP_PREFIX, "")
            if weight.requires_grad and (chosen is None or id(weight) in chosen):
                is_vector = self.dims[name] < 2
                is_matrix = not is_vector and name not in self.tables
                key = scales.get(name, 1.0), not (spares_vectors and is_vector), is_matrix
                weights.setdefault(key, []).append(weight)
        groups = []
        for (scale, decays, is_matrix), group in sorted(weights.items(), key=lambda item: item[0], reverse=True):
            decay = {} if decays else {"weight_decay": 0.0}
            groups.append({"params": group, "lr_scale": scale, "is_matrix": is_matrix} | decay)
        return groups


def optimizer_factory(optimizer: DictConfig) -> OptimizerFactory:
    """Return a function that builds the config's optimizer from groups of weights.

    It raises InputError if the optimizer rejects an option.
    """
    build_optimizer = build(optimizer)

    def make(groups: ParamGroups) -> torch.optim.Optimizer:
        try:
            made = build_optimizer(groups)
        except ValueError as error:  # torch's own message on a learning rate or a beta out of range
            raise InputError(f"optim.optimizer can't be built: {error}.") from error
        closure = inspect.signature(made.step).parameters.get("closure")
        if closure and closure.default is inspect.Parameter.empty:
            kind = type(made).__name__
            raise InputError(f"optim.optimizer can't be {kind}: it computes the loss several times a step.")
        # A fused optimizer would divide gradients by the loss scale itself, which is too late for clipping.
        made._step_supports_amp_scaling = False
        return made

    return make


def clear_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Clear the gradients of an optimizer's weights: zero_grad() takes 8 us more, a thirtieth of a small step."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            weight.grad = None


def lr_schedule(optim: DictConfig, max_steps: int, max_s: float = math.inf) -> LRSchedule:
    """Return a linear rise over `warmup_steps`, then a constant, or a linear or cosine decay to 0.

    The decay ends at the limit of steps or of time, whichever comes first (a budget, as in arXiv 2212.14034).
    """
    warmup_steps, shape = optim.warmup_steps, optim.schedule
    if warmup_steps is None:
        warmup_steps = max(0, max_steps // STEPS_PER_WARMUP_STEP)

    def factor(step: int, elapsed_s: Callable[[], float]) -> float:
        warmup = min(1.0, (step + 1) / (warmup_steps + 1))
        if shape == "constant":
            return warmup
        n_decay = max(1, max_steps - warmup_steps) if max_steps > 0 else -1
        progress = share_done(max(0, step - warmup_steps), n_decay, elapsed_s, max_s)
        return min(warmup, 1 - progress if shape == "linear" else 0.5 * (1 + math.cos(math.pi * progress)))

    return factor
