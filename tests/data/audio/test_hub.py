"""Speech of the hub, from local Parquet files in its format."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest

from ssl_cli.data.audio.folder import SpeechFolder
from ssl_cli.data.audio.hub import sound_of
from ssl_cli.errors import InputError
from tests.helpers.sounds import buzz, save_sound


def write_parquet(folder: Path, sounds: list[Any], split: str = "train", **columns: list[Any]) -> None:
    folder.mkdir(exist_ok=True)
    pa.parquet.write_table(pa.table({"audio": sounds, **columns}), folder / f"{split}-00000-of-00001.parquet")


def read(folder: Path, **options: Any) -> Any:
    return SpeechFolder(dir=None, hub=str(folder), cache=str(folder.parent / "cache"), **options).speech_splits(0)


def test_encoded_sounds_with_speakers_and_words(tmp_path: Path) -> None:
    sounds = []
    for k in range(8):
        path = save_sound(tmp_path / f"{k}.flac", 0.3, 16000, seed=k)
        sounds.append({"bytes": path.read_bytes(), "path": f"{k}.flac"})
    sounds.append({"bytes": b"text", "path": "x.wav"})
    columns = {"speaker_id": [1, 10, 2] * 3, "text": ["Yes", "no way", "no"] * 3}
    write_parquet(tmp_path / "hub", sounds, **columns)
    write_parquet(tmp_path / "hub", sounds[:3], "test", speaker_id=[1, 10, 2], text=["yes", "", "no"])
    data = read(tmp_path / "hub", val=0)
    assert (data.speakers, data.words, data.facts["sample_rate_hz"]) == (["1", "2", "10"], ["no", "yes"], 16000)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 8, "test": 3}
    assert data.splits["test"].word.tolist() == [1, -1, 0]
    assert data.warnings == [f"1 of 12 sounds in {tmp_path}/hub are left out: train/8 (it is text, not a sound)"]


def test_arrays_with_their_rate(tmp_path: Path) -> None:
    sounds = [{"array": buzz(0.3, seed=k).tolist(), "sampling_rate": 8000, "path": None} for k in range(4)]
    write_parquet(tmp_path / "hub", sounds)
    data = read(tmp_path / "hub", val=0, test=0)
    assert (data.speakers, data.facts["sample_rate_hz"]) == (["speaker"], 8000)
    assert data.splits["train"].lengths.tolist() == [31] * 4


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (None, "its audio is neither bytes, nor a path, nor an array"),
        ({"array": [0.0] * 9000, "sampling_rate": 10**9}, "its sample rate is 1000000000 Hz"),
        ({"array": [0.0] * 9000}, "its sample rate is None Hz"),
        ({"array": np.zeros((2, 2, 2)).tolist(), "sampling_rate": 8000}, "its array has 3 dimensions"),
        ({"bytes": b""}, "it is empty"),
    ],
)
def test_cells_that_are_no_sounds(cell: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        sound_of(cell)


def test_a_dataset_without_sounds(tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    with pytest.raises(InputError, match=r"hub is a folder without Parquet files"):
        read(tmp_path / "hub")
    pa.parquet.write_table(pa.table({"text": ["a"]}), tmp_path / "hub" / "train-0.parquet")
    with pytest.raises(InputError, match="hub has no column audio; it has text"):
        read(tmp_path / "hub")
