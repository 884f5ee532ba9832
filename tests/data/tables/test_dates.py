"""Tests of the parts of dates: the right values, the same over blocks, and readable."""

from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from ssl_cli.data.tables.dates import (
    GAP,
    HOUR,
    WEEKDAY,
    clock_features,
    format_clock,
    format_gap,
    format_part,
    part_values,
)
from ssl_cli.data.tables.inverse import format_value
from ssl_cli.data.tables.preprocessing import TablePreprocessor

WHEN = [
    datetime(2026, 3, 28, 0, 0),  # a Saturday
    datetime(2026, 3, 28, 23, 59),
    None,
    datetime(2026, 3, 30, 6, 0, 30),
    datetime(2026, 3, 30, 6, 2, 0),
    datetime(1969, 12, 31, 18, 0),
]


def column(values: list) -> pa.ChunkedArray:
    return pa.chunked_array([pa.array(values, pa.timestamp("us"))])


def test_parts_of_dates() -> None:
    hours = part_values("when", HOUR, column(WHEN)).to_pylist()
    assert hours == [0, 86_340, None, 21_630, 21_720, 64_800]
    weekdays = part_values("when", WEEKDAY, column(WHEN)).to_pylist()
    assert weekdays == ["Saturday", "Saturday", None, "Monday", "Monday", "Wednesday"]
    gaps = part_values("when", GAP, column(WHEN[:5])).to_pylist()
    assert gaps == [None, 86_340, None, None, 90]
    before = column([datetime(2026, 3, 1), datetime(2026, 3, 27, 23)])
    assert part_values("when", GAP, column(WHEN[:2]), before).to_pylist() == [3600, 86_340]


def test_midnight_is_near_the_minute_before() -> None:
    midnight, before, noon = clock_features(np.array([0.0, 86_340.0, 43_200.0]))
    assert np.linalg.norm(midnight - before) < 0.01 < 1.99 < np.linalg.norm(midnight - noon)
    assert [format_clock(point) for point in (midnight, before, noon)] == ["00:00", "23:59", "12:00"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s"), (90, "90 s"), (2220, "37 min"), (11_520, "3.2 h"), (-172_800, "-2 days")]
)
def test_gaps_are_readable(seconds: float, text: str) -> None:
    assert format_gap(seconds) == text
    assert format_part(HOUR, 11_520.0) == "03:12" and format_part(GAP, None) == "(missing)"


def test_blocks_give_what_the_whole_file_gives(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    seconds = np.cumsum(rng.exponential(5000, 60)).astype("timedelta64[s]")
    table = pa.table({"when": np.datetime64("2026-03-28") + seconds, "x": rng.random(60)})
    fitted = TablePreprocessor.fit(table, rows=np.arange(0, 60, 2))
    fitted.save(tmp_path / "p.json")
    preprocessor = TablePreprocessor.load(tmp_path / "p.json")
    whole = preprocessor.transform(table)
    for border in (1, 17, 59):
        blocks = [table[:border], table[border:]]
        x = [preprocessor.transform(blocks[0]), preprocessor.transform(blocks[1], blocks[0][-1:])]
        np.testing.assert_array_equal(np.concatenate(x), whole)
    slices = {entry["name"]: (entry, place) for entry, place in preprocessor.feature_slices}
    assert list(slices) == ["when, hour of day", "when, weekday", "when, time since the previous row", "x"]
    for name, text in (("when, hour of day", str(table["when"][7].as_py())[11:16]),):
        entry, place = slices[name]
        hour = format_value(entry, whole[7, place])
        assert abs(int(hour[:2]) * 60 + int(hour[3:]) - int(text[:2]) * 60 - int(text[3:])) <= 1
    entry, place = slices["when, weekday"]
    assert format_value(entry, whole[0, place]) == "Saturday"
    gap = slices["when, time since the previous row"]
    assert format_value(gap[0], whole[1, gap[1]]) == format_gap(float((seconds[1] - seconds[0]).astype(float)))
