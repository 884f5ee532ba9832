"""The speech reader: the same frames as in training, normalised, saved and loaded, and refused when damaged."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.folder import SpeechFolder
from ssl_cli.data.audio.reader import SpeechReader
from ssl_cli.data.audio.utterances import MIN_STD, moments
from ssl_cli.errors import InputError
from tests.helpers.sounds import save_sound, save_speakers
from tests.helpers.speech_data import toy_speech


@pytest.fixture
def data(tmp_path: Path) -> SpeechData:
    """Two speakers, and one kept out of training."""
    save_speakers(tmp_path / "sounds", ("anna", "ben", "carl"))
    options: dict[str, Any] = {"normalization": "speaker", "unheard_speakers": ["carl"], "val": 0.2}
    return SpeechFolder(dir=str(tmp_path / "sounds"), **options).speech_splits(0)


def test_a_new_file_is_read_as_in_training(data: SpeechData, tmp_path: Path) -> None:
    found = data.reader.read(tmp_path / "sounds")
    assert (len(found.names), found.rejected) == (18, [])
    assert found.speakers == ["anna"] * 6 + ["ben"] * 6 + ["carl"] * 6
    train = data.splits["train"]
    for u, name in enumerate(train.names):
        k = found.names.index(name)
        np.testing.assert_allclose(found.frames[found.begin[k] : found.begin[k + 1]], train.utterance(u), atol=1e-5)
    one = data.reader.read(tmp_path / "sounds" / train.names[0])
    np.testing.assert_allclose(one.frames, train.utterance(0), atol=1e-5)
    assert (one.names, one.speakers) == ([train.names[0].split("/")[1]], [""])


def test_other_rates_are_converted_and_bad_files_named(data: SpeechData, tmp_path: Path) -> None:
    save_sound(tmp_path / "new" / "a.flac", 0.5, 44100)
    (tmp_path / "new" / "b.wav").write_text("text")
    found = data.reader.read(tmp_path / "new")
    assert (found.names, len(found.frames), found.rejected) == (["a.flac"], 51, [("b.wav", "it is text, not a sound")])
    with pytest.raises(InputError, match=r"none\.wav is neither a file nor a folder"):
        data.reader.read(tmp_path / "none.wav")


def test_each_normalization(data: SpeechData) -> None:
    train, unheard, reader = data.splits["train"], data.splits["unheard"], data.reader
    for s in range(2):
        rows = train.take(train.speaker == s)
        normal = reader.normalize(rows.frames, rows.begin, rows.speaker)
        np.testing.assert_allclose(normal.mean(0), 0, atol=1e-4)
        assert ((np.abs(normal.std(0) - 1) < 1e-3) | (rows.frames.std(0) < MIN_STD)).all()
        np.testing.assert_allclose(reader.denormalize(normal, s), rows.frames, atol=1e-4)
    for speaker in (unheard.speaker, np.full(len(unheard), -1)):
        normal = reader.normalize(unheard.frames, unheard.begin, speaker)
        np.testing.assert_allclose(normal.mean(0), 0, atol=1e-4)  # by their own frames
    reader.normalization = "utterance"
    normal = reader.normalize(train.frames, train.begin, train.speaker)
    np.testing.assert_allclose(normal[: train.begin[1]].mean(0), 0, atol=1e-4)
    reader.normalization = "global"
    normal = reader.normalize(train.frames, train.begin, train.speaker)
    np.testing.assert_allclose(normal, (train.frames - train.frames.mean(0)) / reader.std, atol=1e-3)
    np.testing.assert_allclose(reader.denormalize(normal, 1), train.frames, atol=1e-4)


def test_voices_are_bounded_training_utterances(data: SpeechData, monkeypatch: pytest.MonkeyPatch) -> None:
    train, voices = data.splits["train"], data.reader.voices
    assert voices is not None
    assert sorted(voices.names) == sorted(train.names)
    places = [train.names.index(name) for name in voices.names]
    np.testing.assert_allclose(voices.frames, train.take(np.array(places)).frames, atol=0.01)
    monkeypatch.setattr("ssl_cli.data.audio.reader.VOICE_S", 0.7)
    names = (["anna", "ben"], [], [])
    short = SpeechReader.fit(data.reader.settings, "global", train, names, loudness=True, trim=False).voices
    assert short is not None
    for s in range(2):
        assert 0 < short.lengths[short.speaker == s].sum() <= 70
    monkeypatch.setattr("ssl_cli.data.audio.reader.VOICE_S", 0.1)  # less than any utterance
    short = SpeechReader.fit(data.reader.settings, "global", train, names, loudness=True, trim=False).voices
    assert short is not None
    assert short.lengths.tolist() == [10, 10]


def test_moments_are_those_of_each_group(data: SpeechData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_cli.data.audio.utterances.UTTERANCES_AT_ONCE", 3)
    train = data.splits["train"]
    group = np.arange(len(train)) % 3
    mean, std = moments(train.frames, train.begin, group, 4)
    for g in range(3):
        frames = train.take(group == g).frames
        np.testing.assert_allclose(mean[g], frames.mean(0), atol=1e-4)
        np.testing.assert_allclose(std[g], frames.std(0).clip(min=MIN_STD), atol=1e-4)
    assert (mean[3] == 0).all()


def test_voices_are_spread_over_all_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ssl_cli.data.audio.reader.VOICE_S", 2.5)
    voices = toy_speech().reader.voices  # of 24 utterances of 0.3 s a speaker, sorted by word
    assert voices is not None
    for s in range(3):
        words = voices.word[voices.speaker == s]
        assert len(words) < 10 and np.bincount(words, minlength=3).min() >= 2 and len(set(words[:4])) == 3


def test_saved_and_loaded_it_is_the_same(data: SpeechData, tmp_path: Path) -> None:
    data.reader.save(tmp_path)
    loaded = SpeechReader.load(tmp_path)
    for name in ("mean", "std", "speaker_mean", "speaker_std"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(data.reader, name))
    for name in ("settings", "normalization", "speakers", "words", "phones", "loudness", "trim"):
        assert getattr(loaded, name) == getattr(data.reader, name)
    assert loaded.voices is not None
    assert data.reader.voices is not None
    for name in ("frames", "begin", "speaker", "word", "row", "names"):
        np.testing.assert_array_equal(getattr(loaded.voices, name), getattr(data.reader.voices, name))


def edit_state(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        state = json.loads((folder / "reader.json").read_text())
        change(state)
        (folder / "reader.json").write_text(json.dumps(state))

    return edit


def edit_arrays(file: str, change: Callable[[dict[str, np.ndarray]], None]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        arrays = load_file(folder / file)
        change(arrays)
        save_file(arrays, folder / file)

    return edit


STATISTICS, VOICES = "reader.safetensors", "voices.safetensors"
DAMAGE: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no reader": (lambda folder: (folder / "reader.json").unlink(), "reader.json is damaged"),
    "another kind": (edit_state(lambda s: s.update(kind="images")), "kind must be one of speech"),
    "an unknown key": (edit_state(lambda s: s.update(more=1)), "and nothing else"),
    "a huge rate": (edit_state(lambda s: s["settings"].update(sample_rate_hz=10**9)), "sample_rate_hz must be a whole"),
    "a tiny hop": (edit_state(lambda s: s["settings"].update(hop_ms=1e-9)), "hop_ms must be a number"),
    "no mel bands": (edit_state(lambda s: s["settings"].pop("n_mels")), "it must have sample_rate_hz"),
    "a speaker more": (edit_state(lambda s: s["speakers"].append("x")), r"speaker_mean must be float32 \(3, 64\)"),
    "a voice more": (edit_state(lambda s: s["voices"].append("x")), "begin must be int64"),
    "no statistics": (lambda folder: (folder / STATISTICS).unlink(), "reader.safetensors can't be read"),
    "text": (lambda folder: (folder / STATISTICS).write_text("text"), "reader.safetensors is damaged"),
    "NaN": (edit_arrays(STATISTICS, lambda a: a["mean"].__setitem__(0, np.nan)), "mean has numbers that are NaN"),
    "a deviation of 0": (edit_arrays(STATISTICS, lambda a: a["std"].__setitem__(0, 0)), "deviation is not above 0"),
    "another type": (edit_arrays(STATISTICS, lambda a: a.update(mean=a["mean"].astype("f8"))), "must be float32"),
    "an array more": (edit_arrays(STATISTICS, lambda a: a.update(x=a["mean"])), "and nothing else"),
    "utterances out of order": (edit_arrays(VOICES, lambda a: a["begin"].__setitem__(1, 10**9)), "do not fit"),
    "an unknown speaker": (edit_arrays(VOICES, lambda a: a["speaker"].__setitem__(0, 7)), "do not fit reader.json"),
    "an unknown word": (edit_arrays(VOICES, lambda a: a["word"].__setitem__(0, -2)), "do not fit reader.json"),
}


@pytest.mark.parametrize("name", list(DAMAGE))
def test_a_damaged_reader_is_one_sentence(data: SpeechData, tmp_path: Path, name: str) -> None:
    damage, message = DAMAGE[name]
    data.reader.save(tmp_path)
    damage(tmp_path)
    with pytest.raises(InputError, match=message):
        SpeechReader.load(tmp_path)


def test_files_larger_than_any_reader_are_not_loaded(
    data: SpeechData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.reader.save(tmp_path)
    monkeypatch.setattr("ssl_cli.data.audio.reader_files.MAX_FILE_BYTES", {STATISTICS: 1 << 20, VOICES: 100})
    with pytest.raises(InputError, match=r"voices.safetensors is damaged: it has [\d,]+ bytes, more than 100"):
        SpeechReader.load(tmp_path)
