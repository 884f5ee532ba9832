"""The files of a checkpoint of transformers: where they are had from, and the tensors in them."""

import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ssl_cli.data.io.hub_errors import in_words
from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError

CONFIG, SAFE, PICKLED = "config.json", "model.safetensors", "pytorch_model.bin"
FROM_HUB = ["*.json", "*.txt", "*.model", "model*.safetensors"]  # what is downloaded


def checkpoint_folder(init: str) -> Path:
    """A local folder, or what the Hugging Face hub has under an id such as google-bert/bert-base-uncased.

    Raises InputError where there is neither.
    """
    folder = Path(init).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise InputError(f"init={init} is a file: name the folder that it lies in.")
    if init.startswith((".", "/", "~")) or init.count("/") > 1:
        raise InputError(f"init={init}: there is no such folder.")
    return _from_hub(init)


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download  # takes long to import, and is needed here only

    try:
        folder = Path(snapshot_download(name, allow_patterns=FROM_HUB))
        if not any(folder.glob("*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=[*FROM_HUB, f"{Path(PICKLED).stem}*.bin"]))
    except Exception as error:  # the hub, the network and the disk fail in many ways
        raise InputError(f"init={name} is no folder here, and can't be had from the hub: {in_words(error)}.") from error
    return folder


def read_tensors(folder: Path) -> dict[str, Tensor]:
    """Name -> tensor: of model.safetensors or pytorch_model.bin, whole or in several files.

    Raises InputError where there are none, or they are damaged, or would run code.
    """
    for name in (SAFE, PICKLED):
        if (folder / name).is_file():
            return _read(folder / name)
        if (folder / f"{name}.index.json").is_file():
            tensors: dict[str, Tensor] = {}
            for path in _shards(folder / f"{name}.index.json"):
                tensors |= _read(path)
            return tensors
    raise InputError(f"{folder} has no weights: it must hold {SAFE} or {PICKLED}.")


def _shards(index: Path) -> Iterator[Path]:
    listed = read_state(index).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
        raise InputError(f"{index} is damaged: it must have a weight_map that names files.")
    for name in sorted(set(listed.values())):
        if Path(name).name != name:
            raise InputError(f"{index} names {name}, which isn't in its folder.")
        if not (index.parent / name).is_file():
            raise InputError(f"{index.parent} lacks {name}, which {index.name} names: download it again.")
        yield index.parent / name


def _read(path: Path) -> dict[str, Tensor]:
    try:
        found = load_file(path) if path.suffix == ".safetensors" else _unpickled(path)
    except (SafetensorError, OSError, RuntimeError, EOFError, ValueError) as error:
        reason = (str(error).splitlines() or ["it is cut off"])[0][:300].rstrip(".")
        raise InputError(f"{path} is damaged: {reason}.") from error
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}


def _unpickled(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} is damaged or holds more than weights, which might run code when it is read: "
            f"have it saved as {SAFE}."
        ) from error
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise InputError(f"{path} must hold a model's tensors by name, and nothing else.")
    return found


def write_json(path: Path, content: dict) -> None:
    """As transformers writes its own."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")
