"""Alignments in each of their formats, and files that are none."""

from pathlib import Path

import pytest

from ssl_cli.data.audio.alignments import phones_of_frames, read_alignment, read_ctm_file
from ssl_cli.errors import InputError

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.5
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "words"
        xmin = 0
        xmax = 1.5
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1.5
            text = "3 ""no"" 7"
    item [2]:
        class = "IntervalTier"
        name = "anna - phones"
        xmin = 0
        xmax = 1.5
        intervals: size = 3
        intervals [1]:
            xmin = 0
            xmax = 0.25
            text = ""
        intervals [2]:
            xmin = 0.25
            xmax = 1
            text = "n"
        intervals [3]:
            xmin = 1
            xmax = 1.5
            text = "OW1"
"""
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
1.5
<exists>
1
"IntervalTier"
"phones"
0
1.5
3
0
0.25
"sil"
0.25
1
"n"
1
1.5
"OW1"
"""
FORMS = {
    "long.TextGrid": LONG,
    "short.TextGrid": SHORT,
    "seconds.lab": "0 0.25 sil\n0.25 1 n\n1.0 1.5 OW1\n",
    "htk.lab": "0 2500000 sil\n2500000 10000000 n\n10000000 15000000 OW1 -12.5\n",
}
PHONES = [(0.0, 0.25, "SIL"), (0.25, 1.0, "n"), (1.0, 1.5, "OW1")]


@pytest.mark.parametrize("name", list(FORMS))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_every_format_says_the_same(tmp_path: Path, name: str, encoding: str) -> None:
    (tmp_path / name).write_text(FORMS[name], encoding=encoding)
    found = read_alignment(tmp_path / name)
    assert [phone for _, _, phone in found] == [phone for _, _, phone in PHONES]
    assert [time for row in found for time in row[:2]] == pytest.approx([time for row in PHONES for time in row[:2]])


def test_a_ctm_has_several_recordings(tmp_path: Path) -> None:
    (tmp_path / "all.ctm").write_text(";; comment\nx 1 0.25 0.75 n_B 1.0\nx 1 0 0.25 SIL\ny 1 0.5 0.1 OW1_E\n")
    found = read_ctm_file(tmp_path / "all.ctm")
    assert found == {"x": [(0.0, 0.25, "SIL"), (0.25, 1.0, "n")], "y": [(0.5, 0.6, "OW1")]}


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.TextGrid", "hello", "a.TextGrid is not a TextGrid: it has no tier"),
        ("a.TextGrid", LONG[:700], "a.TextGrid is not a TextGrid: it is cut off"),
        ("a.lab", "", 'a.lab is not lines "start end phone": it is empty'),
        ("a.lab", "0 x n", "could not convert"),
        ("a.lab", "0 1 n\n2", "line 2 has no two times"),
        ("a.lab", "1 0.5 n", "a phone lasts from 1 to 0.5 s"),
        ("a.lab", "0 nan n", "a phone lasts from 0 to nan s"),
        ("a.ctm", "x 1 0 0.1", "a.ctm is not a CTM .*: line 1 has no five values"),
    ],
)
def test_damaged_alignments_are_one_sentence(tmp_path: Path, name: str, text: str, reason: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=reason):
        (read_ctm_file if name.endswith("ctm") else read_alignment)(tmp_path / name)


def test_a_frame_has_the_phone_at_its_centre() -> None:
    segments = [(0.1, 0.2, "a"), (0.2, 0.25, "b"), (0.3, 0.4, "c")]
    assert phones_of_frames(segments, 8, 20.0, 0.0) == ["", "", "a", "a", "b", "", "c", "c"]
    assert phones_of_frames(segments, 3, 20.0, 0.2) == ["b", "", "c"]
