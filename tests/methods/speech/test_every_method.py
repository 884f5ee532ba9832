"""Every method of speech: gradients reach all weights, rows do not depend on padding, the state dict is the model."""

import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_cli.methods.speech.adversarial_autoencoder import AdversarialSpeechAutoencoder
from ssl_cli.methods.speech.narrow_autoencoder import AutoVC
from ssl_cli.methods.speech.nearest_frames import NearestFrames
from ssl_cli.methods.speech.protocols import ConvertsVoices, DecodesUnits, HasContent
from ssl_cli.methods.speech.speech_autoencoder import SpeechAutoencoder
from ssl_cli.methods.speech.vector_quantized import SpeechVQVAE
from ssl_cli.methods.speech.voice_autoencoder import VoiceAutoencoder
from ssl_cli.methods.training_protocols import Alternates, FitsBatches
from ssl_cli.models.conv1d import FrameDecoder, FrameEncoder, SpeakerTable, StepClassifier, VoiceEncoder, frame_mask
from ssl_cli.models.quantizer import Quantizer

M, SPEAKERS = 5, 3
LENGTH, REFERENCE_LENGTH = torch.tensor([12, 1, 7, 9, 12, 5]), torch.tensor([6, 14, 1, 14, 9, 3])


def parts(strides: list[int], table: bool = True, norm: bool = False) -> tuple[FrameEncoder, FrameDecoder, Any]:
    encoder = FrameEncoder(M, 4, 8, 1, 3, strides, "instance" if norm else "none")
    decoder = FrameDecoder(M, 4, 6, 8, 1, 3, strides, "norm" if norm else "input")
    return encoder, decoder, SpeakerTable(SPEAKERS, 6) if table else VoiceEncoder(M, 6, 8, 1, 3, "attention")


MAKE: dict[str, Callable[[], nn.Module]] = {
    "speech_ae": lambda: SpeechAutoencoder(*parts([])),
    "voice_ae": lambda: VoiceAutoencoder(*parts([], table=False, norm=True), warp=[0.85, 1.18]),
    "voice_ae, published": lambda: VoiceAutoencoder(
        *parts([2], table=False, norm=True), speaker_hears="same", kl=0.01, loss="squared"
    ),
    "autovc": lambda: AutoVC(*parts([2, 2])),
    "speech_vqvae": lambda: SpeechVQVAE(*parts([2]), Quantizer(8, 4), steps=6),
    "speech_vqvae, loss": lambda: SpeechVQVAE(
        *parts([]), Quantizer(8, 4, "loss"), steps=6, quantize_after=0, jitter=0.5
    ),
    "voice_gan": lambda: AdversarialSpeechAutoencoder(*parts([2]), StepClassifier(4, SPEAKERS, 8, 1, 3)),
    "voice_knn": lambda: NearestFrames(neighbours=2, context=1),
}
TRAINED = [name for name in MAKE if name != "voice_knn"]


def batch(padding: int = 0, rows: slice = slice(None)) -> dict[str, Any]:
    """Return a batch of utterances, `padding` frames longer than the longest, with noise in the padding."""
    generator = torch.Generator().manual_seed(0)
    frames = torch.randn(len(LENGTH), 12, M, generator=generator)
    reference = torch.randn(len(LENGTH), 14, M, generator=generator)
    made = {"length": LENGTH[rows], "reference_length": REFERENCE_LENGTH[rows], "speaker": torch.arange(6)[rows] % 3}
    for name, x in (("frames", frames), ("reference", reference)):
        length = made["length" if name == "frames" else "reference_length"]
        longest = int(length.max())
        x = x[rows, :longest] * frame_mask(length, longest).mT
        made[name] = nn.functional.pad(x, (0, 0, 0, padding))
    return made | {"k": 0}


def trained(name: str, n_batches: int = 6) -> nn.Module:
    """Return a model after all steps of a run."""
    torch.manual_seed(1)
    model = MAKE[name]().train()
    turns = model.parameter_groups() if isinstance(model, Alternates) else {"only": list(model.parameters())}
    optimizers = {turn: torch.optim.Adam(weights, 0.01) for turn, weights in turns.items() if weights}
    for k in range(n_batches):
        for turn, optimizer in optimizers.items():
            model.zero_grad()
            of = batch() | {"k": k}
            (model.losses(of, turn) if isinstance(model, Alternates) else model(of))["loss"].backward()
            optimizer.step()
    model.eval()
    if isinstance(model, FitsBatches):
        with torch.inference_mode():
            model.fit_batches([batch(rows=slice(0, 3)), batch(rows=slice(3, 6))], seed=0)
    return model


