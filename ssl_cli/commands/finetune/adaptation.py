"""Adaptation of a pretrained network: frozen layers, LoRA, learning rates by depth, reinitialized blocks."""

import re
from dataclasses import dataclass
from typing import Literal

from torch import nn

from ssl_cli.errors import InputError
from ssl_cli.methods.supervised.head import SupervisedHead
from ssl_cli.models.lora import add_adapters, merge_adapters

BLOCK = re.compile(r"network\.blocks\.(\d+)\.")
EMBEDDINGS = (
    *("network.token_table.", "network.position_table.", "network.segment_table.", "network.first_norm."),
    *("network.relative_table.", "network.project.", "network.mask_vector"),
)


@dataclass(frozen=True)
class Adaptation:
    """Options of how a pretrained model is adapted to its task. Blocks are counted from the bottom."""

    freeze: int | Literal["embeddings", "encoder"] | None = None
    layer_decay: float | None = None
    reinit: int = 0
    lora: int | None = None

    def check_options(self, from_scratch: bool) -> None:
        """Raise InputError for options that contradict each other, or would leave random weights untrained."""
        is_set = {"freeze": self.freeze is not None, "reinit": bool(self.reinit), "lora": self.lora is not None}
        options = [name for name, is_used in is_set.items() if is_used]
        if from_scratch and options:
            raise InputError(f"{options[0]} needs a pretrained model: with init=none all weights are random.")
        if self.lora is not None and len(options) > 1:
            other = next(name for name in options if name != "lora")
            raise InputError(
                f"lora trains only adapters and the head, so {other} contradicts it: set only one of them."
            )
        if self.reinit and self.freeze == "encoder":
            raise InputError(
                "reinit makes the top blocks random, and freeze=encoder keeps them so: set only one of them."
            )

    def prepare(self, model: SupervisedHead) -> None:
        """Prepare a model with loaded weights for training. Raises InputError if the network has too few blocks."""
        n_blocks = model.network.layers
        for name, value in (("reinit", self.reinit), ("freeze", self.freeze)):
            if isinstance(value, int) and value > n_blocks:
                raise InputError(f"{name}={value}: the network has {n_blocks} blocks.")
        if isinstance(self.freeze, int) and self.reinit and self.freeze + self.reinit > n_blocks:
            raise InputError(
                f"freeze={self.freeze} and reinit={self.reinit} would freeze random weights: the network has "
                f"{n_blocks} blocks."
            )
        if self.reinit:
            model.network.reinitialize_top(self.reinit)
        if self.lora:
            add_adapters(model.network, self.lora)
        depths = {name: depth_of(name, n_blocks) for name, _ in model.named_parameters()}
        for name, weight in model.named_parameters():
            if depths[name] <= self._frozen_depth(n_blocks):
                weight.requires_grad_(False)
        if self.layer_decay is not None:
            model.lr_scales = {name: self.layer_decay ** (n_blocks + 1 - depth) for name, depth in depths.items()}

    def _frozen_depth(self, n_blocks: int) -> int:
        """Return the depth up to which weights are frozen; -1: none."""
        if self.freeze == "encoder":
            return n_blocks
        return {"embeddings": 0, None: -1}.get(self.freeze, self.freeze)  # type: ignore[arg-type,return-value]

    def finish(self, model: SupervisedHead) -> None:
        """Merge the adapters after training and unfreeze all weights."""
        merge_adapters(model.network)
        model.requires_grad_()


def depth_of(name: str, n_blocks: int) -> int:
    """Return the depth of a weight: 0 for the embeddings, 1 for the lowest block, n_blocks + 1 for what is above the
    last (arXiv 2003.10555)."""
    if name.startswith(EMBEDDINGS):
        return 0
    block = BLOCK.match(name)
    if block:
        return int(block[1]) + 1
    return n_blocks if name.startswith("network.last_norm.") else n_blocks + 1


def n_trained(model: nn.Module) -> tuple[int, int]:
    """Return the number of trainable parameters and of all."""
    sizes = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    return sum(size for size, is_trainable in sizes if is_trainable), sum(size for size, _ in sizes)
