"""Transformer over patches: cutting, positions, and which patches a vector depends on."""

import pytest
import torch
from torch import Tensor, nn

from ssl_cli.errors import InputError
from ssl_cli.models.patch_transformer import PatchDecoder, PatchTransformer, cut, fitting_patch, joined, pick

SHAPE = [3, 6, 8]


def network(**options: object) -> PatchTransformer:
    torch.manual_seed(0)
    model = PatchTransformer(SHAPE, patch=2, layers=2, width=16, heads=2, **options).eval()  # type: ignore[arg-type]
    for part in model.modules():  # with its initial weights, attention is nearly uniform
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.3)
    return model


def images(n: int = 2) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("shape", "patch"), [([3, 6, 8], 2), ([1, 28, 28], 7), ([2, 9, 3], 3), ([3, 4, 4], 1)])
def test_an_image_is_cut_row_by_row_and_joined_again(shape: list[int], patch: int) -> None:
    x = torch.rand(2, *shape)
    patches = cut(x, patch)
    columns = shape[2] // patch
    for k in range(patches.shape[1]):
        top, left = patch * (k // columns), patch * (k % columns)
        assert torch.equal(patches[1, k], x[1, :, top : top + patch, left : left + patch].flatten())
    assert torch.equal(joined(patches, shape, patch), x)


@pytest.mark.parametrize(
    ("height", "width", "patch"),
    [(8, 8, 2), (28, 28, 4), (32, 32, 4), (64, 64, 8), (96, 96, 12), (224, 224, 16), (48, 32, 4), (31, 62, None)],
)
def test_the_default_patch_makes_enough_of_them(height: int, width: int, patch: int | None) -> None:
    if patch is None:
        with pytest.raises(InputError, match=r"patches of 2 to 16 pixels .* divide both sides, as 1, 31 do\."):
            fitting_patch(height, width, None)
    else:
        assert fitting_patch(height, width, None) == patch


def test_a_patch_that_does_not_fit_says_which_do() -> None:
    with pytest.raises(
        InputError,
        match=r"^Images of 28 x 28 pixels can't be cut into patches of 5 x 5 pixels: model\.network\.patch must divide "
        r"both sides, as 1, 2, 4, 7, 14 do\.$",
    ):
        PatchTransformer([1, 28, 28], patch=5, layers=1, width=8)
    with pytest.raises(InputError, match="must divide both sides, as 1 does"):
        fitting_patch(1, 7, 7)
    with pytest.raises(InputError, match="it has only one pixel"):
        fitting_patch(1, 1, 1)


def test_an_image_has_the_mean_vector_of_its_patches() -> None:
    model, x = network(), images()
    vectors = model(x, torch.arange(12).expand(2, -1))
    assert vectors.shape == (2, 12, model.width)
    torch.testing.assert_close(model(x), vectors.mean(1))
    assert not torch.allclose(model(x)[0], model(x)[1])
    torch.testing.assert_close(model.grid(x)[:, :, 2, 1], vectors[:, 2 * 4 + 1])


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_a_network_of_the_same_options_takes_its_weights(positions: str) -> None:
    model, x = network(positions=positions, norm="post", activation="swiglu", feedforward=24), images()
    other = PatchTransformer(**model.options).eval()
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))


def test_vectors_depend_on_the_patches_at_the_places_and_no_others() -> None:
    model, x = network(), images()
    places = torch.tensor([[5, 0, 7], [11, 3, 2]])
    before = model(x, places)
    patches = cut(x, 2)
    hidden = torch.tensor([[1, 4, 9], [0, 5, 10]])
    changed = patches.scatter(1, hidden[..., None].expand(-1, -1, 12), 7.0)
    assert torch.equal(model(joined(changed, SHAPE, 2), places), before)
    changed = patches.scatter(1, places[:, :1, None].expand(-1, -1, 12), 7.0)
    assert (model(joined(changed, SHAPE, 2), places) - before).abs().amin((0, 2)).gt(1e-6).all(), "each sees the others"


@pytest.mark.parametrize("positions", ["sinusoidal", "learned"])
def test_positions_alone_say_where_a_patch_is(positions: str) -> None:
    model, x = network(positions=positions), images()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(2)).expand(2, -1)
    everywhere = torch.arange(12).expand(2, -1)
    moved = joined(pick(cut(x, 2), order), SHAPE, 2)
    torch.testing.assert_close(model(x, order), pick(model(x, everywhere), order))  # the order of the list is nothing
    assert not torch.allclose(model(moved), model(x), atol=1e-3)
    with torch.no_grad():
        (model.waves if positions == "sinusoidal" else model.position_table.weight).zero_()  # type: ignore[union-attr]
    torch.testing.assert_close(model(moved, everywhere), pick(model(x, everywhere), order))
    torch.testing.assert_close(model(moved), model(x))


def test_the_decoder_answers_for_the_other_places_in_their_order() -> None:
    model = network()
    decoder = PatchDecoder(model, layers=1, width=8, heads=2).eval()
    for part in decoder.modules():
        if isinstance(part, nn.Linear):
            nn.init.normal_(part.weight, std=0.3)
    visible = torch.randn(1, 3, model.width)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))[None]
    predicted = decoder(visible, order)
    assert predicted.shape == (1, 9, 12)
    again = torch.cat([order[:, [2, 0, 1]], order[:, 3:].flip(1)], 1)
    torch.testing.assert_close(decoder(visible[:, [2, 0, 1]], again), predicted.flip(1))
    assert not torch.allclose(predicted[0, 0], predicted[0, 1], atol=1e-3), "each place is told apart"
