"""Judges learn words and speakers, by their seed alone."""

import numpy as np
import pytest

from ssl_cli.commands.speech import judges
from ssl_cli.commands.speech.waveforms import heard, to_waveforms
from ssl_cli.data.audio.features import log_mel_end_to_end
from tests.helpers.speech_data import SETTINGS, SPEAKERS, WORDS, toy_speech


def trained(steps: int, monkeypatch: pytest.MonkeyPatch, seed: int = 0) -> judges.Judges:
    monkeypatch.setattr(judges, "STEPS", steps)
    data = toy_speech(unheard=False)
    return judges.train_judges([data.splits["train"]], WORDS, SPEAKERS[:3], data.reader, seed)


def test_judges_know_words_and_speakers_of_recordings_and_waveforms(monkeypatch: pytest.MonkeyPatch) -> None:
    learned, data = trained(60, monkeypatch), toy_speech()
    test = data.splits["test"]
    real = [test.utterance(u) for u in range(len(test))]
    resynthesized = heard(to_waveforms(real, SETTINGS), data.reader)
    for clips in (real, resynthesized):
        assert learned.word is not None and (learned.word.answers(clips) == test.word).mean() > 0.9
        assert learned.speaker is not None and (learned.speaker.answers(clips) == test.speaker).mean() > 0.9
    one = learned.word.probabilities([real[0]])
    np.testing.assert_allclose(learned.word.probabilities(real)[0], one[0], atol=1e-4)
    assert one.shape == (1, 3) and one.sum() == pytest.approx(1, abs=1e-5)


def test_a_judge_is_a_function_of_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    data = toy_speech()
    clips = [data.splits["test"].utterance(u) for u in range(5)]
    first, again, other = (trained(3, monkeypatch, seed).speaker for seed in (0, 0, 1))
    assert first is not None and again is not None and other is not None
    assert np.array_equal(first.probabilities(clips), again.probabilities(clips))
    assert not np.array_equal(first.probabilities(clips), other.probabilities(clips))


def test_there_is_no_judge_of_one_class_or_of_unknown_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "STEPS", 1)
    data = toy_speech(unheard=False)
    train = data.splits["train"]
    train.speaker[:] = 1
    train.word[:] = -1
    learned = judges.train_judges([train], [], SPEAKERS[:3], data.reader, 0)
    assert learned.word is None and learned.speaker is None


def test_waveforms_are_as_long_as_their_frames_and_sound_like_them() -> None:
    split = toy_speech().splits["test"]
    sounds = [split.utterance(0), split.utterance(9)[:1], split.utterance(12)]
    waves = to_waveforms(sounds, SETTINGS)
    assert [len(wave) for wave in waves] == [max(1, (len(each) - 1) * SETTINGS.hop) for each in sounds]
    frames, length = log_mel_end_to_end([waves[0], waves[2]], SETTINGS)
    assert length.tolist() == [len(sounds[0]), len(sounds[2])]
    difference = frames - np.concatenate([sounds[0], sounds[2]])
    assert np.abs(difference).mean() < 0.5


@pytest.mark.parametrize("wave", [np.zeros(800), np.ones(1), np.full(800, np.nan)])
def test_a_waveform_that_cannot_be_made_louder_is_heard_as_it_is(wave: np.ndarray) -> None:
    (frames,) = heard([wave.astype(np.float32)], toy_speech().reader)
    assert np.isfinite(frames).all() and len(frames) == SETTINGS.n_frames(len(wave))
