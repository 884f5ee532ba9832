"""Residual networks: shapes, names of weights as in torchvision, and outputs as in transformers."""

import pytest
import torch
from torch import Tensor

from ssl_cli.errors import InputError
from ssl_cli.models.resnet import MEAN, STD, BasicBlock, BottleneckBlock, ResNet, shortcut

WIDTHS = [64, 128, 256, 512]


def torchvisions(depths: list[int], bottleneck: bool) -> dict[str, list[int]]:
    """Return names and shapes of torchvision's weights, without its classifier `fc`, by the rule that they follow."""
    shapes: dict[str, list[int]] = {}

    def add_norm(name: str, n: int) -> None:
        shapes.update({f"{name}.{part}": [n] for part in ("weight", "bias", "running_mean", "running_var")})
        shapes[f"{name}.num_batches_tracked"] = []

    shapes["conv1.weight"] = [64, 3, 7, 7]
    add_norm("bn1", 64)
    n_in = 64
    for stage, (n, depth) in enumerate(zip(WIDTHS, depths, strict=True), start=1):
        n_out = 4 * n if bottleneck else n
        for block in range(depth):
            place = f"layer{stage}.{block}"
            convs = [(n, n_in, 1), (n, n, 3), (n_out, n, 1)] if bottleneck else [(n, n_in, 3), (n, n, 3)]
            for k, (outputs, inputs, size) in enumerate(convs, start=1):
                shapes[f"{place}.conv{k}.weight"] = [outputs, inputs, size, size]
                add_norm(f"{place}.bn{k}", outputs)
            if block == 0 and n_in != n_out:
                shapes[f"{place}.downsample.0.weight"] = [n_out, n_in, 1, 1]
                add_norm(f"{place}.downsample.1", n_out)
            n_in = n_out
    return shapes


@pytest.mark.parametrize(
    ("depths", "block", "n_weights"),  # published sizes: 11,689,512 and 25,557,032, with classifiers of 1000 classes
    [([2, 2, 2, 2], "basic", 11_689_512 - 1000 * 513), ([3, 4, 6, 3], "bottleneck", 25_557_032 - 1000 * 2049)],
)
def test_weights_are_those_of_torchvisions_resnet_18_and_50(depths: list[int], block: str, n_weights: int) -> None:
    with torch.device("meta"):
        network = ResNet([3, 224, 224], WIDTHS, depths, "7x7/2", block)  # type: ignore[arg-type]
    own = {name: list(value.shape) for name, value in network.state_dict().items()}
    assert own == torchvisions(depths, block == "bottleneck")
    assert sum(value.numel() for value in network.parameters()) == n_weights
    assert network.width == (2048 if block == "bottleneck" else 512)


