"""Adaptation of a pretrained network: frozen layers, LoRA, learning rates by depth, reinitialized blocks."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from ssl_cli.errors import InputError
from ssl_cli.methods.supervised.head import SupervisedMethod
from ssl_cli.models.encoder import Encoder
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.lora import add_adapters, merge_adapters

ENCODER, DECODER = "network.encoder.", "network.decoder."
BLOCK = re.compile(r"network\.blocks\.(\d+)\.")
STAGE = re.compile(r"network\.layer(\d+)\.")  # of a ResNet, counted from 1
EMBEDDINGS = (
    *("network.conv1.", "network.bn1."),
    *("network.token_table.", "network.position_table.", "network.segment_table.", "network.first_norm."),
    *("network.relative_table.", "network.project.", "network.mask_vector"),
)


@dataclass(frozen=True)
class Adaptation:
    """Options of how a pretrained model is adapted to its task.

    Blocks are counted from the bottom, those of a decoder after those of its encoder. A ResNet's blocks are its stages,
    and its embeddings its first convolution.
    """

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

    def prepare(self, model: SupervisedMethod) -> None:
        """Prepare a model with loaded weights for training.

        Raises InputError if the network has too few blocks, or it is no transformer and an option is for those.
        """
        self._check_is_transformer(model.network)
        stacks = stacks_of(model.network)
        layers = [stack.layers for stack in stacks]
        n_blocks = sum(layers)
        for name, value, n in (("reinit", self.reinit, layers[-1]), ("freeze", self.freeze, n_blocks)):
            if isinstance(value, int) and value > n:
                raise InputError(f"{name}={value}: the {'network' if n == n_blocks else 'decoder'} has {n} blocks.")
        if isinstance(self.freeze, int) and self.reinit and self.freeze + self.reinit > n_blocks:
            raise InputError(
                f"freeze={self.freeze} and reinit={self.reinit} would freeze random weights: the network has "
                f"{n_blocks} blocks."
            )
        if self.reinit:
            stacks[-1].reinitialize_top(self.reinit)
        if self.lora:
            model.network.requires_grad_(False)
            for stack in stacks:
                add_adapters(stack, self.lora)
        depths = {name: depth_of(name, layers) for name, _ in model.named_parameters()}
        frozen_depth = self._frozen_depth(layers[0])
        for name, weight in model.named_parameters():
            if depths[name] <= frozen_depth:
                weight.requires_grad_(False)
        if not any(weight.requires_grad for weight in model.parameters()):
            raise InputError(f"freeze={self.freeze} leaves no weight to train: freeze fewer blocks.")
        if self.layer_decay is not None:
            model.lr_scales = {name: self.layer_decay ** (n_blocks + 1 - depth) for name, depth in depths.items()}

    def _check_is_transformer(self, network: Any) -> None:
        """Raise InputError for an option of transformers, if the network is none."""
        name = "reinit" if self.reinit else "lora"
        if getattr(self, name) and not isinstance(network, Encoder | EncoderDecoder):
            raise InputError(
                f"{name}={getattr(self, name)} is for transformers, and this network is a {type(network).__name__}: "
                "leave it out, or set freeze=encoder, 1, 2, ..."
            )

    def _frozen_depth(self, n_encoder_blocks: int) -> int:
        """Return the depth up to which weights are frozen; -1: none."""
        if self.freeze == "encoder":
            return n_encoder_blocks
        return {"embeddings": 0, None: -1}.get(self.freeze, self.freeze)  # type: ignore[arg-type,return-value]

    def finish(self, model: SupervisedMethod) -> None:
        """Merge the adapters after training and unfreeze all weights."""
        for stack in stacks_of(model.network) if self.lora else ():
            merge_adapters(stack)
        model.requires_grad_()


def stacks_of(network: Any) -> list[Any]:
    """Return the stacks of blocks in a network: itself, or an encoder and the decoder above it.

    Each has `layers`, the number of its blocks.
    """
    return [network.encoder, network.decoder] if isinstance(network, EncoderDecoder) else [network]


def depth_of(name: str, layers: Sequence[int]) -> int:
    """Return the depth of a weight in stacks of so many `layers`, one above the other.

    It is 0 for the embeddings, 1 for the lowest block, and for what is above the last block their number plus 1 (arXiv
    2003.10555).
    """
    n_below = layers[0] if name.startswith(DECODER) else 0
    n_here = layers[-1] if name.startswith(DECODER) else layers[0]
    name = re.sub(f"^({DECODER}|{ENCODER})", "network.", name)
    if name.startswith(EMBEDDINGS):
        return 0
    if block := BLOCK.match(name):
        return n_below + int(block[1]) + 1
    if stage := STAGE.match(name):
        return int(stage[1])
    return n_below + n_here if name.startswith("network.last_norm.") else sum(layers) + 1


def n_trained(model: nn.Module) -> tuple[int, int]:
    """Return the number of trainable parameters and of all."""
    sizes = [(weight.numel(), weight.requires_grad) for weight in model.parameters()]
    return sum(size for size, is_trainable in sizes if is_trainable), sum(size for size, _ in sizes)
