"""The plain speech autoencoder, AutoVC and nearest frames, against naive transcriptions; parts that do not fit."""

from typing import Any

import numpy as np
import pytest
import torch

from ssl_cli.errors import InputError
from ssl_cli.methods.speech.narrow_autoencoder import AutoVC
from ssl_cli.methods.speech.nearest_frames import NearestFrames
from ssl_cli.methods.speech.speech_autoencoder import SpeechAutoencoder
from ssl_cli.models.conv1d import FrameDecoder, FrameEncoder, SpeakerTable

BATCH = {
    "frames": torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0)),
    "length": torch.tensor([6, 3]),
    "speaker": torch.tensor([2, 0]),
    "reference": torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(1)),
    "reference_length": torch.tensor([9, 5]),
}


def parts(**changes: Any) -> tuple[FrameEncoder, FrameDecoder, SpeakerTable]:
    torch.manual_seed(0)
    options = {"n_mels": 5, "latent": 4, "voice": 6, "width": 8, "blocks": 1, "strides": [2]} | changes
    return FrameEncoder(5, 4, 8, 1, 3, [2]), FrameDecoder(**options), SpeakerTable(3, 6)  # type: ignore[arg-type]


@torch.no_grad()
def test_the_loss_of_the_plain_one_is_the_mean_over_own_frames() -> None:
    model = SpeechAutoencoder(*parts(), loss="squared").eval()
    squares = []
    for row, length in enumerate([6, 3]):
        x, n = BATCH["frames"][row : row + 1, :length], BATCH["length"][row : row + 1]
        rebuilt = model.decoder(model.encoder(x, n), model.voices(BATCH["speaker"][row : row + 1]), n, length)
        squares += (rebuilt - x).square().flatten().tolist()
    assert model(BATCH)["loss"].item() == pytest.approx(np.mean(squares), rel=1e-4)


@torch.no_grad()
def test_autovc_adds_the_error_of_the_code_of_what_it_rebuilt() -> None:
    """arXiv 1905.05879, eq. 4 to 6: squared error of the frames, absolute error of the code."""
    model = AutoVC(*parts(), content_weight=0.3).eval()
    squares, differences = [], []
    for row, length in enumerate([6, 3]):
        x, n = BATCH["frames"][row : row + 1, :length], BATCH["length"][row : row + 1]
        code = model.encoder(x, n)
        rebuilt = model.decoder(code, model.voices(BATCH["speaker"][row : row + 1]), n, length)
        squares += (rebuilt - x).square().flatten().tolist()
        differences += (model.encoder(rebuilt, n) - code).abs().flatten().tolist()
    losses = model(BATCH)
    assert losses["error"].item() == pytest.approx(np.mean(squares), rel=1e-4)
    assert losses["content"].item() == pytest.approx(np.mean(differences), rel=1e-4)
    assert losses["loss"].item() == pytest.approx(np.mean(squares) + 0.3 * np.mean(differences), rel=1e-4)


def test_nearest_frames_are_those_of_the_definition() -> None:
    model = NearestFrames(neighbours=2, context=1)
    converted = model.convert(BATCH)

    def contents(x: np.ndarray) -> list[np.ndarray]:
        normal = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5)
        around = np.vstack([np.zeros(5), normal, np.zeros(5)])
        return [around[t : t + 3].T.flatten() for t in range(len(x))]

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

    for row, (length, n_reference) in enumerate([(6, 9), (3, 5)]):
        reference = BATCH["reference"][row, :n_reference].numpy()
        others = contents(reference)
        for t, content in enumerate(contents(BATCH["frames"][row, :length].numpy())):
            nearest = sorted(range(n_reference), key=lambda r, c=content, o=others: -cosine(c, o[r]))[:2]  # type: ignore[misc]
            np.testing.assert_allclose(converted[row, t], reference[nearest].mean(0), atol=1e-5)
        assert not converted[row, length:].any()


def test_a_short_recording_of_the_other_voice_is_enough() -> None:
    short = {"reference": BATCH["reference"][:, :1], "reference_length": torch.tensor([1, 1])}
    converted = NearestFrames(neighbours=4).convert(BATCH | short)
    assert torch.equal(converted[0], BATCH["reference"][0, :1].expand(6, 5))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent": 3}, "model.decoder.latent must be 4"),
        ({"voice": 5}, "model.decoder.voice must be 6"),
        ({"strides": []}, r"model.decoder.strides must be \[2\]"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpeechAutoencoder(*parts(**changes))


@pytest.mark.parametrize("speaker", [-1, 3])
def test_a_speaker_that_is_not_in_the_table_is_refused(speaker: int) -> None:
    model = SpeechAutoencoder(*parts()).eval()
    with pytest.raises(InputError, match="only the speakers of its training data"):
        model.convert(BATCH | {"speaker": torch.tensor([0, speaker])})
