"""What of a network is trained, and how fast: frozen parts, adapters, rates that fall with depth, blocks anew."""

import re
from dataclasses import dataclass
from typing import Literal

from torch import nn

from ssl_cli.errors import InputError
from ssl_cli.methods.supervised.head import SupervisedHead
from ssl_cli.models.lora import add_adapters, merge_adapters

BLOCK = re.compile(r"network\.blocks\.(\d+)\.")
EMBEDDINGS = ("network.token_table.", "network.position_table.", "network.segment_table.", "network.first_norm.")


@dataclass(frozen=True)
class Adaptation:
    """How a pretrained model is fitted to its task. Blocks are counted from the bottom."""

    freeze: int | Literal["embeddings", "encoder"] | None = None
    layer_decay: float | None = None
    reinit: int = 0
    lora: int | None = None

    def refuse_contradictions(self, from_scratch: bool) -> None:
        """Raise InputError for what would leave random weights untrained, or adapters."""
        asked = {"freeze": self.freeze is not None, "reinit": bool(self.reinit), "lora": self.lora is not None}
        given = [name for name, is_asked in asked.items() if is_asked]
        if from_scratch and given:
            raise InputError(f"{given[0]} is for a pretrained start: with init=none all weights are random.")
        if self.lora is not None and len(given) > 1:
            other = next(name for name in given if name != "lora")
            raise InputError(f"lora trains adapters and the head alone, so {other} contradicts it: leave one out.")
        if self.reinit and self.freeze == "encoder":
            raise InputError("reinit makes the top blocks random, and freeze=encoder keeps them so: leave one out.")

    def prepare(self, model: SupervisedHead) -> None:
        """Before training, once its weights are in. Raises InputError where the network has too few blocks."""
        n_blocks = model.network.layers
        for name, asked in (("reinit", self.reinit), ("freeze", self.freeze)):
            if isinstance(asked, int) and asked > n_blocks:
                raise InputError(f"{name}={asked}: the network has {n_blocks} blocks.")
        if isinstance(self.freeze, int) and self.reinit and self.freeze + self.reinit > n_blocks:
            raise InputError(
                f"freeze={self.freeze} and reinit={self.reinit} would freeze random weights: the network has "
                f"{n_blocks} blocks."
            )
        if self.reinit:
            model.network.restart(self.reinit)
        if self.lora:
            add_adapters(model.network, self.lora)
        depth = {name: depth_of(name, n_blocks) for name, _ in model.named_parameters()}
        for name, weight in model.named_parameters():
            if depth[name] <= self._frozen_to(n_blocks):
                weight.requires_grad_(False)
        if self.layer_decay is not None:
            model.lr_scales = {name: self.layer_decay ** (n_blocks + 1 - deep) for name, deep in depth.items()}

    def _frozen_to(self, n_blocks: int) -> int:
        """Up to which depth nothing is trained"""
        if self.freeze == "encoder":
            return n_blocks
        return {"embeddings": 0, None: -1}.get(self.freeze, self.freeze)  # type: ignore[arg-type,return-value]

    def finish(self, model: SupervisedHead) -> None:
        """After training: a plain model again."""
        merge_adapters(model.network)
        model.requires_grad_()


def depth_of(name: str, n_blocks: int) -> int:
    """0 for the embeddings, 1 for the lowest block, n_blocks + 1 for what is above the last (arXiv 2003.10555)"""
    if name.startswith(EMBEDDINGS):
        return 0
    block = BLOCK.match(name)
    if block:
        return int(block[1]) + 1
    return n_blocks if name.startswith("network.last_norm.") else n_blocks + 1


def n_trained(model: nn.Module) -> tuple[int, int]:
    """Numbers that are trained, and all there are"""
    sizes = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    return sum(size for size, learns in sizes if learns), sum(size for size, _ in sizes)
