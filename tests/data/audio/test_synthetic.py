"""Synthetic speech: the same from a seed, voices and words that differ as intended, and exact phones."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.synthetic import PHONES, RATE_HZ, VOICES, WORDS, SyntheticSpeech, synthesize


@pytest.fixture(scope="module")
def data() -> SpeechData:
    """The default: 480 recordings."""
    return SyntheticSpeech(test=0.2).speech_splits(0)


def test_every_voice_says_every_word(data: SpeechData) -> None:
    assert sum(len(split) for split in data.splits.values()) == 480
    assert (data.speakers, data.words) == (sorted(VOICES), sorted(WORDS))
    for split in (data.splits["train"], data.splits["test"]):
        assert (np.bincount(split.speaker * 8 + split.word, minlength=48) > 0).all()
    assert set(data.phones) == set(PHONES)
    assert data.warnings == []


def test_it_follows_from_the_seed() -> None:
    first, again, other = (list(synthesize(1, seed)) for seed in (0, 0, 1))
    assert all(np.array_equal(a[1], b[1]) and a[2] == b[2] for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a[1][:100], b[1][:100]) for a, b in zip(first, other, strict=True))


def test_the_phones_of_a_word_are_where_the_alignment_says() -> None:
    for name, wave, segments in synthesize(1, 0):
        assert [phone for _, _, phone in segments] == ["SIL", *name.split("_")[0], "SIL"]
        assert segments[-1][1] == pytest.approx(len(wave) / RATE_HZ)
        assert all(before[1] == after[0] for before, after in pairwise(segments))
        loud = {phone: np.sqrt(np.mean(wave[round(a * RATE_HZ) : round(b * RATE_HZ)] ** 2)) for a, b, phone in segments}
        assert loud["SIL"] < 0.2 * max(loud.values())


def vowel(word: str, phone: str) -> dict[str, np.ndarray]:
    """Return the middle of a vowel by each voice, (N, 800) samples."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in VOICES}
    for name, wave, segments in synthesize(4, 0):
        if name.startswith(word):
            start, end = next((a, b) for a, b, other in segments if other == phone)
            middle = round((start + end) / 2 * RATE_HZ)
            found[name.split("_")[1]].append(wave[middle - 400 : middle + 400])
    return {name: np.stack(waves) for name, waves in found.items()}


def pitch_hz(wave: np.ndarray) -> float:
    """Return the frequency, between 70 and 330 Hz, whose period repeats the wave best: by normalized correlation."""
    lags = np.arange(RATE_HZ // 330, RATE_HZ // 70)
    likeness = [np.corrcoef(wave[:-lag], wave[lag:])[0, 1] for lag in lags]
    best = max(likeness)  # of about equal ones the shortest: two periods repeat it as well as one
    return RATE_HZ / next(lag for lag, value in zip(lags, likeness, strict=True) if value > best - 0.05)


def test_pitch_is_that_of_the_voice() -> None:
    for name, waves in vowel("sami", "a").items():
        found_hz = np.median([pitch_hz(wave) for wave in waves])
        assert found_hz == pytest.approx(VOICES[name][0], rel=0.1), name


def test_formants_are_those_of_phone_and_tract() -> None:
    centres = {}
    for phone, word in (("i", "mina"), ("a", "mina")):
        for name, waves in vowel(word, phone).items():
            spectrum = (np.abs(np.fft.rfft(waves * np.hanning(800), axis=1)) ** 2).mean(0)
            hz = np.fft.rfftfreq(800, 1 / RATE_HZ)
            band = (hz > 900) & (hz < 3300)  # formant 2
            centres[phone, name] = float((hz * spectrum)[band].sum() / spectrum[band].sum())
    for name in VOICES:
        assert centres["i", name] > centres["a", name] + 300
    tracts = [VOICES[name][1] for name in VOICES]
    assert np.corrcoef(tracts, [centres["i", name] for name in VOICES])[0, 1] < -0.8  # the longer, the lower


def test_a_small_classifier_tells_words_and_voices_apart(data: SpeechData) -> None:
    def thirds(name: str) -> np.ndarray:
        split = data.splits[name]
        parts = [np.array_split(split.utterance(u), 3) for u in range(len(split))]
        return (np.array([[part.mean(0) for part in three] for three in parts]).reshape(len(split), -1) + 5) / 3

    for labels in ("word", "speaker"):
        probe = LogisticRegression(max_iter=500).fit(thirds("train"), getattr(data.splits["train"], labels))
        assert probe.score(thirds("test"), getattr(data.splits["test"], labels)) > 0.95


def test_consonants_sound_and_differ() -> None:
    """Fricatives hiss high, nasals hum low, both weaker than vowels; a stop begins with silence."""
    centre_hz: dict[str, list[float]] = {}
    power: dict[str, list[float]] = {}
    for _, wave, segments in synthesize(1, 0):
        for start, end, phone in segments:
            part = wave[round((start + (end - start) / 4) * RATE_HZ) : round((end - (end - start) / 4) * RATE_HZ)]
            spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)))) ** 2
            hz = np.fft.rfftfreq(len(part), 1 / RATE_HZ)
            centre_hz.setdefault(phone, []).append(float((hz * spectrum).sum() / spectrum.sum()))
            power.setdefault(phone, []).append(float(np.mean(part**2)))
    middle_hz = {phone: np.median(values) for phone, values in centre_hz.items()}
    level_db = {phone: 10 * np.log10(np.median(values)) for phone, values in power.items()}
    assert middle_hz["s"] > middle_hz["f"] > 1500 > 600 > middle_hz["m"]
    for phone in ("s", "f", "m", "n", "l"):
        assert level_db["SIL"] + 10 < level_db[phone] < level_db["a"]
