"""A checkpoint of transformers, read into our models: BERT, RoBERTa, GPT-2, and what we write ourselves."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.errors import InputError
from ssl_cli.models.heads import MaskedHead, PairHead
from ssl_cli.models.huggingface.config import is_tied, options_of, read_config
from ssl_cli.models.huggingface.files import CONFIG, checkpoint_folder, read_tensors
from ssl_cli.models.huggingface.parameter_map import FAMILIES, Family, ModulePart, head_parts, network_parts, pair_parts
from ssl_cli.models.transformer import Transformer


@dataclass
class Pretrained:
    """A checkpoint, as an objective takes it.

    `options` are the shape, as arguments of Transformer; `weights` are named as in an objective that has `network`,
    `head` and `pair_head`; `absent` are those of the three that the checkpoint lacks. `pool` is the first layer of
    `pair_head`, which may be there alone.
    """

    folder: Path
    family: str
    options: dict[str, Any]
    weights: dict[str, Tensor]
    absent: set[str]

    @property
    def is_causal(self) -> bool:
        """Whether it guesses the next token: a model for CausalLM, and otherwise one for MaskedLM."""
        return self.options["causal"]

    def load_into(self, objective: nn.Module) -> list[str]:
        """Fill the weights of an objective; gives sentences on its parts that start fresh, since they are absent here.

        Its context may be shorter than the checkpoint's. Raises InputError where its shape is another.
        """
        network = objective.network
        assert isinstance(network, Transformer)
        self._refuse_other_kind(network)
        mine = dict(objective.named_parameters())
        for name, tensor in self._fitted(network).items():
            if name in mine:
                self._fill(name, mine[name], tensor)
        owned = {name.split(".")[0] for name in mine}
        return [
            f"{self.folder} has no {WORDS[part]}: its trunk is taken, and this head starts fresh."
            for part in sorted(owned & self.absent)
        ]

    def _refuse_other_kind(self, network: Transformer) -> None:
        """What shapes alone don't show."""
        for name in ("causal", "norm", "positions", "layers", "heads", "activation", "norm_eps"):
            mine, wanted = getattr(network, name), self.options[name]
            if mine != wanted:
                raise InputError(f"{self.folder} is a model of {name}={wanted}, and this one has {name}={mine}.")

    def _fitted(self, network: Transformer) -> dict[str, Tensor]:
        """The weights, with as many positions as the network has; and the first segment in them, if it has none."""
        weights = dict(self.weights)
        segments = weights.get("network.segment_table.weight")
        if network.position_table is not None:
            table = weights["network.position_table.weight"][: network.context]
            if segments is not None and network.segment_table is None:
                table = table + segments[0]
            weights["network.position_table.weight"] = table
        return weights

    def _fill(self, name: str, mine: nn.Parameter, tensor: Tensor) -> None:
        if mine.shape != tensor.shape:
            raise InputError(
                f"{self.folder} has {name} of {_shape(tensor)}, and this model of {_shape(mine)}: take the "
                "checkpoint's own vocabulary and shape, and no longer context."
            )
        with torch.no_grad():
            mine.copy_(tensor)


WORDS = {"head": "head for masked tokens", "pair_head": "head for pairs of texts"}


