"""Files of a speech reader in a run folder, read as untrusted: JSON, and arrays as safetensors."""

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ssl_cli.config.typecheck import expected, fits
from ssl_cli.config.types import Range
from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.data.io.json_state import read_state
from ssl_cli.errors import InputError

READER, STATISTICS, VOICES = "reader.json", "reader.safetensors", "voices.safetensors"
MAX_FILE_BYTES = {STATISTICS: 1 << 26, VOICES: 1 << 31}
Normalization = Literal["global", "speaker", "utterance"]
SampleRate = Annotated[int, Range(4000, 48_000)]
MelBands = Annotated[int, Range(8, 256)]
WindowMs = Annotated[float, Range(4, 200)]
HopMs = Annotated[float, Range(1, 100)]
TopHz = Annotated[float, Range(1000, 24_000)]
STATE_TYPES: dict[str, Any] = {
    "kind": Literal["speech"], "settings": dict, "normalization": Normalization, "speakers": list[str],
    "words": list[str], "phones": list[str], "loudness": bool, "trim": bool, "voices": list[str] | None,
}  # fmt: skip
SETTINGS_TYPES: dict[str, Any] = {
    "sample_rate_hz": SampleRate, "n_mels": MelBands, "window_ms": WindowMs, "hop_ms": HopMs, "top_hz": TopHz | None
}  # fmt: skip


def read_reader_files(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], SpeechSplit | None]:
    """Return the state, the statistics and the voices of a reader. Raises InputError if anything is not as written."""
    path = folder / READER
    state = read_state(path)
    _check_types(path, state, STATE_TYPES)
    _check_types(path, state["settings"], SETTINGS_TYPES)
    n_mels, n_speakers = state["settings"]["n_mels"], len(state["speakers"])
    shapes: dict[str, tuple[int, ...]] = {name: (n_mels,) for name in ("mean", "std")}
    shapes |= {name: (n_speakers, n_mels) for name in ("speaker_mean", "speaker_std")}
    arrays = _load(folder / STATISTICS)
    _check_arrays(folder / STATISTICS, arrays, {name: (np.float32, shape) for name, shape in shapes.items()})
    if any(arrays[name].min(initial=1) <= 0 for name in ("std", "speaker_std")):
        raise InputError(f"{folder / STATISTICS} is damaged: a standard deviation is not above 0.")
    return state, arrays, None if state["voices"] is None else _read_voices(folder / VOICES, state)


def _read_voices(path: Path, state: dict[str, Any]) -> SpeechSplit:
    n, arrays = len(state["voices"]), _load(path)
    n_frames = len(arrays.get("frames", ()))
    rows = {name: (np.int64, (n,)) for name in ("speaker", "word", "row")}
    frames = (np.float16, (n_frames, state["settings"]["n_mels"]))
    _check_arrays(path, arrays, {"frames": frames, "begin": (np.int64, (n + 1,)), **rows})
    begin, speaker, word = arrays["begin"], arrays["speaker"], arrays["word"]
    in_order = begin[0] == 0 and begin[-1] == n_frames and (np.diff(begin) > 0).all()
    known = _within(speaker, 0, len(state["speakers"])) and _within(word, -1, len(state["words"]))
    if not (in_order and known):
        raise InputError(f"{path} is damaged: its utterances do not fit {READER}.")
    return SpeechSplit(
        arrays["frames"].astype(np.float32), begin, speaker, word, None, state["voices"], arrays["row"]
    )


def _within(values: np.ndarray, low: int, end: int) -> bool:
    return not len(values) or bool(values.min() >= low and values.max() < end)


def _check_types(path: Path, state: dict[str, Any], types: dict[str, Any]) -> None:
    if set(state) != set(types):
        raise InputError(f"{path} is damaged: it must have {', '.join(types)}, and nothing else.")
    for name, annotation in types.items():
        if not fits(state[name], annotation):
            wanted, value = expected(annotation), repr(state[name])[:100]
            raise InputError(f"{path} is damaged: {name} must be {wanted}, not {value}.")


def _load(path: Path) -> dict[str, np.ndarray]:
    try:
        if (n_bytes := path.stat().st_size) > MAX_FILE_BYTES[path.name]:
            raise InputError(f"{path} is damaged: it has {n_bytes:,} bytes, more than {MAX_FILE_BYTES[path.name]:,}.")
        return load_file(path)
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror or error}.") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged: {error}.") from error


def _check_arrays(
    path: Path, arrays: dict[str, np.ndarray], wanted: dict[str, tuple[type[np.generic], tuple[int, ...]]]
) -> None:
    """Raise InputError if arrays do not have given names, types, shapes, and finite numbers."""
    if set(arrays) != set(wanted):
        raise InputError(f"{path} is damaged: it must have {', '.join(wanted)}, and nothing else.")
    for name, (dtype, shape) in wanted.items():
        array = arrays[name]
        if array.dtype != dtype or array.shape != shape:
            raise InputError(
                f"{path} is damaged: {name} must be {np.dtype(dtype)} {shape}, not {array.dtype} {array.shape}."
            )
        if not np.isfinite(array).all():
            raise InputError(f"{path} is damaged: {name} has numbers that are NaN or infinite.")
