"""Random views of images."""

import pytest
import torch
from torch import Tensor

from ssl_cli.data.images.augment import Augment, blurred, shifted_pixels


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(40, 1, 8, 8)


def test_no_limits_no_deformation(x: Tensor) -> None:
    torch.testing.assert_close(Augment()(x), x, rtol=0, atol=1e-5)


def test_each_image_is_deformed_by_itself_and_anew() -> None:
    x = torch.rand(1, 1, 28, 28).expand(4, 1, 28, 28)
    deform = Augment.deformation()
    first = deform(x)
    assert not torch.allclose(first[0], first[1], atol=1e-2)
    assert not torch.allclose(first, deform(x), atol=1e-2)


@pytest.mark.parametrize(
    ("limits", "limit"), [({"shift": 0.1}, 0.1 * 28), ({"turn": 20}, 1e-3), ({"scale": 0.2}, 1e-3)]
)
def test_a_deformation_keeps_its_limits(limits: dict[str, float], limit: float) -> None:
    """The centre of a blob in the middle moves by the shift alone."""
    torch.manual_seed(0)
    places = torch.arange(28).float() - 13.5
    blob = torch.exp(-(places[:, None] ** 2 + places[None] ** 2) / 8).expand(200, 1, 28, 28)
    deformed = Augment(**limits)(blob)[:, 0]
    centre = (deformed.sum(1) * places).sum(1) / deformed.sum((1, 2))
    assert centre.abs().max() <= limit + 0.05
    if "shift" in limits:
        assert centre.abs().max() > 0.8 * limit


def test_twice_the_limits() -> None:
    wide = Augment.deformation(2)
    assert (wide.turn, wide.scale, wide.shear, wide.shift) == pytest.approx((40, 0.3, 0.4, 0.18))


def test_a_crop_is_a_part_of_the_image_scaled_to_its_size() -> None:
    """Of an image whose pixels are their coordinates, a crop has a range of them: evenly spaced, and inside."""
    torch.manual_seed(0)
    places = (torch.arange(32) + 0.5) / 32
    x = torch.stack([places.expand(32, -1), places[:, None].expand(-1, 32), torch.zeros(32, 32)])
    x = x.expand(300, -1, -1, -1)
    views = Augment(crop=0.2, flip=0.5)(x)
    across, down = views[:, 0, 16, 2:-2], views[:, 1, 2:-2, 16]
    steps_across, steps_down = across.diff(dim=1), down.diff(dim=1)
    torch.testing.assert_close(steps_across, steps_across[:, :1].expand_as(steps_across), atol=1e-4, rtol=0)
    width, height = steps_across[:, 0] * 32, steps_down[:, 0] * 32
    area = width.abs() * height
    assert 0.18 < area.min() < 0.25 and 0.9 < area.max() <= 1.001 and abs(float(area.mean()) - 0.6) < 0.05
    assert (height > 0).all() and 0.4 < float((width < 0).float().mean()) < 0.6
    assert across.min() >= 0 and across.max() <= 1


def test_one_map_changes_all_colours(x: Tensor) -> None:
    """Against a naive transcription: brightness, then hue and saturation in YIQ, then contrast about the mean grey."""
    from colorsys import rgb_to_yiq

    torch.manual_seed(1)
    x = 0.3 + 0.3 * torch.rand(3, 3, 4, 4)  # so that nothing is clipped
    augment = Augment(brightness=0.2, contrast=0.2, saturation=0.4, hue=0.1, colour_share=1.0)
    torch.manual_seed(2)
    views = augment(x)
    torch.manual_seed(2)
    bright, contrast, saturation, hue = 2 * torch.rand(4, 3) - 1
    for row in range(3):
        brighter = x[row] * (1 + 0.2 * bright[row])
        grey = sum(w * channel for w, channel in zip((0.299, 0.587, 0.114), brighter, strict=True)).mean()
        for i, j in [(0, 0), (2, 3)]:
            before, after = (rgb_to_yiq(*image[:, i, j].tolist()) for image in (brighter, views[row]))
            luma = float(grey + (before[0] - grey) * (1 + 0.2 * contrast[row]))
            assert after[0] == pytest.approx(luma, abs=2e-3)
            chroma = complex(before[1], before[2]) * float((1 + 0.4 * saturation[row]) * (1 + 0.2 * contrast[row]))
            angle = 2 * torch.pi * 0.1 * float(hue[row])
            turned = chroma * complex(torch.cos(torch.tensor(angle)), torch.sin(torch.tensor(angle)))
            assert complex(after[1], after[2]) == pytest.approx(turned, abs=4e-3)


def test_a_share_of_the_views_is_grey_blurred_or_solarized() -> None:
    torch.manual_seed(0)
    x = torch.rand(400, 3, 8, 8)
    grey = Augment(grey=0.25)(x)
    is_grey = (grey - grey.mean(1, keepdim=True)).abs().amax((1, 2, 3)) < 1e-5
    assert 0.2 < float(is_grey.float().mean()) < 0.3
    torch.testing.assert_close(grey[~is_grey], x[~is_grey])
    solarized = Augment(solarize=0.5)(x)
    is_changed = (solarized != x).flatten(1).any(1)
    assert 0.4 < float(is_changed.float().mean()) < 0.6 and solarized[is_changed].max() <= 0.5
    is_changed = (Augment(blur=0.5)(x) != x).flatten(1).any(1)
    assert 0.4 < float(is_changed.float().mean()) < 0.6


def test_a_blur_keeps_what_is_even_and_smooths_the_rest() -> None:
    torch.manual_seed(0)
    even = torch.full((5, 3, 16, 16), 0.4)
    torch.testing.assert_close(blurred(even), even)
    x = torch.rand(5, 3, 16, 16)
    assert (blurred(x).var((2, 3)) <= x.var((2, 3)) + 1e-4).all()


def test_views_follow_from_the_random_stream(x: Tensor) -> None:
    every = Augment(0.2, 0.5, 5, 0.1, 0.1, 0.1, 0.4, 0.4, 0.4, 0.1, 0.8, 0.2, 0.5, 0.2)
    images = x.expand(-1, 3, -1, -1)
    views = []
    for _ in range(2):
        torch.manual_seed(3)
        views.append(every(images))
    assert torch.equal(*views) and views[0].min() >= 0 and views[0].max() <= 1 and views[0].dtype == torch.float32
    assert every(x).shape == x.shape  # grey images: their colours stay


def test_images_are_shifted_independently_by_whole_pixels() -> None:
    torch.manual_seed(0)
    x = torch.rand(60, 2, 5, 6)
    moves = []
    for before, after in zip(x, shifted_pixels(x, 1), strict=True):
        padded = torch.nn.functional.pad(before, (1, 1, 1, 1))
        windows = {(i, j): padded[:, i : i + 5, j : j + 6] for i in range(3) for j in range(3)}
        moves += [place for place, window in windows.items() if torch.equal(window, after)]
    assert len(moves) == 60
    assert len(set(moves)) == 9
