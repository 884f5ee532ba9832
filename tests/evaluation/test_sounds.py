"""Clips of a report page: how many, how long, how loud."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ssl_cli.evaluation import sounds

RATE = 8000


def tone(seconds: float, peak: float = 0.5) -> np.ndarray:
    return (peak * np.sin(np.arange(round(RATE * seconds)) * 0.3)).astype(np.float32)


def test_clips_are_written_as_they_are(tmp_path: Path) -> None:
    players = sounds.write_players(tmp_path, "voices", [("one", [("source", tone(0.4)), ("target", tone(0.2))])], RATE)
    assert [(title, [(clip.label, clip.seconds) for clip in clips]) for title, clips in players.rows] == [
        ("one", [("source", 0.4), ("target", 0.2)])
    ]
    wave, rate = soundfile.read(tmp_path / "sounds" / players.rows[0][1][0].name, dtype="float32")
    assert rate == RATE and np.abs(wave - tone(0.4)).max() < 1e-4
    size = sum(path.stat().st_size for path in (tmp_path / "sounds").iterdir())
    assert players.caption == f"1 examples, 2 files of {size / 1000:,.0f} kB in sounds/:"


def test_number_and_seconds_are_bounded(tmp_path: Path) -> None:
    rows = [(str(k), [("a", tone(12 if k == 0 else 0.1))]) for k in range(40)]
    players = sounds.write_players(tmp_path, "a", rows, RATE)
    titles = [title for title, _ in players.rows]
    assert len(titles) == sounds.MAX_ROWS and titles[0] == "0" and titles[-1] == "39" and len(set(titles)) == 12
    assert players.rows[0][1][0].seconds == sounds.MAX_S
    assert players.caption.startswith("12 of 40 examples, ") and "at most 10 s of each" in players.caption


@pytest.mark.parametrize("wave", [tone(0.1, 7.0), np.zeros(0, np.float32), np.full(9, np.nan), np.array([np.inf, 1])])
def test_no_clip_is_cut_off_or_fails(tmp_path: Path, wave: np.ndarray) -> None:
    players = sounds.write_players(tmp_path, "a", [("a", [("a", wave)])], RATE)
    read, _ = soundfile.read(tmp_path / "sounds" / players.rows[0][1][0].name)
    assert len(read) == max(len(wave), 1) and np.abs(read).max(initial=0) <= 1
    if len(wave) > 9:
        assert np.abs(read).max() == pytest.approx(sounds.PEAK, abs=0.01) and np.corrcoef(read, wave)[0, 1] > 0.999
