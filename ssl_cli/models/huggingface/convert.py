"""Conversion of a parameter of ours from transformers' tensors, and back."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ssl_cli.errors import InputError
from ssl_cli.models.huggingface.files import CONFIG
from ssl_cli.models.huggingface.parameter_map import ParameterMapping


def from_hf(mapping: ParameterMapping, tensors: Mapping[str, Tensor], folder: Path, heads: int = 1) -> Tensor:
    """Return our parameter, made of a checkpoint's tensors. Raises InputError if they are damaged."""
    pieces = [tensors[name] for name in mapping.hf_names]
    try:
        for name, piece in zip(mapping.hf_names, pieces, strict=True):
            check_numbers(folder, name, piece)
        if mapping.scales:
            pieces = [piece * scale for piece, scale in zip(pieces, mapping.scales, strict=True)]
        whole = torch.cat(pieces)[mapping.row_offset :]
        if mapping.layout == "by_head":  # (heads, 3, D, ...) -> (3, heads, D, ...)
            whole = whole.unflatten(0, (heads, 3, -1)).transpose(0, 1).flatten(0, 2)
        return (whole.T if mapping.layout == "transposed" else whole).contiguous()
    except RuntimeError as error:
        names, shapes = ", ".join(mapping.hf_names), ", ".join(map(format_shape, pieces))
        raise InputError(f"{folder} is damaged: the shapes of {names} do not fit: {shapes}.") from error


def to_hf(mapping: ParameterMapping, tensor: Tensor, heads: int = 1) -> dict[str, Tensor]:
    """Return the transformers parameters that one of ours stands for."""
    if mapping.layout == "by_head":  # (3, heads, D, ...) -> (heads, 3, D, ...)
        tensor = tensor.unflatten(0, (3, heads, -1)).transpose(0, 1).flatten(0, 2)
    if mapping.layout == "transposed":
        tensor = tensor.T
    if mapping.row_offset:
        tensor = torch.cat([tensor.new_zeros(mapping.row_offset, *tensor.shape[1:]), tensor])
    pieces = tensor.chunk(len(mapping.hf_names))
    scales = mapping.scales or (1.0,) * len(pieces)
    named = zip(mapping.hf_names, pieces, scales, strict=True)
    return {name: (piece.clone() if scale == 1 else piece / scale).contiguous() for name, piece, scale in named}


def check_numbers(folder: Path, name: str, tensor: Tensor) -> None:
    """Raise InputError if weights are not finite real numbers: the integers of a quantized model need its scales."""
    if tensor.dtype != torch.float32:
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(f"{folder} holds {name} as {kind}: only real numbers are read, and no quantized models.")
    if not torch.isfinite(tensor).all():
        raise InputError(f"{folder} is damaged: {name} holds NaN or infinite numbers.")


def check_shapes(folder: Path, model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Raise InputError if weights have other shapes than those of a model that is built by config.json."""
    for name, expected in model.state_dict().items():
        if name in weights and weights[name].shape != expected.shape:
            raise InputError(
                f"{folder} is damaged: by its {CONFIG} {name} should be {format_shape(expected)}, but it is "
                f"{format_shape(weights[name])}."
            )


def format_shape(tensor: Tensor) -> str:
    """Return a shape such as `32 x 50`."""
    return " x ".join(f"{size:,}" for size in tensor.shape) or "one number"
