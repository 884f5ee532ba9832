"""Vocoders in published layouts: a folder with HiFi-GAN's config.json and weights. Files are treated as untrusted."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ssl_cli.config.typecheck import expected, fits
from ssl_cli.config.types import Range
from ssl_cli.data.audio.features import MelSettings
from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError
from ssl_cli.models.hifigan import GeneratorShape, HifiGan, fold_weight_norm

Vocoder = Callable[[Tensor], Tensor]  # log-mels (B, T, M) -> waveforms (B, (T - 1) * hop)
MAX_FILE_BYTES = 1 << 30
PATTERNS = ("*.safetensors", "g_*", "generator*", "*.pt", "*.pth")  # of the weights' file; of several the last one
CONFIG_TYPES: dict[str, Any] = {
    "resblock": Literal["1", "2"],
    "num_mels": Annotated[int, Range(1, 1024)],
    "upsample_initial_channel": Annotated[int, Range(2, 4096)],
    "upsample_rates": list[Annotated[int, Range(1, 64)]],
    "upsample_kernel_sizes": list[Annotated[int, Range(1, 256)]],
    "resblock_kernel_sizes": list[Annotated[int, Range(1, 64)]],
    "resblock_dilation_sizes": list[list[Annotated[int, Range(1, 64)]]],
    "sampling_rate": Annotated[int, Range(1000, 400_000)],
    "hop_size": Annotated[int, Range(1, 1 << 16)],
    "win_size": Annotated[int, Range(2, 1 << 16)],
    "n_fft": Annotated[int, Range(2, 1 << 16)],
    "fmin": Annotated[float, Range(0)],
    "fmax": Annotated[float, Range(0)] | None,
}


def load_vocoder(folder: Path, settings: MelSettings) -> Vocoder:
    """Return HiFi-GAN as a function from log-mels (B, T, M) to waveforms (B, (T - 1) * hop), on the CPU.

    Raises InputError if the folder does not hold one, or if it was trained on other frames than `settings` give.
    """
    folder = folder.expanduser()
    if not folder.is_dir():
        raise InputError(f"vocoder={folder} is not a folder: name one with config.json and the weights of HiFi-GAN.")
    if not (folder / "config.json").is_file():
        raise InputError(f"vocoder={folder} has no config.json: name a folder with it and the weights of HiFi-GAN.")
    config = _read_config(folder / "config.json")
    _check_settings(folder, config, settings)
    shape = _shape(folder / "config.json", config)
    model = _load_weights(_weights_file(folder), shape)

    @torch.inference_mode()
    def synthesize(frames: Tensor) -> Tensor:
        # The published frames lie between the hops, ours are centred on them: half a hop less on both sides.
        wave = model(frames.float().cpu())
        before = shape.hop // 2
        return wave[:, before : before + (frames.shape[1] - 1) * shape.hop].to(frames.device)

    return synthesize


def _read_config(path: Path) -> dict[str, Any]:
    config = read_state(path)
    for name, annotation in CONFIG_TYPES.items():
        if name not in config:
            raise InputError(f"{path} is not that of HiFi-GAN: it has no {name}.")
        if not fits(config[name], annotation):
            raise InputError(f"{path}: {name} must be {expected(annotation)}, not {repr(config[name])[:100]}.")
    return config


def _check_settings(folder: Path, config: dict[str, Any], settings: MelSettings) -> None:
    """Raise InputError, with the options that would fit, if the vocoder reads other frames than the run's."""
    rate_hz, hop, window = (config[name] for name in ("sampling_rate", "hop_size", "win_size"))
    top_hz = config["fmax"] or rate_hz / 2
    wanted = MelSettings(
        rate_hz, config["num_mels"], round(1000 * window / rate_hz, 3), round(1000 * hop / rate_hz, 3),
        None if top_hz == rate_hz / 2 else float(top_hz),
    )  # fmt: skip
    if config["fmin"] != 0 or wanted.n_fft != config["n_fft"] or (wanted.hop, wanted.window) != (hop, window):
        raise InputError(
            f"vocoder={folder} reads frames with fmin={config['fmin']:g}, n_fft={config['n_fft']} and "
            f"win_size={window}; ssl makes them from 0 Hz on, with the power of 2 that holds a window."
        )
    same = (wanted.sample_rate_hz, wanted.n_mels, wanted.hop, wanted.window, wanted.top_hz or rate_hz / 2) == (
        settings.sample_rate_hz, settings.n_mels, settings.hop, settings.window,
        settings.top_hz or settings.sample_rate_hz / 2,
    )  # fmt: skip
    if not same:
        raise InputError(
            f"vocoder={folder} reads other frames than this run's: train with data.sample_rate_hz={rate_hz} "
            f"data.n_mels={wanted.n_mels} data.window_ms={wanted.window_ms:g} data.hop_ms={wanted.hop_ms:g} "
            f"data.top_hz={'null' if wanted.top_hz is None else f'{wanted.top_hz:g}'}."
        )


