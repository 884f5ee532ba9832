"""Names of a checkpoint's tensors without what wrappers and old versions made of them."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ssl_cli.errors import InputError


def normalize_names(
    tensors: Mapping[str, Tensor], table: str, trunk: str, folder: Path
) -> tuple[dict[str, Tensor], list[str]]:
    """Remove the prefixes of wrappers and of the trunk, and replace the old names of norm parameters.

    `table` is the token embeddings' name without prefixes. The trunk's prefix is there only beside a head. Returns also
    the names that lie outside of the wrapper.
    """
    suffixes = {".gamma": ".weight", ".beta": ".bias"}
    renamed, wrapper = {}, _wrapper(tensors, table, trunk, folder)
    for name, tensor in tensors.items():
        if name.startswith(wrapper):
            name = name.removeprefix(wrapper)
            for old, new in suffixes.items():
                name = name.removesuffix(old) + new if name.endswith(old) else name
            renamed[name.removeprefix(trunk)] = tensor
    return renamed, [name for name in tensors if not name.startswith(wrapper)]


def _wrapper(tensors: Mapping[str, Tensor], table: str, trunk: str, folder: Path) -> str:
    """Return the prefix that a module around the model gave all its names, such as `module.` or `_orig_mod.`.

    Raises InputError if the file holds several such models.
    """
    prefixes = sorted(name.removesuffix(table) for name in tensors if name == table or name.endswith(f".{table}"))
    if not prefixes or {"", trunk} & {*prefixes}:
        return ""
    if len(prefixes) > 1:
        raise InputError(f"{folder} holds several models: {', '.join(prefixes)}. Save the weights of one of them.")
    return prefixes[0].removesuffix(trunk)
