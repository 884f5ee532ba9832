"""Files of a transformers checkpoint: a local folder or a download from the hub, and the tensors in it."""

import json
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ssl_cli.data.io.hub import hub_access
from ssl_cli.data.io.hub_errors import describe_hub_error
from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError

CONFIG, SAFETENSORS, PYTORCH_BIN = "config.json", "model.safetensors", "pytorch_model.bin"
GENERATION_CONFIG = "generation_config.json"
MAX_SHARING = 4  # bytes of tensors for each byte of their file
DOWNLOAD_PATTERNS = ["*.json", "*.txt", "*.model", "model*.safetensors"]


def checkpoint_folder(init: str) -> Path:
    """Return a local folder, or the download of a Hugging Face hub id such as google-bert/bert-base-uncased.

    Raises InputError if there is neither.
    """
    folder = Path(init).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(f"init={init} is a file: give the folder that contains it.")
    if init.startswith((".", "/", "~")) or init.count("/") > 1:
        raise InputError(f"init={init}: there is no such folder.")
    return _download(init)


def _download(name: str) -> Path:
    from huggingface_hub import snapshot_download  # imported here because it takes long and is rarely needed

    try:
        with hub_access(name):
            folder = Path(snapshot_download(name, allow_patterns=DOWNLOAD_PATTERNS))
            if not any(folder.glob("*.safetensors")):
                pickles = f"{Path(PYTORCH_BIN).stem}*.bin"
                folder = Path(snapshot_download(name, allow_patterns=[*DOWNLOAD_PATTERNS, pickles]))
    except Exception as error:  # the hub, the network and the disk fail in many ways
        raise InputError(
            f"init={name} is not a local folder, and can't be downloaded: {describe_hub_error(error)}. "
            "Give the hub id of a model, or the path of a folder with its files."
        ) from error
    return folder


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Read the named tensors of model.safetensors or pytorch_model.bin, in one file or in shards.

    Raises InputError if the files are missing, damaged, or would run code.
    """
    for name in (SAFETENSORS, PYTORCH_BIN):
        if (folder / name).is_file():
            return read_tensor_file(folder / name)
        if (folder / f"{name}.index.json").is_file():
            tensors: dict[str, Tensor] = {}
            for path in _shards(folder / f"{name}.index.json"):
                tensors |= read_tensor_file(path)
            return tensors
    raise InputError(f"{folder} has no weights: it must hold {SAFETENSORS} or {PYTORCH_BIN}.")


def _shards(index: Path) -> Iterator[Path]:
    """Yield the files that an index names. Raises InputError if one is missing or outside the index's folder."""
    weight_map = read_state(index).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(name, str) for name in weight_map.values()):
        raise InputError(f"{index} is damaged: it must have a weight_map that names files.")
    for name in sorted(set(weight_map.values())):
        if Path(name).name != name:
            raise InputError(f"{index} names {name}, which isn't in its folder.")
        if not (index.parent / name).is_file():
            raise InputError(f"{index.parent} lacks {name}, which {index.name} names: download it again.")
        yield index.parent / name


def read_tensor_file(path: Path) -> dict[str, Tensor]:
    """Read the named tensors of one file; half precision becomes float32.

    Raises InputError if it is damaged, or would run code.
    """
    try:
        tensors = load_file(path) if path.suffix == ".safetensors" else _unpickle(path)
    except InputError:
        raise
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        reason = (str(error).splitlines() or ["it is cut off"])[0][:300].rstrip(".")
        raise InputError(f"{path} is damaged: {reason}.") from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


def _unpickle(path: Path) -> dict[str, Tensor]:
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is damaged, or holds more than weights, which might run code when it is read: "
            f"use a copy that is saved as {SAFETENSORS}."
        ) from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise InputError(f"{path} must hold named tensors, and nothing else.")
    # Views may share their numbers, as tied matrices do: in a hostile file, a few bytes seem to be terabytes.
    n_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    is_dense = all(tensor.layout == torch.strided for tensor in tensors.values())
    if not is_dense or n_bytes > MAX_SHARING * path.stat().st_size:
        raise InputError(f"{path} is damaged: its tensors are sparse, or far larger than the file.")
    return tensors


def write_json(path: Path, content: dict) -> None:
    """Write a JSON file in the format of transformers' own."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def write_tensors(folder: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str] | None = None) -> None:
    """Write model.safetensors, with more entries in its header. Raises OSError if it can't be written, as to a full
    disk."""
    try:
        contiguous = {name: tensor.contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, folder / SAFETENSORS, metadata={"format": "pt", **(header or {})})
    except SafetensorError as error:
        reason = str(error).removeprefix("Error while serializing: ").removeprefix("I/O error: ")
        raise OSError(None, reason, str(folder / SAFETENSORS)) from error
