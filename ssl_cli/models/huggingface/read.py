"""Reader of transformers checkpoints: BERT, RoBERTa, GPT-2, GPT-NeoX, and what `write` exports."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.errors import InputError
from ssl_cli.models.heads import MaskedLMHead, PairHead
from ssl_cli.models.huggingface.config import is_tied, read_config, transformer_options
from ssl_cli.models.huggingface.files import CONFIG, checkpoint_folder, read_tensors
from ssl_cli.models.huggingface.parameter_map import (
    FAMILIES,
    Family,
    ParameterMapping,
    head_mappings,
    network_mappings,
    pair_mappings,
)
from ssl_cli.models.transformer import Transformer

BUFFERS = ("position_ids", "token_type_ids", "attn.bias", "attention.bias", "masked_bias", "inv_freq")  # no weights
HEAD_NAMES = {"head": "head for masked tokens", "pair_head": "head for pairs of texts"}


@dataclass
class Pretrained:
    """A checkpoint under the names of our language models.

    `options` are arguments of Transformer. `weights` are named as in a method with `network`, `head` and `pair_head`;
    `absent` are those of the three that the checkpoint lacks. `pool`, the first layer of `pair_head`, may be present
    without the rest of it. `unused` are names of the file that belong to none of them.
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
        return self.options["causal"]

    def load_into(self, objective: nn.Module) -> list[str]:
        """Load the weights into a method, and return a message for each of its heads that the checkpoint lacks.

        Its context may be shorter than the checkpoint's. Raises InputError if its shape differs otherwise.
        """
        network = objective.network
        assert isinstance(network, Transformer)
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

    def _check_same_architecture(self, network: Transformer) -> None:
        """Raise InputError if an option differs that the shapes of weights do not show."""
        for name in ("causal", "norm", "positions", "layers", "heads", "activation", "norm_eps"):
            value, expected = getattr(network, name), self.options[name]
            if value != expected:
                raise InputError(f"{self.folder} has {name}={expected}, but this model has {name}={value}.")

    def _adapted_weights(self, network: Transformer) -> dict[str, Tensor]:
        """Return the weights with the network's number of positions.

        If the network has no segments, the first segment's embedding is added to the positions.
        """
        weights = dict(self.weights)
        segments = weights.get("network.segment_table.weight")
        if network.position_table is not None:
            table = weights["network.position_table.weight"][: network.context]
            if segments is not None and network.segment_table is None:
                table = table + segments[0]
            weights["network.position_table.weight"] = table
        return weights

    def _load(self, name: str, parameter: nn.Parameter, tensor: Tensor) -> None:
        if parameter.shape != tensor.shape:
            raise InputError(
                f"{name} is {_format_shape(tensor)} in {self.folder}, but {_format_shape(parameter)} in this model: "
                "use the checkpoint's own vocabulary and shape, and no longer context."
            )
        with torch.no_grad():
            parameter.copy_(tensor)


def read_pretrained(init: str) -> Pretrained:
    """Read a checkpoint from a local folder or the hub. Raises InputError if it is missing or not supported."""
    folder = checkpoint_folder(init)
    config = read_config(folder)
    kind = config["model_type"]
    family = FAMILIES[kind]
    options, position_offset = transformer_options(folder / CONFIG, config)
    has_table = {"position_table": options["positions"] == "learned", "segment_table": options["segments"] > 0}
    absent_tables = {name for name, has in has_table.items() if not has}
    tensors, unused = _normalize_names(read_tensors(folder), family, folder)
    mappings = {
        "network": network_mappings(family, options["layers"], position_offset, absent_tables),
        "head": head_mappings(family, tensors),
        "pair_head": pair_mappings(family),
        "pool": _pool_mappings(family),
    }
    weights: dict[str, Tensor] = {}
    absent, lacking = set[str](), dict[str, str]()
    for module, converted, missing in _convert_modules(mappings, tensors, folder, options["heads"]):
        weights |= {f"{module}.{name}": tensor for name, tensor in converted.items()}
        absent |= set() if converted or module == "pool" else {module}
        lacking |= {module: missing} if missing else {}
    _check_output_is_tied(folder, family, tensors, needed=options["causal"] and not is_tied(config))
    _check_shapes(folder, options, weights)
    unused += _unknown_names(tensors, family, options["layers"])
    return Pretrained(folder, kind, options, weights, absent, lacking, unused)


def _pool_mappings(family: Family) -> list[ParameterMapping]:
    """Return the mappings of the pooler alone: checkpoints of sentence encoders have it without the pair head."""
    return [
        ParameterMapping(mapping.name.removeprefix("pool."), mapping.hf_names)
        for mapping in pair_mappings(family)
        if "pool." in mapping.name
    ]


# --- tensors ---


