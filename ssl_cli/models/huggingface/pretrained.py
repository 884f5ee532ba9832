"""A checkpoint of transformers as it was read, and how it is loaded into a method."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.errors import InputError
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.huggingface.convert import format_shape
from ssl_cli.models.huggingface.seq2seq_map import SEQ2SEQ_FAMILIES
from ssl_cli.models.transformer import Transformer

HEAD_NAMES = {"head": "head for masked tokens", "pair_head": "head for pairs of texts"}
# Options that have to be the same in a network that gets the weights, whose shapes may not show them.
ARCHITECTURE = (
    *("causal", "norm", "normalization", "positions", "layers", "decoder_layers", "heads", "head_width"),
    *("activation", "norm_eps", "biases", "tied_output"),
)


@dataclass
class Pretrained:
    """A checkpoint under the names of our language models.

    `options` are arguments of Transformer, or of EncoderDecoder. `weights` are named as in a method with `network`, and
    beside a Transformer `head` and `pair_head`; `absent` are those of the three that the checkpoint lacks. `pool`, the
    first layer of `pair_head`, may be present without the rest of it. `unused` are names of the file that belong to
    none of them.
    """

    folder: Path
    family: str
    options: dict[str, Any]
    weights: dict[str, Tensor]
    absent: set[str]
    lacking: Mapping[str, str] = field(default_factory=dict)  # absent head that is there in part -> what it lacks
    unused: Sequence[str] = ()

    @property
    def is_causal(self) -> bool:
        """Whether it predicts the next token: a model for CausalLM; otherwise it is one for MaskedLM."""
        return self.options.get("causal", False)

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether it reads a source and writes a target."""
        return self.family in SEQ2SEQ_FAMILIES

    def load_into(self, objective: nn.Module) -> list[str]:
        """Load the weights into a method, and return a message for each of its heads that the checkpoint lacks.

        Its context may be shorter than the checkpoint's. Raises InputError if its shape differs otherwise.
        """
        network = objective.network
        assert isinstance(network, EncoderDecoder if self.is_encoder_decoder else Transformer)
        self._check_same_architecture(network)
        parameters = dict(objective.named_parameters())
        for name, tensor in self._adapted_weights(network).items():
            if name in parameters:
                self._load(name, parameters[name], tensor)
        modules = {name.split(".")[0] for name in parameters}
        return [
            f"{self.folder} has no {HEAD_NAMES[head]}{self._reason(head)}: the network's weights are loaded, and this "
            "head is initialized at random."
            for head in sorted(modules & self.absent)
        ]

    def _reason(self, head: str) -> str:
        return f" that is complete (it lacks {self.lacking[head]})" if head in self.lacking else ""

    def _check_same_architecture(self, network: Transformer | EncoderDecoder) -> None:
        """Raise InputError if an option differs that the shapes of weights do not show."""
        for name in ARCHITECTURE:
            value, expected = getattr(network, name, None), self.options.get(name)
            if name in self.options and value != expected:
                raise InputError(f"{self.folder} has {name}={expected}, but this model has {name}={value}.")

    def _adapted_weights(self, network: Transformer | EncoderDecoder) -> dict[str, Tensor]:
        """Return the weights with the network's number of positions.

        If the network has no segments, the first segment's embedding is added to the positions.
        """
        weights = dict(self.weights)
        for name in [name for name in weights if name.endswith("position_table.weight")]:
            weights[name] = weights[name][: network.context]
        segments = weights.get("network.segment_table.weight")
        if segments is not None and network.segments == 0 and network.positions == "learned":
            name = "network.position_table.weight"
            weights[name] = weights[name] + segments[0]
        return weights

    def _load(self, name: str, parameter: nn.Parameter, tensor: Tensor) -> None:
        if parameter.shape != tensor.shape:
            raise InputError(
                f"{name} is {format_shape(tensor)} in {self.folder}, but {format_shape(parameter)} in this model: "
                "use the checkpoint's own vocabulary and shape, and no longer context."
            )
        with torch.no_grad():
            parameter.copy_(tensor)