def read_pretrained(init: str) -> Pretrained:
    """A local folder or an id of the hub. Raises InputError where there is no checkpoint that is understood."""
    folder = checkpoint_folder(init)
    config = read_config(folder)
    kind = config["model_type"]
    family = FAMILIES[kind]
    options, skipped = options_of(folder / CONFIG, config)
    tables = {"position_table": options["positions"] == "learned", "segment_table": options["segments"] > 0}
    found = _renamed(read_tensors(folder), family)
    parts = {
        "network": network_parts(family, options["layers"], skipped, {name for name, has in tables.items() if not has}),
        "head": head_parts(family),
        "pair_head": pair_parts(family),
    }
    weights: dict[str, Tensor] = {}
    absent = set()
    for name, tensors in _by_part(parts, found, folder, options["heads"]):
        weights |= {f"{name}.{ours}": tensor for ours, tensor in tensors.items()}
        absent |= set() if tensors else {name}
    # A pooler without the head for pairs above it, as checkpoints for sentence embeddings have.
    pooler = [
        ModulePart(part.ours.removeprefix("pool."), part.theirs) for part in pair_parts(family) if "pool." in part.ours
    ]
    for _, tensors in _by_part({"pool": pooler}, found, folder, options["heads"]):
        weights |= {f"pool.{ours}": tensor for ours, tensor in tensors.items()}
    _refuse_other_output(folder, family, found, needed=options["causal"] and not is_tied(config))
    _refuse_other_shapes(folder, options, weights)
    return Pretrained(folder, kind, options, weights, absent)


# --- tensors ---


def _renamed(found: dict[str, Tensor], family: Family) -> dict[str, Tensor]:
    """Without the trunk's name, which is there only beside a head; and with today's names of a norm's parts."""
    ends = {".gamma": ".weight", ".beta": ".bias"}
    renamed = {}
    for name, tensor in found.items():
        for old, new in ends.items():
            name = name.removesuffix(old) + new if name.endswith(old) else name
        renamed[name.removeprefix(family.trunk)] = tensor
    return renamed


def _by_part(
    parts: Mapping[str, Iterable[ModulePart]], found: dict[str, Tensor], folder: Path, heads: int
) -> Iterable[tuple[str, dict[str, Tensor]]]:
    """Part of an objective -> its tensors by our names; none of a head that isn't there as a whole"""
    for name, listed in parts.items():
        made: dict[str, Tensor] = {}
        for part in listed:
            lacking = [theirs for theirs in part.theirs if theirs not in found]
            if lacking and name == "network":
                raise InputError(f"{folder} is damaged: its weights lack {lacking[0]}, which its {CONFIG} asks for.")
            if lacking:
                made = {}
                break
            made[part.ours] = _made(part, found, folder, heads)
        yield name, made


def _made(part: ModulePart, found: dict[str, Tensor], folder: Path, heads: int) -> Tensor:
    pieces = [found[name] for name in part.theirs]
    try:
        made = torch.cat(pieces)[part.skipped :]
        if part.layout == "by_head":  # (heads, 3, D, ...) -> (3, heads, D, ...)
            made = made.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)
        return (made.T if part.layout == "turned" else made).contiguous()
    except RuntimeError as error:
        shapes = ", ".join(map(_shape, pieces))
        raise InputError(f"{folder} is damaged: {part.theirs[0]} and its like are of {shapes}.") from error


def _refuse_other_output(folder: Path, family: Family, found: dict[str, Tensor], needed: bool) -> None:
    """Ours makes logits by the table of tokens; `needed`: theirs by a matrix that must be there."""
    table = found[f"{family.tables['token_table']}.weight"]
    output = found.get(family.output)
    if output is not None and not torch.equal(output, table):
        raise InputError(f"{folder} makes logits by a matrix other than its table of tokens: it can't be read.")
    if output is None and needed:
        raise InputError(f"{folder} makes logits by a matrix of its own, {family.output}, which its weights lack.")


def _refuse_other_shapes(folder: Path, options: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """What config.json says against what the weights are."""
    with torch.device("meta"):
        network = Transformer(**options)
        modules: dict[str, Callable[[Transformer], nn.Module]] = {"head": MaskedHead, "pair_head": PairHead}
        whole = nn.ModuleDict({"network": network} | {name: make(network) for name, make in modules.items()})
    for name, wanted in whole.state_dict().items():
        if name in weights and weights[name].shape != wanted.shape:
            raise InputError(
                f"{folder}: by its {CONFIG} {name} should be of {_shape(wanted)}, and its weights have it of "
                f"{_shape(weights[name])}."
            )


def _shape(tensor: Tensor) -> str:
    return " x ".join(f"{size:,}" for size in tensor.shape) or "one number"
