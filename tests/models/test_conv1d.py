"""1-d convolutions over frames: lengths, padding, and normalisations against naive transcriptions."""

import pytest
import torch
from torch import Tensor

from ssl_cli.errors import InputError
from ssl_cli.models.conv1d import (
    NORM_EPSILON,
    FrameDecoder,
    FrameEncoder,
    MaskedConv,
    Norm,
    VoiceEncoder,
    frame_mask,
    instance_norm,
)

LENGTH = torch.tensor([11, 1, 6, 7])


def frames(n_frames: int = 11) -> Tensor:
    """Return frames (4, n_frames, 3), 0 at the padding."""
    torch.manual_seed(0)
    return torch.nn.functional.pad(torch.randn(4, 11, 3), (0, 0, 0, n_frames - 11)) * frame_mask(LENGTH, n_frames).mT


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_convolution_of_a_padded_batch_is_that_of_each_sequence_alone(stride: int) -> None:
    conv, x = MaskedConv(3, 5, 5, stride), frames().mT
    out = conv(x, frame_mask(LENGTH, 11))
    assert out.shape == (4, 5, -(-11 // stride))
    for row, length in enumerate(LENGTH.tolist()):
        alone = torch.nn.functional.conv1d(x[row, :, :length], conv.weight, conv.bias, stride, padding=2)
        assert alone.shape[1] == -(-length // stride)
        torch.testing.assert_close(out[row, :, : alone.shape[1]], alone)
        assert not out[row, :, alone.shape[1] :].any()


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(InputError, match="kernel of 4 frames has no middle"):
        MaskedConv(3, 5, 4)


def test_instance_norm_is_over_a_sequences_own_frames() -> None:
    x = frames().mT + 2 * frame_mask(LENGTH, 11)
    out = instance_norm(x, frame_mask(LENGTH, 11))
    for row, length in enumerate(LENGTH.tolist()):
        for channel in range(3):
            own = x[row, channel, :length]
            expected = (own - own.mean()) / (own.var(unbiased=False) + NORM_EPSILON).sqrt()
            torch.testing.assert_close(out[row, channel, :length], expected)
            assert not out[row, channel, length:].any()


def test_adaptive_instance_norm_has_the_mean_and_deviation_of_its_condition() -> None:
    norm, condition = Norm(3, "adaptive", 4), torch.randn(4, 4)
    x, mask = frames().mT, frame_mask(LENGTH, 11)
    out, styles = norm(x, mask, condition), condition @ norm.style.weight.T + norm.style.bias  # type: ignore[union-attr]
    for row in (0, 2, 3):
        own = out[row, :, : LENGTH[row]]
        torch.testing.assert_close(own.mean(1), styles[row, 3:], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(own.std(1, unbiased=False), (1 + styles[row, :3]).abs(), atol=1e-3, rtol=1e-3)
    assert not out[1, :, 1:].any()


@pytest.mark.parametrize("strides", [[], [2], [2, 3]])
@pytest.mark.parametrize("norm", ["none", "instance"])
def test_codes_and_rebuilt_frames_do_not_depend_on_the_padding(strides: list[int], norm: str) -> None:
    encoder = FrameEncoder(3, 4, 8, 1, 3, strides, norm)  # type: ignore[arg-type]
    entrance = "norm" if norm == "instance" else "input"
    decoder = FrameDecoder(3, 4, 2, 8, 1, 3, strides, entrance)  # type: ignore[arg-type]
    voice, stride = torch.randn(4, 2), encoder.stride
    code = encoder(frames(17), LENGTH)
    rebuilt = decoder(code, voice, LENGTH, 17)
    assert code.shape == (4, -(-17 // stride), 4) and rebuilt.shape == (4, 17, 3)
    for row, length in enumerate(LENGTH.tolist()):
        alone = encoder(frames()[row : row + 1, :length], LENGTH[row : row + 1])
        assert alone.shape[1] == -(-length // stride)
        torch.testing.assert_close(code[row, : alone.shape[1]], alone[0], atol=1e-5, rtol=1e-4)
        again = decoder(alone, voice[row : row + 1], LENGTH[row : row + 1], length)
        torch.testing.assert_close(rebuilt[row, :length], again[0], atol=1e-5, rtol=1e-4)
        assert not code[row, alone.shape[1] :].any() and not rebuilt[row, length:].any()


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_a_voice_does_not_depend_on_the_padding(pooling: str) -> None:
    encoder = VoiceEncoder(3, 4, 8, 1, 3, pooling)  # type: ignore[arg-type]
    voices = encoder(frames(17), LENGTH)
    for row, length in enumerate(LENGTH.tolist()):
        alone = encoder(frames()[row : row + 1, :length], LENGTH[row : row + 1])
        torch.testing.assert_close(voices[row], alone[0], atol=1e-5, rtol=1e-4)


def test_what_is_in_the_padding_has_no_effect() -> None:
    noise = frames(17) + 9 * (1 - frame_mask(LENGTH, 17).mT)
    for encoder in (FrameEncoder(3, 4, 8, norm="instance", strides=[2]), VoiceEncoder(3, 4, pooling="attention")):
        torch.testing.assert_close(encoder(noise, LENGTH), encoder(frames(17), LENGTH))
