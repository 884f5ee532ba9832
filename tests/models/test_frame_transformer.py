"""Transformer over frames: padding, causality, masks, long utterances."""

from itertools import product

import pytest
import torch
from torch import Tensor, nn

from ssl_cli.models.frame_transformer import FrameTransformer

M = 5
LENGTH = torch.tensor([12, 1, 7])
VARIANTS = list(product(("learned", "sinusoidal", "rotary", "relative"), ("pre", "post")))


def network(context: int = 16, **options: object) -> FrameTransformer:
    torch.manual_seed(0)
    model = FrameTransformer(M, context, layers=2, width=16, heads=2, **options).eval()  # type: ignore[arg-type]
    for part in model.modules():  # with its initial weights, attention is nearly uniform
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.3)
    return model


def frames(length: int = 12, padding: float = 0.0) -> Tensor:
    x = torch.randn(3, length, M, generator=torch.Generator().manual_seed(1))
    return x.masked_fill((torch.arange(length) >= LENGTH[:, None])[..., None], padding)


@pytest.mark.parametrize(("positions", "norm"), VARIANTS)
@pytest.mark.parametrize("causal", [False, True])
def test_a_row_does_not_depend_on_its_padding(positions: str, norm: str, causal: bool) -> None:
    model = network(positions=positions, norm=norm, causal=causal)
    together = model.hidden_layers(nn.functional.pad(frames(padding=3.0), (0, 0, 0, 4), value=7.0), LENGTH)
    assert len(together) == 3
    for row, length in enumerate(LENGTH.tolist()):
        alone = model.hidden_layers(frames()[row : row + 1, :length], LENGTH[row : row + 1])
        for layer, of_row in zip(together, alone, strict=True):
            torch.testing.assert_close(layer[row, :length], of_row[0], atol=1e-5, rtol=0)
            assert (layer[row, length:] == 0).all()


@pytest.mark.parametrize("causal", [False, True])
def test_only_without_causal_does_a_frame_see_later_ones(causal: bool) -> None:
    model, x = network(causal=causal), frames()
    changed = x.clone()
    changed[0, 7] += 1
    before = (model(x, LENGTH) - model(changed, LENGTH))[0, :7].abs().max()
    assert before == 0 if causal else before > 1e-4


def test_a_masked_frame_is_not_seen() -> None:
    model, x = network(), frames()
    masked = torch.zeros(3, 12, dtype=torch.bool)
    masked[0, 4:6] = True
    changed = x.clone()
    changed[0, 4:6] += 9
    assert (model(x, LENGTH, masked) == model(changed, LENGTH, masked)).all()
    assert (model(x, LENGTH) != model(changed, LENGTH)).any()


@pytest.mark.parametrize("causal", [False, True])
def test_a_long_utterance_is_read_in_pieces_that_do_not_depend_on_the_batch(causal: bool) -> None:
    model = network(context=8, causal=causal)
    x = torch.randn(2, 30, M)
    length = torch.tensor([30, 6])
    together = model(x, length)
    alone = model(x[:1], length[:1]), model(x[1:, :6], length[1:])
    torch.testing.assert_close(together[0], alone[0][0], atol=1e-5, rtol=0)
    torch.testing.assert_close(together[1, :6], alone[1][0], atol=1e-5, rtol=0)
    # Each piece of 4 frames is read with 2 on each side, as a text of its own.
    torch.testing.assert_close(together[0, 8:12], model(x[:1, 6:14], torch.tensor([8]))[0, 2:6], atol=1e-5, rtol=0)
    assert together[0].isfinite().all()
    assert (together[0, -1] != 0).any()


def test_options_build_the_same_network() -> None:
    model = network(causal=True, positions="learned")
    assert FrameTransformer(**model.options).options == model.options