@pytest.mark.parametrize("block", ["basic", "bottleneck"])
def test_outputs_are_those_of_transformers(block: str) -> None:
    transformers = pytest.importorskip("transformers")
    expansion = 4 if block == "bottleneck" else 1
    torch.manual_seed(0)
    ours = ResNet([3, 40, 33], [8, 12], [2, 1], "7x7/2", block).eval()  # type: ignore[arg-type]
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8 * expansion, 12 * expansion], depths=[2, 1], layer_type=block
    )
    theirs = transformers.ResNetModel(config).eval()
    for name, value in ours.named_parameters():
        if "bn" in name or "downsample.1" in name:
            torch.nn.init.uniform_(value, 0.5, 1.5)
    weights = {transformers_name(name): value for name, value in ours.state_dict().items()}
    theirs.load_state_dict(weights)
    x = torch.rand(2, 3, 40, 33)
    normalized = (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    with torch.inference_mode():
        found, wanted = ours(x), theirs(normalized)
        torch.testing.assert_close(ours.grid(x), wanted.last_hidden_state, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(found, wanted.pooler_output.flatten(1), atol=1e-4, rtol=1e-4)


def transformers_name(name: str) -> str:
    """Return the name that transformers gives to one of torchvision's weights."""
    place, _, kind = name.rpartition(".")
    part = {"conv": "convolution", "bn": "normalization"}
    if place in ("conv1", "bn1"):
        return f"embedder.embedder.{part[place[:-1]]}.{kind}"
    stage, block, layer, *which = place.split(".")
    start = f"encoder.stages.{int(stage[-1]) - 1}.layers.{block}"
    if layer == "downsample":
        return f"{start}.shortcut.{('convolution', 'normalization')[int(which[0])]}.{kind}"
    return f"{start}.layer.{int(layer[-1]) - 1}.{part[layer[:-1]]}.{kind}"


@pytest.mark.parametrize(
    ("shape", "stem", "grid"),
    [
        ([1, 8, 8], "3x3", (4, 4)),
        ([1, 8, 8], None, (4, 4)),  # below 16 pixels as 3x3
        ([3, 32, 32], None, (8, 8)),  # from there as 3x3/2
        ([3, 32, 20], "3x3/2", (8, 5)),
        ([3, 32, 32], "7x7/2", (4, 4)),
        ([4, 17, 9], "3x3", (9, 5)),  # as many channels as there are
    ],
)
def test_images_become_vectors(shape: list[int], stem: str | None, grid: tuple[int, int]) -> None:
    network, x = ResNet(shape, [4, 6], [1, 2], stem), torch.rand(3, *shape)  # type: ignore[arg-type]
    assert network.grid(x).shape == (3, 6, *grid)
    vectors = network(x)
    torch.testing.assert_close(vectors, network.grid(x).mean((2, 3)))
    assert vectors.shape == (3, network.width)


@pytest.mark.parametrize(
    ("shape", "options", "sentence"),
    [
        ([1, 7, 7], {"widths": [4] * 4, "depths": [1] * 4}, "Images of 7 x 7 pixels are too small for a network that "
         "halves them 3 times: set fewer model.network.widths and depths, or model.network.stem=3x3."),
        ([3, 32, 4], {"widths": [4, 4], "depths": [1, 1], "stem": "7x7/2"}, "Images of 32 x 4 pixels are too small"),
        ([3, 8, 8], {"widths": [4, 4], "depths": [1]}, "widths has 2 stages, and model.network.depths 1"),
    ],
)  # fmt: skip
def test_what_can_not_be_built_is_refused(shape: list[int], options: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ResNet(shape, **options)


@pytest.mark.parametrize("block", [BasicBlock(6, 6, 1), BottleneckBlock(24, 6, 1)])
def test_a_block_that_keeps_the_size_starts_as_the_identity(block: BasicBlock | BottleneckBlock) -> None:
    ResNet._init_weights(torch.nn.Sequential(block))  # type: ignore[arg-type]
    x = torch.rand(3, 6 * block.expansion if isinstance(block, BottleneckBlock) else 6, 5, 5)
    assert block.downsample is None
    for mode in (True, False):
        torch.testing.assert_close(block.train(mode)(x), x)


def test_colours_are_normalized_as_in_torchvision_and_grey_by_their_means() -> None:
    rgb, grey = ResNet([3, 8, 8], [4], [1]), ResNet([1, 8, 8], [4], [1])
    assert rgb.mean.flatten().tolist() == pytest.approx([0.485, 0.456, 0.406])
    assert rgb.std.flatten().tolist() == pytest.approx([0.229, 0.224, 0.225])
    for name in ("mean", "std"):
        of_rgb: Tensor = getattr(rgb, name)
        assert getattr(grey, name).item() == pytest.approx(of_rgb.mean().item(), abs=1e-3)
        assert name not in rgb.state_dict()


@pytest.mark.parametrize("n_in", [4, 15, 16])
def test_gradients_of_few_channels_are_right_with_channels_last(n_in: int) -> None:
    """oneDNN's own strided convolution of 1 x 1 gives wrong ones for fewer channels than its block of 8 or 16."""
    torch.manual_seed(0)
    change, x = shortcut(n_in, 8, stride=2), torch.randn(32, n_in, 9, 8)
    assert change is not None
    weight = torch.nn.Parameter(change[0].weight.detach().clone())
    apart = torch.randn(32, 8, 5, 4)
    (torch.einsum("oi,bihw->bohw", weight[:, :, 0, 0], x[:, :, ::2, ::2]) * apart).sum().backward()
    change.to(memory_format=torch.channels_last)
    (change[0](x.to(memory_format=torch.channels_last)) * apart).sum().backward()
    torch.testing.assert_close(change[0].weight.grad, weight.grad, atol=1e-3, rtol=1e-3)
