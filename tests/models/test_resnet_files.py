"""Files of ResNets: what they tell of the network, what is refused, and what is written."""

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from ssl_cli.errors import InputError
from ssl_cli.models.resnet import ResNet
from ssl_cli.models.resnet_files import options_of, published_name, read_resnet, write_resnet

OPTIONS = {"widths": [4, 6, 8], "depths": [2, 1, 1], "block": "basic"}


def network(**options: Any) -> ResNet:
    torch.manual_seed(0)
    return ResNet([3, 32, 32], **{"widths": [4, 6, 8], "depths": [2, 1, 1], "stem": "7x7/2"} | options)


@pytest.mark.parametrize(
    "options", [{}, {"block": "bottleneck"}, {"stem": "3x3"}, {"stem": "3x3/2"}, {"depths": [1, 3, 2]}]
)
def test_a_file_that_was_written_tells_all_of_its_network(tmp_path: Path, options: dict[str, Any]) -> None:
    written = network(**options)
    write_resnet(tmp_path, written)
    tensors, found = read_resnet(tmp_path / "model.safetensors")
    assert found == {name: value for name, value in written.options.items() if name != "shape"} | {"channels": 3}
    own = written.state_dict()
    assert tensors.keys() == own.keys() and all(torch.equal(tensors[name], own[name]) for name in own)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert file.metadata()["format"] == "pt"  # which transformers and others ask for


@pytest.mark.parametrize("prefix", ["", "module.", "module.encoder."])
def test_a_file_of_torch_is_read_without_its_wrapper_and_old_ones_lack_counters(tmp_path: Path, prefix: str) -> None:
    weights = {f"{prefix}{name}": value for name, value in network().state_dict().items() if "num_batches" not in name}
    weights[f"{prefix}fc.weight"] = torch.zeros(10, 8)
    torch.save(OrderedDict(weights), tmp_path / "resnet.pth")
    tensors, options = read_resnet(tmp_path / "resnet.pth")
    assert options == OPTIONS | {"stem": "7x7/2", "channels": 3}
    assert "fc.weight" in tensors and torch.equal(tensors["bn1.weight"], network().bn1.weight)


def test_the_shapes_do_not_tell_the_stride_of_a_small_stem() -> None:
    assert options_of(network(stem="3x3").state_dict()) == OPTIONS | {"channels": 3}


@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        ({"net.0.weight": torch.zeros(3)}, "holds no ResNet with torchvision's names, but net.0.weight."),
        ({}, "holds no ResNet with torchvision's names, but nothing."),
        ({f"{of}.layer1.0.conv1.weight": torch.zeros(1) for of in "qk"}, "holds several models: k., q."),
        ({"conv1.weight": torch.full((4, 3, 7, 7), torch.nan), "layer1.0.conv1.weight": torch.zeros(4, 4, 3, 3)},
         "conv1.weight holds NaN or infinite numbers"),
        ({"conv1.weight": torch.zeros(4, 3, 7, 7, dtype=torch.int8), "layer1.0.conv1.weight": torch.zeros(4, 4, 3, 3)},
         "conv1.weight as int8: only real numbers are read"),
    ],
)  # fmt: skip
def test_what_is_no_resnet_is_refused(tmp_path: Path, weights: dict[str, torch.Tensor], sentence: str) -> None:
    save_file(weights, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=sentence):
        read_resnet(tmp_path / "other.safetensors")


class Code:
    """What a hostile file would hold."""


def test_a_file_that_holds_more_than_weights_is_refused(tmp_path: Path) -> None:
    torch.save({"conv1.weight": Code()}, tmp_path / "code.pth")
    with pytest.raises(InputError, match="holds more than weights, which might run code"):
        read_resnet(tmp_path / "code.pth")
    torch.save({"epoch": 3, "state_dict": network().state_dict()}, tmp_path / "nested.pth")
    with pytest.raises(InputError, match="must hold named tensors, and nothing else"):
        read_resnet(tmp_path / "nested.pth")
    (tmp_path / "torn.safetensors").write_bytes(b"12")
    with pytest.raises(InputError, match=r"torn\.safetensors is damaged"):
        read_resnet(tmp_path / "torn.safetensors")
    with pytest.raises(
        InputError, match=r"notes.txt is no file of weights, which ends in .safetensors, .pth, .pt or .bin"
    ):
        read_resnet(tmp_path / "notes.txt")


def test_the_name_that_torchvision_has_for_a_shape() -> None:
    with torch.device("meta"):
        shape: dict[str, Any] = {"widths": [64, 128, 256, 512], "depths": [2, 2, 2, 2]}
        assert published_name(network(**shape)) == "resnet18"
        assert published_name(network(**shape | {"depths": [3, 4, 6, 3], "block": "bottleneck"})) == "resnet50"
        assert published_name(network(**shape | {"stem": "3x3"})) is None
        assert published_name(network(**shape | {"depths": [2, 2, 2, 1]})) is None
    assert published_name(network()) is None
