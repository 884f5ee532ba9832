"""What judges and distortions say of models whose conversions are known."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from ssl_cli.commands.speech import conversion_metrics as metrics
from ssl_cli.commands.speech.judges import Judges
from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.utterances import spread_order
from ssl_cli.evaluation.metrics.cepstra import distortion_db
from tests.helpers.speech_data import toy_speech


@dataclass
class Template:
    """A judge that knows the mean spectra of speakers, or the place of the peak at the end of a word."""

    of: str

    def answers(self, log_mels: list[np.ndarray]) -> np.ndarray:
        if self.of == "speaker":
            tilts = [np.polyfit(np.arange(24), each.mean(0), 1)[0] for each in log_mels]
            return np.array([np.abs(np.array([-0.15, 0.0, 0.15, 0.3]) - tilt).argmin() for tilt in tilts])
        rises = []
        for each in log_mels:
            bands = each - each.mean(0)
            third = len(each) // 3
            change = bands[-third:].mean(0) - bands[:third].mean(0)
            rises.append(0 if change[15:].sum() > 8 else 1 if change[15:].sum() < -8 else 2)
        return np.array(rises)


JUDGES: Any = Judges(Template("word"), Template("speaker"))  # type: ignore[arg-type]


class Unchanged(nn.Module):
    """Gives back what it hears."""

    hears_reference: ClassVar[bool] = False
    reference_s: ClassVar[float] = 0.1

    def reconstruct_frames(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["frames"]

    def convert(self, batch: dict[str, Tensor]) -> Tensor:
        return batch["frames"]


class OneTake(Unchanged):
    """Says the first frames of the reference, whatever it hears."""

    hears_reference: ClassVar[bool] = True
    reference_s: ClassVar[float] = 0.5

    def convert(self, batch: dict[str, Tensor]) -> Tensor:
        steps = torch.arange(batch["frames"].shape[1]) % batch["reference_length"].min()
        return batch["reference"][:, steps]


def test_an_unchanged_voice_is_the_source_and_no_nearer_to_the_target() -> None:
    result = metrics.measure_conversion(Unchanged(), toy_speech(), JUDGES, 0)
    values = result.metrics
    assert values["test/word_kept"] > 0.9 and values["test/source_voice"] > 0.9 and values["test/target_voice"] < 0.1
    assert values["test/mcd_db"] == pytest.approx(values["test/mcd_source_db"], rel=0.2)
    assert values["test/mcd_take_db"] < 0.7 * values["test/mcd_source_db"]
    assert values["test/conversions"] == 27 * 2 and values["test/unheard_source_conversions"] == 6 * 3
    assert values["test/speaker_judge"] == 1 and values["test/speaker_judge_resynthesized"] > 0.9
    low, high = result.intervals["test/target_voice"]
    assert low <= values["test/target_voice"] <= high
    assert set(result.groups) == {"", "unheard_source"}  # it can't hear another speaker's voice


def test_another_take_is_the_target_and_not_the_word() -> None:
    values = metrics.measure_conversion(OneTake(), toy_speech(), JUDGES, 0).metrics
    assert values["test/target_voice"] > 0.9 and values["test/word_kept"] < 0.5
    assert values["test/unheard_target_target_voice"] > 0.9 and values["test/unheard_target_conversions"] == 27
    assert "test/without_word_word_kept" in values and "test/without_word_mcd_take_db" not in values


@pytest.mark.parametrize("normalization", ["global", "speaker", "utterance"])
def test_references_are_of_the_target_and_without_the_word(normalization: Any) -> None:
    data = toy_speech(normalization)
    references = metrics._References(data, data.splits["train"], 10**6)
    train = data.splits["train"]
    lengths = train.lengths[(train.speaker == 2) & (train.word != 1)]
    assert len(references.of(2, 1)) == lengths.sum()
    assert len(references.of(2, metrics.UNKNOWN)) == train.lengths[train.speaker == 2].sum()
    normal = references.of(2, metrics.UNKNOWN)
    rows = np.flatnonzero(train.speaker == 2)
    own = train.take(rows[spread_order(len(rows))]).frames
    if normalization != "utterance":
        np.testing.assert_allclose(references.denormalize(normal, 2), own, atol=1e-4)
    assert len(metrics._References(data, train, 7).of(0, 0)) == 7


def test_an_unheard_voice_gets_its_own_mean_back() -> None:
    data = toy_speech("speaker")
    known, _ = metrics.unheard_halves(data) or pytest.fail("no halves")
    references = metrics._References(data, known, 10**6)
    own = known.take(spread_order(len(known))).frames
    np.testing.assert_allclose(references.denormalize(references.of(3, -1), 3), own, atol=1e-4)


def test_each_half_of_an_unheard_speaker_has_every_word() -> None:
    halves = metrics.unheard_halves(toy_speech())
    assert halves is not None and not set(halves[0].names) & set(halves[1].names)
    assert all(np.bincount(half.word).tolist() == [2, 2, 2] for half in halves)
    assert metrics.unheard_halves(toy_speech(unheard=False)) is None


def test_pairs_are_of_different_speakers_and_use_all_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    test = toy_speech().splits["test"]
    source, target = metrics.sample_pairs(test, np.arange(3), 0)
    assert len(set(zip(source.tolist(), target.tolist(), strict=True))) == 54 and (test.speaker[source] != target).all()
    monkeypatch.setattr(metrics, "MAX_PAIRS", 27)
    source, target = metrics.sample_pairs(test, np.arange(3), 0)
    assert sorted(source) == list(range(27)) and len(np.unique(target)) == 3
    assert not np.array_equal(target, metrics.sample_pairs(test, np.arange(3), 1)[1])


def test_distortions_are_means_over_takes_of_the_word() -> None:
    data = toy_speech()
    test = data.splits["test"]
    converted = metrics.convert_pairs(
        Unchanged(), data, (test, np.array([0]), np.array([2])), data.splits["train"], test
    )
    (values,) = zip(*metrics.distortions(converted).values(), strict=True)
    takes = np.flatnonzero((test.speaker == 2) & (test.word == test.word[0]))
    frames = np.concatenate([converted.heard[0], test.frames])
    begin = np.concatenate([[0], len(converted.heard[0]) + test.begin])
    of = distortion_db(frames, begin, (np.zeros(3, int), takes + 1)).mean()
    source = distortion_db(frames, begin, (np.ones(3, int), takes + 1)).mean()
    a, b = np.array([(a, b) for a in takes for b in takes if a < b]).T + 1
    assert values == pytest.approx((of, source, distortion_db(frames, begin, (a, b)).mean()), rel=1e-4)


def test_without_a_second_speaker_or_a_test_split_there_is_nothing_to_measure() -> None:
    data: SpeechData = toy_speech()
    del data.splits["test"]
    assert metrics.measure_conversion(Unchanged(), data, JUDGES, 0).metrics == {}
