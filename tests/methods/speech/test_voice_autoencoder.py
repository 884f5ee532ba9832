"""The voice autoencoder: its loss against a naive transcription, what the speaker encoder hears, and warping."""

import pytest
import torch

from ssl_cli.errors import InputError
from ssl_cli.methods.speech.voice_autoencoder import VoiceAutoencoder, warp_frequencies
from ssl_cli.models.conv1d import FrameDecoder, FrameEncoder, VoiceEncoder

BATCH = {
    "frames": torch.randn(2, 6, 5, generator=torch.Generator().manual_seed(0)),
    "length": torch.tensor([6, 3]),
    "reference": torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(1)),
    "reference_length": torch.tensor([2, 4]),
}


def model(**options: object) -> VoiceAutoencoder:
    torch.manual_seed(0)
    networks = FrameEncoder(5, 4, 8, 1, 3, [2], "instance"), FrameDecoder(5, 4, 6, 8, 1, 3, [2], "norm")
    return VoiceAutoencoder(*networks, VoiceEncoder(5, 6, 8), **options)  # type: ignore[arg-type]


@torch.no_grad()
@pytest.mark.parametrize("loss", ["absolute", "squared"])
def test_the_loss_is_the_error_and_the_kl_term(loss: str) -> None:
    """arXiv 1904.05742, eq. 3 to 5: the posterior has variance 1, so its divergence is half of the squared mean."""
    voice_ae = model(loss=loss, kl=0.1).eval()
    error, kl, n_frames, n_steps = 0.0, 0.0, 0, 0
    for row, length in enumerate([6, 3]):
        x, n = BATCH["frames"][row : row + 1, :length], BATCH["length"][row : row + 1]
        code = voice_ae.encoder(x, n)
        heard = BATCH["reference"][row : row + 1], BATCH["reference_length"][row : row + 1]
        difference = (voice_ae.decoder(code, voice_ae.voices(*heard), n, length) - x)[0]
        error += sum(float(abs(d) if loss == "absolute" else d**2) for d in difference.flatten())
        kl += sum(float(z) ** 2 / 2 for z in code.flatten())
        n_frames, n_steps = n_frames + length, n_steps + code.shape[1]
    losses = voice_ae(BATCH)
    assert n_steps == 3 + 2
    assert losses["error"].item() == pytest.approx(error / (n_frames * 5), rel=1e-4)
    assert losses["kl"].item() == pytest.approx(kl / (n_steps * 4), rel=1e-4)
    torch.testing.assert_close(losses["loss"], losses["error"] + 0.1 * losses["kl"])


@torch.no_grad()
def test_the_published_recipe_takes_the_voice_from_the_same_utterance() -> None:
    other, same = model().eval(), model(speaker_hears="same").eval()
    as_other = {"reference": BATCH["frames"], "reference_length": BATCH["length"]}
    assert torch.equal(same(BATCH)["loss"], other(BATCH | as_other)["loss"])
    assert not torch.equal(same(BATCH)["loss"], other(BATCH)["loss"])


@torch.no_grad()
def test_the_code_does_not_know_a_constant_voice() -> None:
    """What is the same in all frames of an utterance is removed from the code, whatever it is."""
    louder, scaled = BATCH["frames"][:1] + torch.randn(5), 3 * BATCH["frames"][:1]
    encoder = FrameEncoder(5, 4, 8, 1, 1, [], "instance")  # kernels of one frame: nothing is beyond the edges
    length = BATCH["length"][:1]
    for x in (louder, scaled):
        torch.testing.assert_close(encoder(x, length), encoder(BATCH["frames"][:1], length), atol=1e-3, rtol=1e-3)


def test_only_the_input_is_warped_and_only_in_training() -> None:
    plain, warped = model(), model(warp=[0.5, 0.6])
    assert not torch.equal(plain.train()(BATCH)["loss"], warped.train()(BATCH)["loss"])
    assert torch.equal(plain.eval()(BATCH)["loss"], warped.eval()(BATCH)["loss"])
    code = warped.train().encoder(warp_frequencies(BATCH["frames"], torch.full((2,), 0.5)), BATCH["length"])
    warped.warp = [0.5, 0.5]
    rebuilt = warped.decode(code, BATCH, 6)
    expected = torch.cat([(rebuilt - BATCH["frames"]).abs()[0], (rebuilt - BATCH["frames"]).abs()[1, :3]]).mean()
    torch.testing.assert_close(warped(BATCH)["loss"], expected)


def test_a_warped_peak_is_where_the_factor_says() -> None:
    bands = torch.zeros(3, 1, 9)
    bands[:, 0, 4] = 1.0
    out = warp_frequencies(bands, torch.tensor([1.0, 2.0, 0.8]))[:, 0]
    assert torch.equal(out[0], bands[0, 0])
    torch.testing.assert_close(out[1], torch.tensor([0, 0, 0, 0, 0, 0, 0, 0.5, 1.0]))  # band 4 is now band 8
    expected = [max(0.0, 1 - abs(min(8, m / 0.8) - 4)) for m in range(9)]
    torch.testing.assert_close(out[2], torch.tensor(expected), atol=1e-5, rtol=0)


def test_frames_of_one_band_can_be_warped() -> None:
    frames = torch.randn(2, 3, 1)
    assert torch.equal(warp_frequencies(frames, torch.tensor([0.9, 1.1])), frames)


@pytest.mark.parametrize("warp", [[1.0], [1.2, 0.8]])
def test_impossible_warps_are_refused(warp: list[float]) -> None:
    with pytest.raises(InputError, match="two factors, the smaller first"):
        model(warp=warp)
