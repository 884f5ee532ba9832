"""A model without its numbers: the names and shapes of its tensors, held against a file or a machine."""

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn

from ssl_cli.config.instantiate import build
from ssl_cli.errors import InputError
from ssl_cli.methods.protocols import HasParts

SMALL = 1 << 28  # bytes of what a model makes for itself, such as tables of angles, and keeps in no file


def refuse_giant(node: Any) -> None:
    """Raise InputError for a model whose tensors alone are more than this machine's memory."""
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for module in modules(node):
        size = sum(tensor.nbytes for _, tensor in _named_once(module))
        if size > machine:
            raise InputError(
                f"The model has {size / 1e9:,.0f} GB of weights, and this machine {machine / 1e9:,.0f} GB of memory: "
                "make it smaller."
            )


def refuse_other_shapes(node: Any, weights: Path) -> None:
    """Raise InputError where a file of weights isn't of this config's model: read from its header alone."""
    for module in modules(node):
        wanted = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
        with safe_open(weights, "pt") as file:
            found = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        for name, shape in found.items():
            if wanted.get(name) != shape:
                has = f"has it as {_shape(wanted[name])}" if name in wanted else "has none of that name"
                raise InputError(f"{weights} holds {name[:100]} of {_shape(shape)}; the config's model {has}.")
        # A tensor that has two names is saved under one.
        stored = sum(math.prod(shape) for shape in found.values())
        unique = sum(math.prod(wanted[name]) for name, _ in _named_once(module) if name in wanted)
        if unique > stored:
            raise InputError(f"{weights} holds {stored:,} numbers; the config's model has {unique:,}.")
        made = sum(table.nbytes for name, table in module.named_buffers() if name not in wanted)
        if made > max(weights.stat().st_size, SMALL):
            raise InputError(f"{weights} is far smaller than the tables of the config's model: {made / 1e6:,.0f} MB.")


def modules(node: Any) -> list[nn.Module]:
    """The module that a model is, or that it has among its parts; its tensors have shapes and take no memory."""
    try:
        with torch.device("meta"):
            model: Any = build(node)
    except (RuntimeError, TypeError, OverflowError) as error:
        if "meta" in str(error):
            return []  # a user's own class that looks at its numbers: none of ours does
        raise InputError(f"The model can't be built: {str(error).splitlines()[0]}.") from error
    return [part for part in (model.parts if isinstance(model, HasParts) else [model]) if isinstance(part, nn.Module)]


def _named_once(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _shape(shape: list[int]) -> str:
    return " x ".join(f"{size:,}" for size in shape) or "one number"
