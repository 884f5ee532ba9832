"""Files of ResNets with torchvision's names of the weights."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

from ssl_cli.errors import InputError
from ssl_cli.models.huggingface.convert import check_numbers
from ssl_cli.models.huggingface.files import read_tensor_file, write_tensors
from ssl_cli.models.huggingface.tensor_names import normalize_names
from ssl_cli.models.resnet import ResNet

SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
CLASSIFIER = "fc."
COUNTER = "num_batches_tracked"  # of a norm, which old files lack
STATISTICS = ("running_mean", "running_var", COUNTER)  # of norms: no weights
FIRST, KNOWN = "conv1.weight", "layer1.0.conv1.weight"  # names that each of them has, after the prefix of a wrapper
BLOCK = re.compile(r"layer(\d+)\.(\d+)\.")
NOTE = "resnet"  # header entry with the network's options: the shapes do not determine the stem
MAX_NAMED = 3  # tensors in a message
PUBLISHED = {  # block and depths -> torchvision's name, with widths 64, 128, 256, 512 and stem=7x7/2
    ("basic", (2, 2, 2, 2)): "resnet18",
    ("basic", (3, 4, 6, 3)): "resnet34",
    ("bottleneck", (3, 4, 6, 3)): "resnet50",
    ("bottleneck", (3, 4, 23, 3)): "resnet101",
    ("bottleneck", (3, 8, 36, 3)): "resnet152",
}


def read_resnet(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a file by torchvision's names, without the prefix of a wrapper, and the network's options.

    Raises InputError if the file is damaged, might run code, or holds no ResNet, or several.
    """
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} is no file of weights, which ends in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}.")
    tensors, _ = normalize_names(read_tensor_file(path), KNOWN, "", path)
    if not {FIRST, KNOWN} <= tensors.keys():
        raise InputError(f"{path} holds no ResNet with torchvision's names, but {some(tensors) or 'nothing'}.")
    for name, tensor in tensors.items():
        if not name.endswith(COUNTER):
            check_numbers(path, name, tensor)
    return tensors, options_of(tensors) | _noted_stem(path)


def options_of(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return the options of a ResNet that follow from the shapes: `widths`, `depths`, `block`, the `channels` of its
    images, and `stem` if it is of 7 x 7 pixels."""
    blocks = [tuple(map(int, match.groups())) for name in tensors if (match := BLOCK.match(name))]
    firsts = {stage: tensors.get(f"layer{stage}.0.conv1.weight") for stage, _ in sorted(blocks)}
    options: dict[str, Any] = {
        "widths": [len(first) for first in firsts.values() if first is not None],
        "depths": [1 + max(block for of, block in blocks if of == stage) for stage in firsts],
        "block": "bottleneck" if "layer1.0.conv3.weight" in tensors else "basic",
        "channels": tensors[FIRST].shape[1],
    }
    return options | ({"stem": "7x7/2"} if tensors[FIRST].shape[-1] == 7 else {})


def _noted_stem(path: Path) -> dict[str, Any]:
    """Return the stem that `write_resnet` noted in the header of a file, none if another program wrote it."""
    if path.suffix != ".safetensors":
        return {}
    with safe_open(path, "pt") as file:
        note = (file.metadata() or {}).get(NOTE, "{}")
    try:
        options = json.loads(note)
    except ValueError:
        return {}
    return {"stem": str(options["stem"])} if isinstance(options, dict) and "stem" in options else {}


def write_resnet(folder: Path, network: ResNet) -> None:
    """Write the weights of a network to model.safetensors. Raises OSError if they can't be written."""
    options = {name: value for name, value in network.options.items() if name != "shape"}
    write_tensors(folder, network.state_dict(), {NOTE: json.dumps(options)})


def published_name(network: ResNet) -> str | None:
    """Return torchvision's name of a network of this shape, None if it has none."""
    options = network.options
    if options["widths"] != [64, 128, 256, 512] or options["stem"] != "7x7/2" or network.shape[0] != 3:
        return None
    return PUBLISHED.get((options["block"], tuple(options["depths"])))


def some(names: Mapping[str, Tensor] | list[str]) -> str:
    """Return the first names, as text."""
    names = list(names)
    return ", ".join([*names[:MAX_NAMED], *["..."] * (len(names) > MAX_NAMED)])
