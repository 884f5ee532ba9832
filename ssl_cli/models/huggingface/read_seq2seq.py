"""Reader of transformers' encoder-decoders: BART and T5."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ssl_cli.errors import InputError
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.huggingface.convert import check_shapes, from_hf
from ssl_cli.models.huggingface.files import CONFIG
from ssl_cli.models.huggingface.parameter_map import ParameterMapping
from ssl_cli.models.huggingface.pretrained import Pretrained
from ssl_cli.models.huggingface.seq2seq_config import logits_scale, seq2seq_options
from ssl_cli.models.huggingface.seq2seq_map import SEQ2SEQ_FAMILIES, Seq2SeqFamily, seq2seq_mappings
from ssl_cli.models.huggingface.tensor_names import normalize_names

OUTPUT_BIAS = "final_logits_bias"


def read_seq2seq(folder: Path, config: Mapping[str, Any], stored: Mapping[str, Tensor]) -> Pretrained:
    """Return a checkpoint, given its config.json and its tensors. Raises InputError if they do not fit each other."""
    kind = config["model_type"]
    family = SEQ2SEQ_FAMILIES[kind]
    options = seq2seq_options(folder / CONFIG, config)
    tensors, unused = normalize_names(stored, _table_name(stored, family), family.trunk, folder)
    _check_no_output_bias(folder, tensors)
    table = _token_table(folder, tensors, family)
    options["tied_output"] = _is_tied(folder, config, tensors, family, table)
    weights = {"encoder.token_table.weight": table}
    known = {*family.tables, family.output}
    for mapping in seq2seq_mappings(family, options, logits_scale(config, options["width"])):
        if missing := [name for name in mapping.hf_names if name not in tensors]:
            raise InputError(f"{folder} is damaged: its weights lack {missing[0]}, which its {CONFIG} requires.")
        weights[mapping.name] = from_hf(mapping, tensors, folder)
        known |= {*mapping.hf_names}
    with torch.device("meta"):
        check_shapes(folder, EncoderDecoder(**options), weights)
    unused += [name for name in tensors if name not in known and not name.endswith(family.unread)]
    return Pretrained(folder, kind, options, {f"network.{name}": weights[name] for name in weights}, set(), {}, unused)


def _table_name(stored: Mapping[str, Tensor], family: Seq2SeqFamily) -> str:
    """Return the name of the token embeddings that the file has, without prefixes."""
    return next((table for table in family.tables if any(name.endswith(table) for name in stored)), family.tables[0])


def _token_table(folder: Path, tensors: Mapping[str, Tensor], family: Seq2SeqFamily) -> Tensor:
    """Return the token embeddings. Raises InputError if encoder and decoder have different ones."""
    names = [name for name in family.tables if name in tensors]
    if not names:
        raise InputError(f"{folder} is damaged: its weights lack {family.tables[0]}, which its {CONFIG} requires.")
    first, *others = (from_hf(ParameterMapping("", (name,)), tensors, folder) for name in names)
    if not all(torch.equal(first, other) for other in others):
        raise InputError(f"{folder} has separate token embeddings for encoder and decoder: not supported.")
    return first


def _is_tied(
    folder: Path, config: Mapping[str, Any], tensors: Mapping[str, Tensor], family: Seq2SeqFamily, table: Tensor
) -> bool:
    """Return whether the token embeddings are the output matrix: it is not there, or the same."""
    if family.output in tensors:
        return torch.equal(tensors[family.output], table)
    # T5's newer configs always say that it is tied, and transformers takes it so.
    if config["model_type"] != "t5" and config.get("tie_word_embeddings") is False:
        raise InputError(f"{folder} is damaged: its weights lack the output matrix {family.output}.")
    return True


def _check_no_output_bias(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    if OUTPUT_BIAS in tensors and tensors[OUTPUT_BIAS].any():
        raise InputError(f"{folder} has a {OUTPUT_BIAS} that is not 0: an output with a bias is not supported.")