def outputs(model: Any, of: dict[str, Any]) -> dict[str, Tensor]:
    with torch.inference_mode():
        made = {"rebuilt": model.reconstruct_frames(of), "converted": model.convert(of)}
        made |= {"content": model.content(of), "voice": model.speaker_code(of)}
        if isinstance(model, DecodesUnits):
            made["units"] = model.units(of)
            made["spoken"] = model.decode_units(made["units"], of)
    return made


@pytest.mark.parametrize("name", TRAINED)
def test_every_weight_gets_a_gradient(name: str) -> None:
    torch.manual_seed(1)
    model = MAKE[name]().train()
    losses = model(batch())
    assert all(value.dim() == 0 and value.dtype == torch.float32 and value.isfinite() for value in losses.values())
    losses["loss"].backward()
    for parameter, weight in model.named_parameters():
        assert weight.grad is not None and bool((weight.grad != 0).any()), parameter


@pytest.mark.parametrize("name", TRAINED)
def test_training_reduces_the_loss(name: str) -> None:
    torch.manual_seed(1)
    untrained, model = MAKE[name]().eval(), trained(name, 40)
    with torch.inference_mode():
        before, after = untrained(batch()), model(batch())
    key = "error" if "error" in before else "loss"
    assert float(after[key]) < float(before[key])


@pytest.mark.parametrize("name", MAKE)
def test_a_row_does_not_depend_on_its_batch(name: str) -> None:
    model = trained(name)
    assert isinstance(model, ConvertsVoices) and isinstance(model, HasContent)
    whole, padded = outputs(model, batch()), outputs(model, batch(padding=5))
    for key, value in whole.items():
        assert bool(value.isfinite().all()), key
        n = value.shape[1]
        torch.testing.assert_close(padded[key][:, :n], value, atol=1e-5, rtol=1e-4)
        for row in range(len(LENGTH)):
            (alone,) = outputs(model, batch(rows=slice(row, row + 1)))[key]
            torch.testing.assert_close(value[row, : len(alone)], alone, atol=1e-5, rtol=1e-4)
            if key != "voice":
                expected = int(LENGTH[row]) if key in ("rebuilt", "converted", "spoken") else None
                assert len(alone) == (expected or -(-int(LENGTH[row]) // model.stride))
                assert not value[row, len(alone) :].any()


@pytest.mark.parametrize("name", MAKE)
def test_the_loss_does_not_depend_on_the_padding(name: str) -> None:
    model = trained(name)
    with torch.inference_mode():
        torch.testing.assert_close(model(batch(padding=9)), model(batch()))


@pytest.mark.parametrize("name", MAKE)
def test_the_voice_comes_from_where_the_method_says(name: str) -> None:
    model, of = trained(name), batch()
    other = {"reference": of["reference"] + 1} if model.hears_reference else {"speaker": (of["speaker"] + 1) % 3}
    ignored = {"speaker": torch.full((6,), -1)} if model.hears_reference else {"reference": of["reference"] + 1}
    before, after = outputs(model, of), outputs(model, of | other)
    assert torch.equal(before["content"], after["content"])
    assert not torch.allclose(before["converted"], after["converted"])
    assert torch.equal(before["converted"], outputs(model, of | ignored)["converted"])


@pytest.mark.parametrize("name", MAKE)
def test_the_state_dict_restores_the_model(name: str) -> None:
    model, file = trained(name), io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    torch.manual_seed(99)
    again = MAKE[name]().eval()
    again.load_state_dict(torch.load(file, weights_only=True))
    before, after = outputs(model, batch()), outputs(again, batch())
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("name", TRAINED)
def test_it_trains_in_half_precision(name: str) -> None:
    torch.manual_seed(1)
    model = MAKE[name]().train()
    with torch.autocast("cpu", torch.bfloat16):
        losses = model(batch())
    assert all(value.dtype == torch.float32 and value.isfinite() for value in losses.values())
    losses["loss"].backward()
