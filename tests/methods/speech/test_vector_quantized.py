"""The speech VQ-VAE: its loss and gradient, time jitter, the start of its codebook, and its counts."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.errors import InputError
from ssl_cli.methods.speech.vector_quantized import SpeechVQVAE, jittered
from ssl_cli.models.conv1d import FrameDecoder, FrameEncoder, SpeakerTable
from ssl_cli.models.quantizer import Quantizer, perplexity
from ssl_cli.training.trainer import train
from tests.helpers.trained_models import Unplugged, config, same

LENGTH = torch.tensor([7, 4, 1])
BATCH: dict[str, Any] = {
    "frames": torch.randn(3, 7, 5, generator=torch.Generator().manual_seed(0)),
    "length": LENGTH,
    "speaker": torch.tensor([2, 0, 1]),
}


def model(steps: int = 9, codes: int = 6, **options: Any) -> SpeechVQVAE:
    torch.manual_seed(0)
    networks = FrameEncoder(5, 4, 8, 1, 3, [2]), FrameDecoder(5, 4, 6, 8, 1, 3, [2]), SpeakerTable(3, 6)
    return SpeechVQVAE(*networks, Quantizer(codes, 4), steps, **options)


@torch.no_grad()
def test_the_loss_is_the_error_and_the_quantizers() -> None:
    """arXiv 1711.00937, eq. 3, with the codebook by moving averages."""
    vqvae = model().eval()
    vqvae.is_quantized.fill_(True)
    errors, commitments = [], []
    for row, length in enumerate(LENGTH.tolist()):
        x, n = BATCH["frames"][row : row + 1, :length], LENGTH[row : row + 1]
        (code,) = vqvae.encoder(x, n)
        chosen = torch.stack([min(vqvae.quantizer.vectors, key=lambda e, z=z: (z - e).norm()) for z in code])  # type: ignore[misc]
        rebuilt = vqvae.decoder(chosen[None], vqvae.voices(BATCH["speaker"][row : row + 1]), n, length)
        errors += (rebuilt - x).abs().flatten().tolist()
        commitments += (0.25 * (code - chosen).square()).flatten().tolist()
    losses = vqvae(BATCH)
    assert losses["error"].item() == pytest.approx(np.mean(errors), rel=1e-4)
    assert losses["quantization"].item() == pytest.approx(np.mean(commitments), rel=1e-4)
    torch.testing.assert_close(losses["loss"], losses["error"] + losses["quantization"])


def test_the_gradient_passes_the_choice_of_a_unit_unchanged() -> None:
    vqvae = model(jitter=0.0, quantize_after=0).train()
    vqvae(BATCH | {"k": 0})
    code, seen = vqvae.encoder(BATCH["frames"], LENGTH), {}
    vqvae.encoder.register_forward_hook(lambda *_: code)
    vqvae.quantizer.commitment = 0.0
    vqvae.decoder.register_forward_pre_hook(lambda _, args: seen.update(chosen=args[0]))
    code.retain_grad()
    losses = vqvae(BATCH | {"k": 1})
    seen["chosen"].retain_grad()
    losses["loss"].backward()
    own = torch.arange(4) < vqvae.n_steps(LENGTH)[:, None]
    torch.testing.assert_close(code.grad[own], seen["chosen"].grad[own])  # type: ignore[index]
    assert bool(code.grad[own].any())  # type: ignore[index]


def test_codes_are_quantized_after_a_third_of_the_batches() -> None:
    vqvae, quantized = model(steps=9).train(), []
    assert vqvae.quantize_after == 3
    for k in range(5):
        losses = vqvae(BATCH | {"k": k})
        quantized.append(bool(vqvae.is_quantized))
        assert (losses["quantization"] > 0) == quantized[-1]
    assert quantized == [False, False, False, True, True]
    assert model(steps=1).quantize_after == 0
    assert model(quantize_after=5).quantize_after == 5


def test_the_codebook_starts_from_the_codes_of_a_batch() -> None:
    vqvae = model(codes=7, quantize_after=0, jitter=0.0).train()
    vqvae.quantizer.dead_code_threshold = 0.0
    losses = vqvae(BATCH | {"k": 0})
    assert losses["quantization"].item() == pytest.approx(0, abs=1e-6)  # as many codes as steps in the batch: 4 + 2 + 1


def test_a_quantizer_of_another_width_is_refused() -> None:
    networks = FrameEncoder(5, 4, 8), FrameDecoder(5, 4, 6, 8), SpeakerTable(3, 6)
    with pytest.raises(InputError, match=r"model.quantizer.width=3 must be model.encoder.latent, 4"):
        SpeechVQVAE(*networks, Quantizer(6, 3), 9)


def test_jitter_replaces_a_share_of_the_codes_by_neighbours() -> None:
    """arXiv 1901.08810, sec. III-C, within each row."""
    n_steps = torch.tensor([3000, 1000, 1])
    is_own = (torch.arange(3000) < n_steps[:, None])[..., None]
    code = torch.arange(1, 9001, dtype=torch.float32).view(3, 3000, 1) * is_own
    torch.manual_seed(0)
    moved = (jittered(code, n_steps, 0.12) - code)[..., 0]
    for row, n in enumerate(n_steps.tolist()):
        assert not moved[row, n:].any()
        assert set(moved[row, :n].tolist()) <= {-1.0, 0.0, 1.0}
    assert float((moved[0] < 0).double().mean()) == pytest.approx(0.06, abs=0.02)
    assert float((moved[0] > 0).double().mean()) == pytest.approx(0.06, abs=0.02)
    assert torch.equal(jittered(code, n_steps, 0.0), code)


def test_validation_has_no_jitter() -> None:
    vqvae = model(jitter=1.0).eval()
    assert torch.equal(vqvae(BATCH)["loss"], vqvae(BATCH)["loss"])


@torch.no_grad()
def test_units_that_follow_each_other_are_counted_over_all_batches() -> None:
    vqvae = model().eval()
    parts = [{name: value[rows] for name, value in BATCH.items()} for rows in (slice(0, 2), slice(2, 3))]
    vqvae.fit_batches(parts, seed=0)
    assert bool(vqvae.is_quantized)  # by k-means at the end, since no batch did it
    counts: Counter[tuple[int, int]] = Counter()
    for row, n in zip(vqvae.units(BATCH).tolist(), [4, 2, 1], strict=True):
        counts.update(zip([6, *row], row[:n], strict=False))
    assert {(a, b): int(vqvae.code_counts[a, b]) for a, b in vqvae.code_counts.nonzero().tolist()} == dict(counts)


@torch.no_grad()
def test_metrics_of_an_epoch_count_the_units_of_its_own_steps() -> None:
    vqvae = model().eval()
    vqvae(BATCH)
    assert vqvae.epoch_metrics() == {"perplexity": 0.0, "codes_used": 0.0}  # not quantized yet
    vqvae.fit_batches([BATCH], seed=0)
    vqvae(BATCH)
    units = vqvae.units(BATCH)
    counts = torch.bincount(torch.cat([units[0], units[1, :2], units[2, :1]]), minlength=6)
    metrics = vqvae.epoch_metrics()
    assert metrics["perplexity"] == pytest.approx(perplexity(counts))
    assert metrics["codes_used"] == pytest.approx(float((counts > 0).double().mean()))


@torch.no_grad()
def test_units_decode_to_the_reconstruction() -> None:
    vqvae = model().eval()
    vqvae.fit_batches([BATCH], seed=0)
    assert torch.equal(vqvae.decode_units(vqvae.units(BATCH), BATCH), vqvae.reconstruct_frames(BATCH))


@pytest.mark.parametrize("breaks_after", [6, 11])
def test_a_run_that_broke_around_the_start_of_its_codebook_resumes_to_the_bit(
    tmp_path: Path, breaks_after: int
) -> None:
    class Breaks(SpeechVQVAE):
        left = breaks_after

        def forward(self, batch: dict[str, Any]) -> dict[str, torch.Tensor]:
            self.left -= self.training
            if self.left < 0:
                raise Unplugged
            return super().forward(batch)

    rows = ArrayDataset(
        {"frames": torch.randn(20, 8, 5), "length": torch.arange(20) % 8 + 1, "speaker": torch.arange(20) % 3}
    )

    def trained(name: str, resume: str | None = None, kind: type[SpeechVQVAE] = SpeechVQVAE) -> SpeechVQVAE:
        (tmp_path / name).mkdir(exist_ok=True)
        vqvae = model(quantize_after=8)
        vqvae.__class__ = kind
        cfg = config(max_steps=12, checkpoint_every_n_steps=5, batch_size=8)
        cfg.resume = resume
        train(vqvae, rows, rows, cfg, tmp_path / name)
        return vqvae

    whole = trained("whole")
    with pytest.raises(Unplugged):
        trained("broken", kind=Breaks)
    assert same(whole, trained("broken", resume="here"))
    assert bool(whole.is_quantized)
