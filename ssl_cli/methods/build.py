"""Build a model from its config, and check its size and shapes before its weights take memory."""

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

MAX_UNSAVED_BYTES = 1 << 28  # of buffers that are computed and not saved, such as tables of angles


def new_model(cfg: Any) -> Any:
    """Return the untrained model of a run's config; its weights follow from the seed."""
    check_fits_memory(cfg.model)
    torch.manual_seed(cfg.seed)
    return build(cfg.model)


def check_fits_memory(node: Any) -> None:
    """Raise InputError if the tensors of a model alone exceed this machine's memory."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for module in modules_on_meta(node):
        size = sum(tensor.nbytes for _, tensor in _unique_tensors(module))
        if size > memory:
            raise InputError(
                f"The model has {size / 1e9:,.0f} GB of weights, and this machine {memory / 1e9:,.0f} GB of memory: "
                "make it smaller."
            )


def check_weight_shapes(node: Any, weights: Path) -> None:
    """Raise InputError if a file of weights does not belong to the config's model. Reads only the file's header."""
    for module in modules_on_meta(node):
        expected = {name: list(tensor.shape) for name, tensor in module.state_dict().items()}
        with safe_open(weights, "pt") as file:
            saved = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        for name, shape in saved.items():
            if expected.get(name) != shape:
                has = f"has it as {_shape(expected[name])}" if name in expected else "has none of that name"
                raise InputError(f"{weights} holds {name[:100]} of {_shape(shape)}; the config's model {has}.")
        # A tensor with two names is saved under one of them.
        n_saved = sum(math.prod(shape) for shape in saved.values())
        n_expected = sum(math.prod(expected[name]) for name, _ in _unique_tensors(module) if name in expected)
        if n_expected > n_saved:
            raise InputError(f"{weights} holds {n_saved:,} numbers; the config's model has {n_expected:,}.")
        unsaved_bytes = sum(buffer.nbytes for name, buffer in module.named_buffers() if name not in expected)
        if unsaved_bytes > max(weights.stat().st_size, MAX_UNSAVED_BYTES):
            raise InputError(
                f"{weights} is far smaller than the tables of the config's model: {unsaved_bytes / 1e6:,.0f} MB."
            )


def modules_on_meta(node: Any) -> list[nn.Module]:
    """Return the modules of a model on the meta device: their tensors have shapes, but take no memory.

    They are the model itself, or those of its parts that are modules; none if the model can't be built there. Raises
    InputError if it can't be built at all.
    """
    try:
        with torch.device("meta"):
            model: Any = build(node)
    except (RuntimeError, TypeError, OverflowError) as error:
        if "meta" in str(error):
            return []  # a class of the user's that reads values of its tensors: no class of ssl_cli does
        raise InputError(f"The model can't be built: {str(error).splitlines()[0]}.") from error
    return [part for part in (model.parts if isinstance(model, HasParts) else [model]) if isinstance(part, nn.Module)]


def _unique_tensors(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield each parameter and buffer once, by its first name."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def _shape(shape: list[int]) -> str:
    return " x ".join(f"{size:,}" for size in shape) or "one number"
