"""The cache of frames: the same as in memory, used again, and built anew when something has changed."""

import json
from pathlib import Path

import numpy as np
import pytest

from ssl_cli.data.audio import cache as cache_module
from ssl_cli.data.audio import folder as folder_module
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.folder import SpeechFolder
from ssl_cli.data.audio.reader import SpeechReader
from ssl_cli.data.audio.windows import SpeechWindows
from ssl_cli.errors import InputError
from tests.helpers.sounds import save_sound, save_speakers


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """Sounds of two speakers, one of them with an alignment, and a file that can't be read."""
    folder = save_speakers(tmp_path / "sounds")
    (folder / "ben" / "2.lab").write_text("0 0.1 SIL\n0.1 0.2 a\n")
    (folder / "ben" / "9.wav").write_text("text")
    return folder


def read(folder: Path) -> SpeechData:
    return SpeechFolder(dir=str(folder), cache=str(folder.parent / "cache")).speech_splits(0)


def test_a_large_set_is_mapped_and_the_same(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "BATCH_FILES", 5)
    in_memory = read(recordings)
    assert not (recordings.parent / "cache").exists()
    monkeypatch.setattr(cache_module, "MAX_MEMORY_BYTES", 20_000)
    for _ in range(2):
        mapped = read(recordings)
        assert (mapped.fingerprint, mapped.warnings, mapped.phones) == (
            in_memory.fingerprint, in_memory.warnings, in_memory.phones
        )  # fmt: skip
        for name, split in mapped.splits.items():
            assert isinstance(split.frames, np.memmap)
            np.testing.assert_array_equal(split.frames, in_memory.splits[name].frames)
            np.testing.assert_array_equal(split.phone, in_memory.splits[name].phone)
        batch = SpeechWindows(mapped.splits["train"], mapped.reader, 16, 0, True)[0, slice(0, 4), 1.0]
        wanted = SpeechWindows(in_memory.splits["train"], in_memory.reader, 16, 0, True)[0, slice(0, 4), 1.0]
        np.testing.assert_array_equal(batch["frames"], wanted["frames"])
    assert len(list((recordings.parent / "cache").iterdir())) == 1
    # Decoded once: the second time nothing was.
    monkeypatch.setattr(folder_module, "read_samples", None)
    read(recordings)


def test_a_changed_file_or_setting_is_read_again(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MAX_MEMORY_BYTES", 20_000)
    fingerprints = {read(recordings).fingerprint}
    save_sound(recordings / "anna" / "0.wav", 0.4, seed=5)
    fingerprints.add(read(recordings).fingerprint)
    (recordings / "ben" / "2.lab").write_text("0 0.15 SIL\n0.15 0.2 a\n")
    fingerprints.add(read(recordings).fingerprint)
    assert len(fingerprints) == 3


def test_a_damaged_cache_is_named(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MAX_MEMORY_BYTES", 20_000)
    read(recordings)
    (folder,) = (recordings.parent / "cache").iterdir()
    about = json.loads((folder / "about.json").read_text())
    about["length"][0] += 1
    (folder / "about.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match="is damaged: remove it, and it will be built again"):
        read(recordings)


def test_a_cache_that_cannot_be_written(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "MAX_MEMORY_BYTES", 20_000)
    (recordings.parent / "cache").write_text("a file")
    with pytest.raises(InputError, match=r"can't be stored in .*cache: .* Set data.cache=PATH to use another folder"):
        read(recordings)


def test_the_reader_of_mapped_frames_is_that_of_frames_in_memory(
    recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory: SpeechReader = read(recordings).reader
    monkeypatch.setattr(cache_module, "MAX_MEMORY_BYTES", 20_000)
    np.testing.assert_array_equal(read(recordings).reader.speaker_mean, in_memory.speaker_mean)
