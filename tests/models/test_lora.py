"""LoRA adapters: formula, trainable parameters, merging."""

import torch

from ssl_cli.models.lora import LoRALinear, add_adapters, merge_adapters
from ssl_cli.models.transformer import Transformer

IDS = torch.arange(12).view(2, 6)


def network() -> Transformer:
    torch.manual_seed(0)
    return Transformer(20, 16, layers=2, width=32, heads=2, dropout=0.0).eval()


def test_new_adapters_do_not_change_the_output() -> None:
    plain = network()
    before = plain(IDS)
    add_adapters(plain, 4)
    assert torch.equal(plain(IDS), before)


def test_only_adapters_are_trained() -> None:
    adapted = network()
    add_adapters(adapted, 4)
    learns = [name for name, weight in adapted.named_parameters() if weight.requires_grad]
    assert len(learns) == 2 * 4 * 2, "an up and a down for each of four matrices in each of two blocks"
    assert all(name.endswith((".up", ".down")) for name in learns)
    # r (n_in + n_out) numbers a matrix: arXiv 2106.09685, sec. 4.2.
    sizes = [(32, 96), (32, 32), (32, 128), (128, 32)]
    count = sum(weight.numel() for weight in adapted.parameters() if weight.requires_grad)
    assert count == 2 * sum(4 * (n_in + n_out) for n_in, n_out in sizes)


def test_merging_does_not_change_the_output() -> None:
    adapted = network()
    names = set(dict(adapted.named_parameters()))
    add_adapters(adapted, 4)
    with torch.no_grad():
        for module in adapted.modules():
            if isinstance(module, LoRALinear):
                module.up.normal_(std=0.3)
    unmerged = adapted(IDS)
    merge_adapters(adapted)
    assert torch.allclose(adapted(IDS), unmerged, atol=1e-4)
    assert set(dict(adapted.named_parameters())) == names
    assert all(weight.requires_grad for weight in adapted.blocks.parameters())


def test_the_formula() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(5, 3)
    low = LoRALinear(layer, 2)
    with torch.no_grad():
        low.up.normal_()
    x = torch.randn(5)
    expected = layer.weight @ x + layer.bias + 2 * low.up @ (low.down @ x)
    assert torch.allclose(low(x), expected, atol=1e-6)
