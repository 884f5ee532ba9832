"""Speech of the Hugging Face hub: a dataset with a column of sounds, or a local folder of its Parquet files."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from ssl_cli.data.audio.decode import check_rate, read_samples
from ssl_cli.data.audio.recordings import Recordings
from ssl_cli.data.io.hub import hub_access
from ssl_cli.data.io.hub_errors import describe_hub_error
from ssl_cli.errors import InputError

SPLITS = {"train": "train", "validation": "val", "valid": "val", "dev": "val", "test": "test"}
SPEAKER_COLUMNS = ("speaker", "speaker_id", "spk_id", "client_id", "speaker_name", "user_id")
WORD_COLUMNS = ("word", "label", "digit", "text", "sentence", "transcription", "transcript")


def read_hub(hub: str, cache: Path | None) -> Recordings:
    """Return the recordings of a dataset. Raises InputError if it can't be read or has no column of sounds."""
    try:
        splits = _open(hub, cache)
    except InputError:
        raise
    except Exception as error:  # the hub, the network and the disk fail in many ways
        raise InputError(f"{hub} can't be read: {describe_hub_error(error)}.") from error
    rows = [(split, k) for split, table in splits.items() for k in range(len(table))]
    if not rows:
        raise InputError(f"{hub} has no rows.")
    columns = next(iter(splits.values())).column_names
    if "audio" not in columns:
        raise InputError(f"{hub} has no column audio; it has {', '.join(columns)}.")
    speakers = _column(splits, SPEAKER_COLUMNS, columns) or ["speaker"] * len(rows)
    words = _column(splits, WORD_COLUMNS, columns) or [""] * len(rows)

    def load(k: int) -> tuple[np.ndarray, int]:
        split, index = rows[k]
        return sound_of(splits[split][index]["audio"])

    n_bytes = 1 << 16  # a guess: what a sound has is only known when it is read
    digests = {split: getattr(table, "_fingerprint", "") for split, table in splits.items()}
    return Recordings(
        place=hub,
        names=[f"{split}/{k}" for split, k in rows],
        speakers=speakers,
        words=[word.strip().lower() if len(word.split()) == 1 else "" for word in words],
        takes=[""] * len(rows),
        splits=[SPLITS.get(split, "") if len(splits) > 1 else "" for split, _ in rows],
        versions=[digests[split] for split, _ in rows],
        sizes=[n_bytes] * len(rows),
        rates_hz=_rates(load, len(rows)),
        load=load,
        align=lambda _: None,
    )


def sound_of(cell: Any) -> tuple[np.ndarray, int]:
    """Return the samples (S, channels) and rate of a cell: encoded bytes, a path, or an array with its rate.

    Raises InputError, with the reason alone, if it is none of these.
    """
    if isinstance(cell, bytes):
        return read_samples(BytesIO(cell))
    if isinstance(cell, str):
        return read_samples(Path(cell))
    if isinstance(cell, dict):
        if cell.get("bytes") is not None:
            return read_samples(BytesIO(cell["bytes"]))
        if cell.get("array") is not None:
            samples = np.asarray(cell["array"], np.float32)
            rate_hz = check_rate(cell.get("sampling_rate"))
            if samples.ndim > 2:
                raise InputError(f"its array has {samples.ndim} dimensions")
            return samples.reshape(len(samples), -1), rate_hz
        if cell.get("path"):
            return read_samples(Path(cell["path"]))
    raise InputError("its audio is neither bytes, nor a path, nor an array")


def _open(hub: str, cache: Path | None) -> dict[str, Any]:
    """Return a table per split, whose sounds are not decoded."""
    import datasets  # takes half a second, and is needed here only

    datasets.disable_progress_bars()
    folder = Path(hub).expanduser()
    if folder.is_dir():
        paths = sorted(folder.glob("**/*.parquet"))
        if not paths:
            raise InputError(f"data.hub={hub} is a folder without Parquet files.")
        files: dict[str, list[str]] = {}
        for path in paths:  # named as on the hub: train-00000-of-00001.parquet
            split = path.name.split("-")[0].removesuffix(".parquet")
            files.setdefault(split if split in SPLITS else "train", []).append(str(path))
        tables = datasets.load_dataset("parquet", data_files=files, cache_dir=cache and str(cache))
    else:
        with hub_access(hub):
            tables = datasets.load_dataset(hub, cache_dir=cache and str(cache))
    return {name: _undecoded(table) for name, table in tables.items()}


def _undecoded(table: Any) -> Any:
    import datasets

    if isinstance(table.features.get("audio"), datasets.Audio):
        return table.cast_column("audio", datasets.Audio(decode=False))
    return table


def _column(splits: dict[str, Any], names: tuple[str, ...], columns: list[str]) -> list[str] | None:
    """Return the values of the first of some columns that the dataset has, as texts; class labels by name."""
    name = next((name for name in names if name in columns), None)
    if name is None:
        return None
    values = []
    for table in splits.values():
        feature = table.features[name]
        values += [feature.int2str(v) if hasattr(feature, "int2str") else str(v) for v in table[name]]
    return values


def _rates(load: Any, n: int) -> list[int]:
    rates = []
    for k in range(0, n, -(-n // 10)):
        try:
            rates.append(load(k)[1])
        except InputError:
            continue
    return rates
