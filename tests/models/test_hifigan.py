"""HiFi-GAN's generator and its files, against a naive transcription of the published code, on tiny random weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn.functional import conv1d, conv_transpose1d, leaky_relu

from ssl_cli.data.audio.features import MelSettings
from ssl_cli.errors import InputError
from ssl_cli.models import hifigan
from ssl_cli.models.vocoders import load_vocoder

SETTINGS = MelSettings(8000, 8, 32.0, 1.5)  # 12 samples a frame
CONFIG: dict[str, Any] = {
    "resblock": "1", "num_mels": 8, "upsample_initial_channel": 16,
    "upsample_rates": [3, 4], "upsample_kernel_sizes": [7, 8],
    "resblock_kernel_sizes": [3, 5], "resblock_dilation_sizes": [[1, 3, 5], [1, 2, 3]],
    "sampling_rate": 8000, "hop_size": 12, "win_size": 256, "n_fft": 256, "fmin": 0, "fmax": 4000,
    "batch_size": 16,
}  # fmt: skip
V3 = CONFIG | {"resblock": "2", "resblock_dilation_sizes": [[1, 2], [2, 6]]}


def random_weights(config: dict[str, Any], seed: int = 0) -> dict[str, Tensor]:
    """Return weights with the names and shapes of the published checkpoints, weight normalisation included."""
    draw, state = torch.Generator().manual_seed(seed), {}

    def add(name: str, *shape: int, n_out: int) -> None:
        state[f"{name}.weight_v"] = torch.randn(*shape, generator=draw)
        state[f"{name}.weight_g"] = 0.5 + torch.rand(shape[0], 1, 1, generator=draw)
        state[f"{name}.bias"] = 0.1 * torch.randn(n_out, generator=draw)

    n, k = config["upsample_initial_channel"], 0
    add("conv_pre", n, config["num_mels"], 7, n_out=n)
    for stage, kernel in enumerate(config["upsample_kernel_sizes"]):
        add(f"ups.{stage}", n, n // 2, kernel, n_out=n // 2)
        n //= 2
        for size, dilations in zip(config["resblock_kernel_sizes"], config["resblock_dilation_sizes"], strict=True):
            for part in ("convs1", "convs2") if config["resblock"] == "1" else ("convs",):
                for c in range(len(dilations)):
                    add(f"resblocks.{k}.{part}.{c}", n, n, size, n_out=n)
            k += 1
    add("conv_post", 1, n, 7, n_out=1)
    return state


def published(state: dict[str, Tensor], config: dict[str, Any], mel: Tensor) -> Tensor:
    """Return the waveform (B, 1, S) of log-mels (B, M, T), after github.com/jik876/hifi-gan, models.py."""

    def weight(name: str) -> Tensor:
        v, g = state[f"{name}.weight_v"], state[f"{name}.weight_g"]
        return torch.stack([g[i] * v[i] / v[i].square().sum().sqrt() for i in range(len(v))])

    def conv(name: str, x: Tensor, dilation: int = 1) -> Tensor:
        w = weight(name)
        return conv1d(x, w, state[f"{name}.bias"], padding=(w.shape[2] * dilation - dilation) // 2, dilation=dilation)

    x, n_kernels = conv("conv_pre", mel), len(config["resblock_kernel_sizes"])
    for i, (u, k) in enumerate(zip(config["upsample_rates"], config["upsample_kernel_sizes"], strict=True)):
        x = leaky_relu(x, 0.1)
        x = conv_transpose1d(x, weight(f"ups.{i}"), state[f"ups.{i}.bias"], stride=u, padding=(k - u) // 2)
        total: Any = 0
        for j in range(n_kernels):
            y, block = x, f"resblocks.{i * n_kernels + j}"
            for c, d in enumerate(config["resblock_dilation_sizes"][j]):
                if config["resblock"] == "1":
                    t = conv(f"{block}.convs1.{c}", leaky_relu(y, 0.1), d)
                    t = conv(f"{block}.convs2.{c}", leaky_relu(t, 0.1))
                else:
                    t = conv(f"{block}.convs.{c}", leaky_relu(y, 0.1), d)
                y = t + y
            total = total + y
        x = total / n_kernels
    return torch.tanh(conv("conv_post", leaky_relu(x)))


def write(folder: Path, config: dict[str, Any] = CONFIG, state: dict[str, Tensor] | None = None) -> Path:
    (folder / "config.json").write_text(json.dumps(config))
    torch.save({"generator": random_weights(config) if state is None else state}, folder / "g_02500000")
    return folder


@pytest.mark.parametrize("config", [CONFIG, V3], ids=["V1", "V3"])
@pytest.mark.parametrize("chunk", [1000, 7])
def test_it_is_the_published_network(
    tmp_path: Path, config: dict[str, Any], chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hifigan, "CHUNK_FRAMES", chunk)
    frames = torch.randn(2, 60, 8)
    wave = load_vocoder(write(tmp_path, config), SETTINGS)(frames)
    whole = published(random_weights(config), config, frames.transpose(1, 2))[:, 0]
    assert wave.shape == (2, 59 * 12)
    torch.testing.assert_close(wave, whole[:, 6:-6])  # its frames lie between the hops


def test_every_name_of_the_weights(tmp_path: Path) -> None:
    wave = load_vocoder(write(tmp_path), SETTINGS)(torch.ones(1, 9, 8))
    state = random_weights(CONFIG)
    renamed = {
        name.replace("weight_g", "parametrizations.weight.original0").replace(
            "weight_v", "parametrizations.weight.original1"
        ): value
        for name, value in state.items()
    }
    torch.save(renamed, tmp_path / "g_02600000")  # the newest is read
    torch.testing.assert_close(load_vocoder(tmp_path, SETTINGS)(torch.ones(1, 9, 8)), wave)
    save_file(hifigan.fold_weight_norm(state), tmp_path / "generator.safetensors")
    torch.testing.assert_close(load_vocoder(tmp_path, SETTINGS)(torch.ones(1, 9, 8)), wave)


class Payload:
    """What a malicious file runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return print, ("ran",)


