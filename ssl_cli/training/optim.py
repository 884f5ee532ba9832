"""Weights in groups for an optimizer: what decays and what doesn't, and what learns at which part of its rate."""

from collections.abc import Iterable
from typing import Any

from torch import nn

from ssl_cli.methods.protocols import LearningRateScales, NoDecayOnVectors

Weights = Iterable[nn.Parameter] | list[dict[str, Any]]  # or groups of them, with options of their own
WRAPPED = "_fsdp_wrapped_module."  # in the name of a weight that is spread over devices


class WeightGroups:
    """Made before the weights are spread over devices: a device that holds a part of each only has them all flat."""

    def __init__(self, objective: nn.Module):
        self.objective = objective
        self.matrices = {name for name, weight in objective.named_parameters() if weight.dim() > 1}

    def divided(self) -> tuple[Weights, list[float]]:
        """The groups, and the part of the learning rate of each, the fastest first. For an objective that wants it so,
        what is no matrix (biases, the scales of norms) doesn't decay."""
        if not isinstance(self.objective, NoDecayOnVectors):
            return self.objective.parameters(), [1.0]
        named = [(name.replace(WRAPPED, ""), weight) for name, weight in self.objective.named_parameters()]
        rates = self.objective.lr_scales if isinstance(self.objective, LearningRateScales) else {}
        kinds: dict[tuple[float, bool], list[nn.Parameter]] = {(1.0, True): [], (1.0, False): []}
        for name, weight in named:
            if weight.requires_grad:
                kinds.setdefault((rates.get(name, 1.0), name in self.matrices), []).append(weight)
        ordered = sorted(kinds.items(), key=lambda kind: kind[0], reverse=True)
        groups = [{"params": some} | ({} if decays else {"weight_decay": 0.0}) for (_, decays), some in ordered]
        return groups, [rate for (rate, _), _ in ordered]
