"""The split of a code into style and content: its losses, and whose gradient goes where."""

import pytest
import torch
from torch.nn import functional

from ssl_cli.errors import InputError
from ssl_cli.methods.text_latent.style_split import StyleSplit


def test_the_losses_are_cross_entropies_of_known_labels_and_the_contents_gradient_is_reversed() -> None:
    torch.manual_seed(0)
    split = StyleSplit(latent=5, width=2, num_classes=3, style_weight=0.5, adversary_weight=2.0)
    z, label = torch.randn(4, 5, requires_grad=True), torch.tensor([2, -1, 0, 1])
    losses = split(z, label)
    known = label >= 0
    style = functional.cross_entropy(split.head(z[known, :2]), label[known])
    adversary = functional.cross_entropy(split.adversary(z[known, 2:]), label[known])
    torch.testing.assert_close(losses["loss"], 0.5 * style + 2 * adversary)
    torch.testing.assert_close(losses["style_loss"], style)
    (reversed_gradient,) = torch.autograd.grad(losses["loss"], z, retain_graph=True)
    (gradient,) = torch.autograd.grad(0.5 * style + 2 * adversary, z)
    torch.testing.assert_close(reversed_gradient[:, :2], gradient[:, :2])
    torch.testing.assert_close(reversed_gradient[:, 2:], -gradient[:, 2:])


def test_a_batch_without_labels_has_no_loss() -> None:
    split = StyleSplit(5, 2, 3, 1.0, 1.0)
    assert split(torch.randn(2, 5), torch.tensor([-1, -1]))["loss"] == 0


def test_both_parts_have_numbers() -> None:
    with pytest.raises(InputError, match=r"model.style_width=5 leaves no numbers for the content: model.latent=5"):
        StyleSplit(5, 5, 3, 1.0, 1.0)
