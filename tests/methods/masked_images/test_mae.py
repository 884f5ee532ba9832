"""The masked auto-encoder: its loss against a naive transcription, its masks, and what it shows."""

import pytest
import torch
from torch import Tensor

from ssl_cli.data.images.augment import Augment
from ssl_cli.errors import InputError
from ssl_cli.methods.masked_images.mae import MaskedAutoencoder
from ssl_cli.models.patch_transformer import PatchTransformer, cut

SHAPE = [3, 8, 8]  # 16 patches of 12 numbers


def model(shape: list[int] | None = None, patch: int = 2, **options: object) -> MaskedAutoencoder:
    torch.manual_seed(0)
    network = PatchTransformer(shape or SHAPE, patch=patch, layers=1, width=16, heads=2)
    return MaskedAutoencoder(network, Augment(), decoder_width=8, **options)  # type: ignore[arg-type]


def images(n: int = 3) -> Tensor:
    return torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("norm_pixels", [True, False])
def test_the_loss_is_the_mean_squared_error_of_hidden_patches_alone(norm_pixels: bool) -> None:
    mae, x = model(norm_pixels=norm_pixels), images()
    torch.manual_seed(5)
    loss = mae({"x": x})["loss"]
    torch.manual_seed(5)
    order = mae.random_order(x)
    total = torch.zeros(())
    for row in range(3):
        predicted = mae.predict(x[row : row + 1], order[row : row + 1])[0]  # (12, 12)
        for k, place in enumerate(order[row, 4:].tolist()):
            top, left = 2 * (place // 4), 2 * (place % 4)
            patch = x[row, :, top : top + 2, left : left + 2].flatten()
            if norm_pixels:
                variance = sum((value - patch.mean()) ** 2 for value in patch) / 11
                patch = (patch - patch.mean()) / (variance + 1e-6) ** 0.5
            total = total + sum((predicted[k, d] - patch[d]) ** 2 for d in range(12)) / (3 * 12 * 12)
    torch.testing.assert_close(loss, total)


@pytest.mark.parametrize(
    ("mask_ratio", "visible"), [(0.75, 4), (0.5, 8), (0.9, 2), (0.99, 1), (0.01, 15)], ids=lambda value: str(value)
)
def test_exactly_this_many_patches_are_hidden_at_least_one_and_not_all(mask_ratio: float, visible: int) -> None:
    mae, x = model(mask_ratio=mask_ratio), images()
    order = mae.random_order(x)
    assert mae.n_visible == visible
    assert torch.equal(order.sort(1).values, torch.arange(16).expand(3, -1))
    assert mae.predict(x, order).shape == (3, 16 - visible, 12)
    assert mae({"x": x})["loss"].isfinite()


def test_what_is_hidden_is_the_target_and_never_read() -> None:
    mae, x = model(), images()
    order = mae.random_order(x)
    predicted = mae.predict(x, order)
    for place in order[0].tolist():
        changed = x.clone()
        changed[0, 1, 2 * (place // 4), 2 * (place % 4)] += 0.5
        is_visible = place in order[0, :4].tolist()
        assert torch.equal(mae.predict(changed, order), predicted) != is_visible
        assert not torch.equal(cut(changed, 2), cut(x, 2))


def test_every_image_and_step_has_masks_of_its_own_and_a_seed_its_own_too() -> None:
    mae, x = model(), images(50)
    torch.manual_seed(3)
    first, second = mae.random_order(x), mae.random_order(x)
    assert len({tuple(row.tolist()) for row in torch.cat([first, second])}) == 100
    assert first[:, 0].unique().numel() > 8, "any place may be visible"
    torch.manual_seed(3)
    assert torch.equal(mae.random_order(x), first)


def test_a_patch_without_contrast_is_rebuilt_as_nothing() -> None:
    mae = model()
    target, mean, std = mae.targets(torch.full((1, 2, 12), 0.7))
    assert target.abs().max() < 1e-3 and (mean - 0.7).abs().max() < 1e-3 and std.max() < 2e-3
    assert mae({"x": torch.zeros(2, *SHAPE)})["loss"].isfinite()


def test_pictures_keep_what_is_visible_and_hide_the_rest() -> None:
    mae, x = model(), images()
    torch.manual_seed(4)
    pictures = list(mae.pictures({"x": x}).values())
    torch.manual_seed(4)
    order = mae.random_order(x)
    image, view, seen, rebuilt = (cut(picture, 2) for picture in pictures)
    assert torch.equal(image, view), "nothing is augmented here"
    for row in range(3):
        visible, hidden = order[row, :4], order[row, 4:]
        assert torch.equal(seen[row, visible], image[row, visible])
        assert torch.equal(rebuilt[row, visible], image[row, visible])
        assert (seen[row, hidden] == 0.5).all()
    _, mean, std = mae.targets(image[0, order[0, 4:]])
    predicted = mae.predict(x, order)[0]
    torch.testing.assert_close(rebuilt[0, order[0, 4:]], (predicted * std + mean).clamp(0, 1))
    assert all(picture.shape == x.shape and 0 <= picture.min() <= picture.max() <= 1 for picture in pictures)
    assert [*model(norm_pixels=False).pictures({"x": x})][-1] == "the view rebuilt from it"


def test_every_weight_learns_and_vectors_are_the_networks() -> None:
    mae, x = model(), images()
    mae({"x": x})["loss"].backward()
    for name, weight in mae.named_parameters():
        assert weight.grad is not None and weight.grad.abs().sum() > 0, name
    assert torch.equal(mae.embed({"x": x}), mae.network(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert mae({"x": x})["loss"].dtype == torch.float32


def test_one_number_has_no_variance() -> None:
    with pytest.raises(InputError, match=r"one number has no variance: set model\.norm_pixels=false"):
        model([1, 8, 8], patch=1)
    assert model([1, 8, 8], patch=1, norm_pixels=False)({"x": torch.rand(2, 1, 8, 8)})["loss"] > 0
