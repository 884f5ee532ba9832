"""The LightningModule for several optimizers: adversarial training, where networks are updated in turn."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.methods.training_protocols import Alternates
from ssl_cli.training.module import Learner


class AlternatingLearner(Learner):
    """Takes the turns of a method: each minimises its own loss on the same batches, with an optimizer of its own.

    All optimizers are made from the one config, and have its learning rate and schedule; gradients are clipped in each
    turn. The last turn is the main one: history.csv has its loss as `loss`, and those of the others as `TURN_loss`.
    """

    method: Any

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return an optimizer for each turn."""
        assert isinstance(self.method, Alternates) and isinstance(self.method, nn.Module)
        self.groups = self.method.parameter_groups()
        grouped = [id(weight) for group in self.groups.values() for weight in group]
        trained = [id(weight) for weight in self.method.parameters() if weight.requires_grad]
        assert sorted(grouped) == sorted(trained), "each weight belongs to one turn"
        return [self.make_optimizer(self.weight_groups.split(group)) for group in self.groups.values()]

    def _take_step(self, batches: Iterable[dict[str, Any]]) -> None:
        """Take the step of each optimizer, in turn."""
        batches, main = list(batches), list(self.groups)[-1]
        losses: list[dict[str, Tensor]] = [{} for _ in batches]
        self.step += 1
        for turn, optimizer in zip(self.groups, self.trainer.optimizers, strict=True):
            with self._only(turn):
                for batch, all_of_batch in zip(batches, losses, strict=True):
                    of_turn = partial(self.method.losses, turn=turn)
                    given = self._add_gradient(dict(batch), batch["weight"], of_turn)
                    renamed = {"loss": "loss" if turn == main else f"{turn}_loss"}
                    all_of_batch.update({renamed.get(name, name): value.detach() for name, value in given.items()})
                self._update_weights(optimizer)
        for batch, all_of_batch in zip(batches, losses, strict=True):
            self._means.add(all_of_batch, batch["weight"])

    @contextmanager
    def _only(self, turn: str) -> Iterator[None]:
        """Compute gradients for the weights of one turn alone while it is open."""
        others = [weight for name, group in self.groups.items() if name != turn for weight in group]
        for weight in others:
            weight.requires_grad_(False)
        try:
            yield
        finally:
            for weight in others:
                weight.requires_grad_(True)