def _shape(path: Path, config: dict[str, Any]) -> GeneratorShape:
    rates, kernels = config["upsample_rates"], config["upsample_kernel_sizes"]
    sizes, dilations = config["resblock_kernel_sizes"], config["resblock_dilation_sizes"]
    shape = GeneratorShape(
        config["num_mels"], config["upsample_initial_channel"], tuple(rates), tuple(kernels), tuple(sizes),
        tuple(map(tuple, dilations)), config["resblock"] == "1",
    )  # fmt: skip
    fault = None
    if not rates or not sizes or len(rates) != len(kernels) or len(sizes) != len(dilations) or len(rates) > 8:
        fault = "each rate needs a kernel size, and each block its dilations"
    elif any(kernel < rate or (kernel - rate) % 2 for rate, kernel in zip(rates, kernels, strict=True)):
        fault = "a kernel of upsampling must be larger than its rate by an even number"
    elif any(size % 2 == 0 for size in sizes) or not all(dilations):
        fault = "kernel sizes of blocks must be odd"
    elif shape.hop != config["hop_size"]:
        fault = f"upsample_rates multiply to {shape.hop}, not to hop_size={config['hop_size']}"
    elif shape.channels % 2 ** len(rates):
        fault = f"upsample_initial_channel can't be halved {len(rates)} times"
    if fault:
        raise InputError(f"{path}: {fault}.")
    return shape


def _weights_file(folder: Path) -> Path:
    for pattern in PATTERNS:
        if files := sorted(path for path in folder.glob(pattern) if path.is_file()):
            return files[-1]
    raise InputError(f"vocoder={folder} has no weights: no file called {', '.join(PATTERNS)}.")


def _load_weights(path: Path, shape: GeneratorShape) -> HifiGan:
    """Return the generator with the weights in a file, whose every name and shape must be the network's."""
    state = fold_weight_norm(_read_state(path))
    with torch.device("meta"):  # nothing is allocated for what a config claims
        model = HifiGan(shape)
    wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    if wanted != found:
        name = next(name for name in [*wanted, *found] if wanted.get(name) != found.get(name))
        raise InputError(
            f"{path} does not fit its config.json: {name} is {found.get(name, 'missing')}, not "
            f"{wanted.get(name, 'in the network')}."
        )
    if not all(value.is_floating_point() and value.isfinite().all() for value in state.values()):
        raise InputError(f"{path} is damaged: it has weights that are NaN, infinite or no numbers.")
    model.load_state_dict({name: value.float() for name, value in state.items()}, assign=True)
    return model.eval().requires_grad_(False)


def _read_state(path: Path) -> dict[str, Tensor]:
    if (n_bytes := path.stat().st_size) > MAX_FILE_BYTES:
        raise InputError(f"{path} has {n_bytes:,} bytes, more than {MAX_FILE_BYTES:,}: it is no HiFi-GAN.")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} can't be read: {error}.") from error
    except Exception as error:  # torch's unpickler raises many types for a file that is none of its own
        if "WeightsUnpickler error: Unsupported" not in str(error) and "Unsupported global" not in str(error):
            raise InputError(f"{path} is damaged, or no file of torch: it can't be unpickled.") from error
        raise InputError(
            f"{path} can't be read without running the code in it. If you trust it, convert it once: "
            f"python -c \"import torch; from safetensors.torch import save_file; "
            f"save_file(torch.load('{path.name}', weights_only=False)['generator'], 'generator.safetensors')\"."
        ) from error
    state = content.get("generator", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise InputError(f'{path} is not HiFi-GAN\'s: it must be {{"generator": weights by name}}.')
    return state
