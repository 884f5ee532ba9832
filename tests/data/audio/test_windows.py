"""Batches of speech: crops, references, padding, and what they depend on."""

import numpy as np
import pytest
import torch

from ssl_cli.data.audio.features import MelSettings
from ssl_cli.data.audio.reader import SpeechReader
from ssl_cli.data.audio.utterances import SpeechSplit
from ssl_cli.data.audio.windows import SpeechWindows

LENGTHS = [5, 30, 12, 40, 21, 9, 17]
SPEAKER = np.array([0, 1, 0, 1, 0, 2, 1])


@pytest.fixture
def split() -> SpeechSplit:
    """Utterances whose frames say where they are: mel band 0 is the utterance, band 1 the frame in it."""
    begin = np.concatenate([[0], np.cumsum(LENGTHS)])
    frames = np.zeros((begin[-1], 8), np.float32)
    for u, length in enumerate(LENGTHS):
        frames[begin[u] : begin[u + 1], :2] = np.stack([np.full(length, u + 1), np.arange(1, length + 1)], 1)
    n = len(LENGTHS)
    return SpeechSplit(frames, begin, SPEAKER, np.full(n, -1), None, [f"{u}.wav" for u in range(n)], np.arange(n) * 10)


@pytest.fixture
def reader(split: SpeechSplit) -> SpeechReader:
    """A reader that changes nothing, of speakers 0 and 1."""
    zeros, ones = np.zeros(8, np.float32), np.ones(8, np.float32)
    settings = MelSettings(8000, 8, 32.0, 10.0)
    return SpeechReader(settings, "global", zeros, ones, zeros[None], ones[None], ["a", "b"], [], [])


def which(frames: torch.Tensor) -> list[int]:
    return (frames[:, 0, 0] - 1).long().tolist()


def test_a_training_batch(split: SpeechSplit, reader: SpeechReader) -> None:
    windows = SpeechWindows(split, reader, 16, seed=3, training=True)
    starts, others = set(), set()
    for k in range(60):
        batch = windows[k, torch.tensor([6, 3, 0, 5]), 1.0]
        assert batch["length"].tolist() == [16, 16, 5, 9]
        assert batch["speaker"].tolist() == [1, 1, 0, -1]  # speaker 2 is not one of training
        assert (batch["k"], batch["weight"], which(batch["frames"])) == (k, 1.0, [6, 3, 0, 5])
        for row, length in enumerate(batch["length"].tolist()):
            steps = batch["frames"][row, :length, 1]
            assert (steps.diff() == 1).all()
            assert (batch["frames"][row, length:] == 0).all()
        starts.add(int(batch["frames"][1, 0, 1]) - 1)
        reference = which(batch["reference"])
        assert reference[3] == 5  # who has no other utterance
        assert all(u != own for u, own in zip(reference[:3], [6, 3, 0], strict=True))
        assert [SPEAKER[u] for u in reference] == [1, 1, 0, 2]
        assert (batch["reference_length"] <= 16).all()
        others.add(reference[1])
    assert min(starts) <= 2
    assert 22 <= max(starts) <= 24
    assert others == {1, 6}


def test_a_row_depends_on_seed_and_step_alone(split: SpeechSplit, reader: SpeechReader) -> None:
    windows = SpeechWindows(split, reader, 8, seed=3, training=True)
    batch, again = windows[7, torch.tensor([1, 3, 4]), 1.0], windows[7, torch.tensor([3, 6]), 1.0]
    torch.testing.assert_close(batch["frames"][1], again["frames"][0])
    assert which(batch["reference"])[1] == which(again["reference"])[0]
    other_step, other_seed = windows[8, torch.tensor([1, 3, 4]), 1.0], SpeechWindows(split, reader, 8, 4, True)
    assert not torch.equal(other_step["frames"], batch["frames"])
    assert not torch.equal(other_seed[7, torch.tensor([1, 3, 4]), 1.0]["frames"], batch["frames"])


def test_in_validation_the_crop_is_the_middle_and_the_reference_the_next(
    split: SpeechSplit, reader: SpeechReader
) -> None:
    batch = SpeechWindows(split, reader, 10, seed=0, training=False)[0, slice(0, 7), 7.0]
    assert batch["frames"][:, 0, 1].tolist() == [1, 11, 2, 16, 6, 1, 4]
    assert which(batch["reference"]) == [2, 3, 4, 6, 0, 5, 1]
    whole = SpeechWindows(split, reader, None, seed=0, training=False)
    assert whole[0, slice(0, 7), 7.0]["length"].tolist() == LENGTHS
    assert whole.row_ids.tolist() == [0, 10, 20, 30, 40, 50, 60]


def test_frames_are_normalised_and_padding_is_zero(split: SpeechSplit, reader: SpeechReader) -> None:
    reader.normalization = "utterance"
    batch = SpeechWindows(split, reader, None, seed=0, training=False)[0, slice(0, 3), 3.0]
    for row, length in enumerate(LENGTHS[:3]):
        torch.testing.assert_close(batch["frames"][row, :length, 1].mean(), torch.tensor(0.0), atol=1e-5, rtol=0)
        assert (batch["frames"][row, length:] == 0).all()


def test_draws_are_uniform(split: SpeechSplit, reader: SpeechReader) -> None:
    windows = SpeechWindows(split, reader, 8, seed=1, training=True)
    draws = torch.stack([torch.stack(windows._draws(k, torch.arange(500))) for k in range(40)])  # (40, 3, 500)
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = torch.histc(draws.flatten(), 20, 0, 1)
    assert (counts - 3000).abs().max() < 5 * 3000**0.5
    assert torch.corrcoef(draws.transpose(0, 1).reshape(3, -1)).fill_diagonal_(0).abs().max() < 0.03
    assert torch.corrcoef(draws[:, 0]).fill_diagonal_(0).abs().max() < 0.25


def test_take_keeps_utterances_whole(split: SpeechSplit) -> None:
    some = split.take(np.array([3, 0]))
    assert some.lengths.tolist() == [40, 5]
    np.testing.assert_array_equal(some.utterance(1), split.utterance(0))
    assert (some.names, some.row.tolist()) == (["3.wav", "0.wav"], [30, 0])
    assert split.take(split.speaker == 2).names == ["5.wav"]
    assert len(split.take(np.array([], np.int64)).frames) == 0