def change(**values: Any) -> Callable[[Path], Any]:
    return lambda folder: (folder / "config.json").write_text(json.dumps(CONFIG | values))


def weights(**values: Tensor) -> Callable[[Path], Any]:
    return lambda folder: write(folder, state=random_weights(CONFIG) | values)


OPTIONS = "train with data.sample_rate_hz=22050 data.n_mels=80 data.window_ms=46.44 data.hop_ms=11.61 data.top_hz=8000"
LJ = {
    "sampling_rate": 22050, "num_mels": 80, "win_size": 1024, "n_fft": 1024, "hop_size": 256, "fmax": 8000,
    "upsample_rates": [8, 8, 2, 2], "upsample_kernel_sizes": [16, 16, 4, 4],
}  # fmt: skip
REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "other frames": (change(**LJ), OPTIONS),
    "another start": (change(fmin=50), "fmin=50, n_fft=256 and win_size=256; ssl makes them from 0 Hz on"),
    "no config": (lambda folder: (folder / "config.json").unlink(), "has no config.json: name a folder with it"),
    "another config": (lambda folder: (folder / "config.json").write_text("{}"), "it has no resblock"),
    "a huge config": (change(upsample_initial_channel=10**9), "upsample_initial_channel must be a whole number"),
    "rates that do not fit": (change(upsample_rates=[3, 2]), "must be larger than its rate by an even number|multiply"),
    "an even kernel": (change(resblock_kernel_sizes=[3, 4]), "kernel sizes of blocks must be odd"),
    "a rate without kernel": (change(upsample_kernel_sizes=[7]), "each rate needs a kernel size"),
    "no weights": (lambda folder: (folder / "g_02500000").unlink(), "has no weights: no file called"),
    "text": (lambda folder: (folder / "g_02500000").write_text("text"), "is damaged, or no file of torch"),
    "another network": (change(upsample_initial_channel=32), r"conv_pre.weight is \(16, 8, 7\), not \(32, 8, 7\)"),
    "a weight more": (weights(x=torch.ones(1)), r"x is \(1,\), not in the network"),
    "NaN": (weights(**{"conv_pre.bias": torch.full((16,), np.nan)}), "weights that are NaN"),
    "no dict": (lambda folder: torch.save([1], folder / "g_02500000"), "must be"),
    "code": (lambda folder: torch.save(Payload(), folder / "g_02500000"), "If you trust it, convert it once: python"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_what_is_refused(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    damage, message = REFUSED[name]
    damage(write(tmp_path))
    with pytest.raises(InputError, match=message):
        load_vocoder(tmp_path, SETTINGS)
    assert "ran" not in capsys.readouterr().out


def test_the_published_settings_can_be_those_of_a_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"does not fit its config\.json"):  # only its weights are others
        write(tmp_path)
        change(**LJ)(tmp_path)
        load_vocoder(tmp_path, MelSettings(22050, 80, 46.44, 11.61, 8000.0))


def test_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none is not a folder: name one with config\.json"):
        load_vocoder(tmp_path / "none", SETTINGS)
