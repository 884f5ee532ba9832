"""Masks of spans of frames for BERT over speech."""

import torch
from torch import Tensor
from torch.nn import functional


def span_masks(length: Tensor, n_frames: int, mask_ratio: float, span: int) -> Tensor:
    """Return which frames are masked, (B, n_frames) bool, none of them after `length` (B,).

    Each frame begins a span of `span` frames with one probability, also those before the first frame; spans may
    overlap, as in wav2vec 2.0 (arXiv 2006.11477, sec. 3.1). So every frame is masked with probability `mask_ratio`. A
    row without any masked frame gets one span at random. Draws come from torch's global generator.
    """
    begins_at = 1 - (1 - mask_ratio) ** (1 / span)  # then 1 - (1 - begins_at)^span = mask_ratio
    begins = torch.rand(len(length), n_frames + span - 1, device=length.device) < begins_at
    masked = functional.max_pool1d(begins[:, None].float(), span, stride=1)[:, 0] > 0  # (B, n_frames)
    place = torch.arange(n_frames, device=length.device)
    valid = place < length[:, None]
    # Drawn for every row, masked or not: the number of draws must not depend on the masks.
    first = (torch.rand(len(length), device=length.device) * (length - span + 1).clamp(min=1)).long()[:, None]
    extra = (place >= first) & (place < first + span)
    masked = masked & valid
    return torch.where(masked.any(1, keepdim=True), masked, extra & valid)
