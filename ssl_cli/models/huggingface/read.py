"""Reader of transformers checkpoints: BERT, RoBERTa, GPT-2, GPT-NeoX, BART, T5, and what `write` exports."""

from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.errors import InputError
from ssl_cli.models.heads import MaskedLMHead, PairHead
from ssl_cli.models.huggingface.config import is_tied, read_config, transformer_options
from ssl_cli.models.huggingface.convert import check_shapes, from_hf
from ssl_cli.models.huggingface.files import CONFIG, checkpoint_folder, read_tensors
from ssl_cli.models.huggingface.parameter_map import (
    FAMILIES,
    Family,
    ParameterMapping,
    head_mappings,
    network_mappings,
    pair_mappings,
)
from ssl_cli.models.huggingface.pretrained import Pretrained
from ssl_cli.models.huggingface.read_seq2seq import read_seq2seq
from ssl_cli.models.huggingface.seq2seq_map import SEQ2SEQ_FAMILIES
from ssl_cli.models.huggingface.tensor_names import normalize_names
from ssl_cli.models.transformer import Transformer

BUFFERS = ("position_ids", "token_type_ids", "attn.bias", "attention.bias", "masked_bias", "inv_freq")  # no weights


def read_pretrained(init: str) -> Pretrained:
    """Read a checkpoint from a local folder or the hub. Raises InputError if it is missing or not supported."""
    folder = checkpoint_folder(init)
    config = read_config(folder)
    kind = config["model_type"]
    if kind in SEQ2SEQ_FAMILIES:
        return read_seq2seq(folder, config, read_tensors(folder))
    family = FAMILIES[kind]
    options, position_offset = transformer_options(folder / CONFIG, config)
    has_table = {"position_table": options["positions"] == "learned", "segment_table": options["segments"] > 0}
    absent_tables = {name for name, has in has_table.items() if not has}
    table = f"{family.tables['token_table']}.weight"
    tensors, unused = normalize_names(read_tensors(folder), table, family.trunk, folder)
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
                converted[mapping.name] = from_hf(mapping, tensors, folder, heads)
        yield module, {} if lacking else converted, lacking if has_any else None


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
    check_shapes(folder, model, weights)