def _normalize_names(
    tensors: dict[str, Tensor], family: Family, folder: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Remove the prefixes of wrappers and of the trunk, and replace the old names of norm parameters.

    The trunk's prefix is there only beside a head. Returns also the names that lie outside of the wrapper.
    """
    suffixes = {".gamma": ".weight", ".beta": ".bias"}
    renamed, wrapper = {}, _wrapper(tensors, family, folder)
    for name, tensor in tensors.items():
        if name.startswith(wrapper):
            name = name.removeprefix(wrapper)
            for old, new in suffixes.items():
                name = name.removesuffix(old) + new if name.endswith(old) else name
            renamed[name.removeprefix(family.trunk)] = tensor
    return renamed, [name for name in tensors if not name.startswith(wrapper)]


def _wrapper(tensors: Mapping[str, Tensor], family: Family, folder: Path) -> str:
    """Return the prefix that a module around the model gave all its names, such as `module.` or `_orig_mod.`.

    Raises InputError if the file holds several such models.
    """
    table = f"{family.tables['token_table']}.weight"
    prefixes = sorted(name.removesuffix(table) for name in tensors if name == table or name.endswith(f".{table}"))
    if not prefixes or {"", family.trunk} & {*prefixes}:
        return ""
    if len(prefixes) > 1:
        raise InputError(f"{folder} holds several models: {', '.join(prefixes)}. Save the weights of one of them.")
    return prefixes[0].removesuffix(family.trunk)


def _unknown_names(tensors: Iterable[str], family: Family, layers: int) -> list[str]:
    """Return the names of tensors that no part of a model reads: of adapters, other heads, or more layers."""
    mappings = chain(network_mappings(family, layers, 0, set()), head_mappings(family), pair_mappings(family))
    known = {name for mapping in mappings for name in mapping.hf_names}
    known |= {family.output, family.output.replace(".weight", ".bias"), *family.head_bias}
    return [name for name in tensors if name not in known and not name.endswith(BUFFERS)]


def _convert_modules(
    mappings: Mapping[str, Iterable[ParameterMapping]], tensors: dict[str, Tensor], folder: Path, heads: int
) -> Iterable[tuple[str, dict[str, Tensor], str | None]]:
    """Yield each module, its tensors by our names, and what it lacks if it is there in part.

    A head that is not complete has no tensors.
    """
    for module, module_mappings in mappings.items():
        converted: dict[str, Tensor] = {}
        lacking, has_any = None, False
        for mapping in module_mappings:
            missing = [name for name in mapping.hf_names if name not in tensors]
            if missing and module == "network":
                raise InputError(f"{folder} is damaged: its weights lack {missing[0]}, which its {CONFIG} requires.")
            has_any |= not missing and not mapping.name.startswith("pool.")  # which is there without the rest too
            if missing:
                lacking = lacking or missing[0]
            else:
                converted[mapping.name] = _convert(mapping, tensors, folder, heads)
        yield module, {} if lacking else converted, lacking if has_any else None


def _convert(mapping: ParameterMapping, tensors: dict[str, Tensor], folder: Path, heads: int) -> Tensor:
    pieces = [tensors[name] for name in mapping.hf_names]
    try:
        for name, piece in zip(mapping.hf_names, pieces, strict=True):
            _check_numbers(folder, name, piece)
        whole = torch.cat(pieces)[mapping.row_offset :]
        if mapping.layout == "by_head":  # (heads, 3, D, ...) -> (3, heads, D, ...)
            whole = whole.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)
        return (whole.T if mapping.layout == "transposed" else whole).contiguous()
    except RuntimeError as error:
        names, shapes = ", ".join(mapping.hf_names), ", ".join(map(_format_shape, pieces))
        raise InputError(f"{folder} is damaged: the shapes of {names} do not fit: {shapes}.") from error


def _check_numbers(folder: Path, name: str, tensor: Tensor) -> None:
    """Raise InputError if weights are not finite real numbers: the integers of a quantized model need its scales."""
    if tensor.dtype != torch.float32:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(f"{folder} holds {name} as {kind}: only real numbers are read, and no quantized models.")
    if not torch.isfinite(tensor).all():
        raise InputError(f"{folder} is damaged: {name} holds NaN or infinite numbers.")


def _check_output_is_tied(folder: Path, family: Family, tensors: dict[str, Tensor], needed: bool) -> None:
    """Raise InputError if the output matrix differs from the token embeddings, or is missing though `needed`."""
    table = tensors[f"{family.tables['token_table']}.weight"]
    output = tensors.get(family.output)
    if output is not None and not torch.equal(output, table):
        raise InputError(f"{folder} has an output matrix that differs from its token embeddings: not supported.")
    if output is None and needed:
        raise InputError(f"{folder} is damaged: its weights lack the output matrix {family.output}.")


def _check_shapes(folder: Path, options: dict[str, Any], weights: dict[str, Tensor]) -> None:
    """Raise InputError if config.json and the weights disagree."""
    with torch.device("meta"):
        network = Transformer(**options)
        heads: dict[str, Callable[[Transformer], nn.Module]] = {"head": MaskedLMHead, "pair_head": PairHead}
        model = nn.ModuleDict({"network": network} | {name: make(network) for name, make in heads.items()})
    for name, expected in model.state_dict().items():
        if name in weights and weights[name].shape != expected.shape:
            raise InputError(
                f"{folder} is damaged: by its {CONFIG} {name} should be {_format_shape(expected)}, but it is "
                f"{_format_shape(weights[name])}."
            )


def _format_shape(tensor: Tensor) -> str:
    return " x ".join(f"{size:,}" for size in tensor.shape) or "one number"
