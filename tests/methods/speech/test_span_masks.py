"""Masks of spans: how many frames are masked, how long the spans are, and where none is."""

import torch

from ssl_cli.methods.speech.span_masks import span_masks


def masks(mask_ratio: float, span: int, rows: int = 4000, n_frames: int = 40) -> torch.Tensor:
    torch.manual_seed(0)
    return span_masks(torch.full((rows,), n_frames), n_frames, mask_ratio, span)


def test_each_frame_is_masked_with_the_same_probability() -> None:
    for span in (1, 6):
        share = masks(0.3, span).float().mean(0)  # of each of 40 frames; its deviation is at most .008
        assert ((share - 0.3).abs() < 0.035).all(), "5 deviations"


def test_spans_are_of_their_length_or_longer() -> None:
    masked = masks(0.2, 6)
    starts = masked[:, 1:-6] & ~masked[:, :-7]  # of spans that begin after the first frame
    whole = masked.unfold(1, 6, 1).all(2)[:, 1:-1]
    assert starts.any()
    assert whole[:, : starts.shape[1]][starts].all()


def test_padding_is_never_masked_and_a_row_never_without_masks() -> None:
    torch.manual_seed(0)
    length = torch.tensor([1, 3, 20, 40] * 50)
    masked = span_masks(length, 40, 0.01, 10)
    assert not masked[torch.arange(40) >= length[:, None]].any()
    assert masked.any(1).all()
