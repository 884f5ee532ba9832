"""Folders of speech: layouts, patterns, splits, alignments, and what is left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from ssl_cli.data.audio.datasets import SpeechData
from ssl_cli.data.audio.folder import SpeechFolder
from ssl_cli.errors import InputError
from tests.helpers.sounds import save_sound, save_speakers


def read(folder: Path | list[str], seed: int = 0, **options: Any) -> SpeechData:
    directory: Any = folder if isinstance(folder, list) else str(folder)
    return SpeechFolder(dir=directory, **options).speech_splits(seed)


def everything(data: SpeechData) -> dict[str, tuple[str, str]]:
    """Return speaker and word of each file, whatever its split."""
    names = {}
    for split in data.splits.values():
        for u, name in enumerate(split.names):
            word = data.words[split.word[u]] if split.word[u] >= 0 else ""
            names[name] = (data.speakers[split.speaker[u]], word)
    return names


def test_one_folder_a_speaker_is_split_by_speaker(tmp_path: Path) -> None:
    data = read(save_speakers(tmp_path, n=10), val=0.2, test=0.2)
    sizes = {name: np.bincount(split.speaker).tolist() for name, split in data.splits.items()}
    assert sizes["test"] == [2, 2]
    assert sum(sizes["val"]) == 3
    assert sum(sizes["train"]) == 13
    rows = np.concatenate([split.row for split in data.splits.values()])
    assert sorted(rows) == list(range(20))
    assert data.facts == {
        "n_mels": 64, "n_speakers": 2, "sample_rate_hz": 8000, "hop_ms": 10.0, "frames_per_s": 100.0
    }  # fmt: skip
    assert data.splits["train"].phone is None
    again, other = read(tmp_path, val=0.2, test=0.2), read(tmp_path, seed=1, val=0.2, test=0.2)
    assert again.splits["train"].names == data.splits["train"].names
    assert other.splits["train"].names != data.splits["train"].names
    assert again.fingerprint == other.fingerprint == data.fingerprint


def test_the_fingerprint_is_of_what_was_read(tmp_path: Path) -> None:
    before = read(save_speakers(tmp_path)).fingerprint
    assert read(tmp_path, n_mels=32).fingerprint != before
    save_sound(tmp_path / "ben" / "3.wav", seed=77)
    assert read(tmp_path).fingerprint != before


def test_vctk(tmp_path: Path) -> None:
    for speaker in ("p225", "p226"):
        for k in (1, 2):
            for microphone in ("mic1", "mic2"):
                save_sound(tmp_path / f"wav48_silence_trimmed/{speaker}/{speaker}_00{k}_{microphone}.flac", 0.2, 48000)
            (tmp_path / "txt" / speaker).mkdir(parents=True, exist_ok=True)
            (tmp_path / "txt" / speaker / f"{speaker}_00{k}.txt").write_text("Hello.\n" if k == 1 else "Two words\n")
    (tmp_path / "speaker-info.txt").write_text("ID AGE\n")
    data = read(tmp_path)
    assert everything(data) == {
        f"wav48_silence_trimmed/{speaker}/{speaker}_00{k}_mic1.flac": (speaker, "hello" if k == 1 else "")
        for speaker in ("p225", "p226")
        for k in (1, 2)
    }
    assert data.warnings == ["4 recordings by a second microphone are left out"]
    assert data.facts["sample_rate_hz"] == 16000


def test_librispeech(tmp_path: Path) -> None:
    for speaker, chapter, subset in (("19", "198", "train-clean-100"), ("26", "495", "dev-clean")):
        folder = tmp_path / subset / speaker / chapter
        for k in range(2):
            save_sound(folder / f"{speaker}-{chapter}-000{k}.flac", 0.2, 16000)
        lines = f"{speaker}-{chapter}-0000 YES\n{speaker}-{chapter}-0001 AND NO\n"
        (folder / f"{speaker}-{chapter}.trans.txt").write_text(lines)
    found = everything(read(tmp_path))
    assert found["train-clean-100/19/198/19-198-0000.flac"] == ("19", "yes")
    assert found["dev-clean/26/495/26-495-0001.flac"] == ("26", "")


def test_a_pattern_with_the_takes_of_the_test(tmp_path: Path) -> None:
    for speaker in ("jo", "al"):
        for word in ("10", "9", "yes"):
            for take in range(3):
                save_sound(tmp_path / f"{word}_{speaker}_{take}.wav", 0.2)
    save_sound(tmp_path / "notes.wav")
    data = read(tmp_path, pattern="{word}_{speaker}_{take}", test_takes=[0], val=0)
    assert (data.speakers, data.words) == (["al", "jo"], ["9", "10", "yes"])
    assert {name.split("_")[2] for name in data.splits["test"].names} == {"0.wav"}
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 12, "test": 6}
    assert data.warnings == [
        f"1 of 19 sounds in {tmp_path} are left out: notes.wav (its name does not follow data.pattern)"
    ]


@pytest.mark.parametrize(
    ("pattern", "name", "speaker"),
    [
        ("{speaker}_*", "anna_2015-09-08_x_1.wav", "anna"),
        ("{speaker}/{word}-{take}", "anna_b/yes-1.wav", "anna_b"),
        ("*.{speaker}", "a.b.anna_1.wav", "anna_1"),
        ("{speaker}", "anna_1.wav", "anna_1"),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, name: str, speaker: str) -> None:
    save_sound(tmp_path / name)
    assert read(tmp_path, pattern=pattern).speakers == [speaker]


def test_published_splits_and_several_folders(tmp_path: Path) -> None:
    for split in ("train", "dev", "test"):
        save_speakers(tmp_path / "a" / split, ("anna", "ben"), n=3)
    save_sound(tmp_path / "a" / "test" / "carl" / "0.wav")
    data = read(tmp_path / "a")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 6, "val": 6, "test": 6, "unheard": 1}
    assert (data.speakers, data.reader.speakers) == (["anna", "ben", "carl"], ["anna", "ben"])
    save_sound(tmp_path / "b" / "yes_dora.wav", rate_hz=16000)
    both = read([str(tmp_path / "a"), str(tmp_path / "b")], pattern=["{word}_{speaker}", "*/{speaker}/*"])
    assert set(everything(both).values()) == {("anna", ""), ("ben", ""), ("carl", ""), ("dora", "yes")}
    assert "b/yes_dora.wav" in everything(both)


def test_speakers_kept_out_of_training(tmp_path: Path) -> None:
    save_speakers(tmp_path, ("anna", "ben", "carl"))
    data = read(tmp_path, unheard_speakers=["anna"])
    assert (data.speakers, data.reader.speakers) == (["ben", "carl", "anna"], ["ben", "carl"])
    assert data.splits["unheard"].speaker.tolist() == [2] * 6
    assert all(2 not in data.splits[name].speaker for name in ("train", "val", "test"))
    assert data.facts["n_speakers"] == 2


def test_alignments_beside_the_sounds_and_elsewhere(tmp_path: Path) -> None:
    folder = save_speakers(tmp_path / "sounds", ("anna",), n=4)
    (folder / "anna" / "0.lab").write_text("0 0.1 SIL\n0.1 0.5 a\n")
    (folder / "anna" / "1.lab").write_text("what is said\n")  # of the Montreal Forced Aligner
    (folder / "anna" / "2.lab").write_text("0 broken\n")
    data = read(folder, val=0, test=0)
    train = data.splits["train"]
    assert data.phones == ["SIL", "a"]
    assert train.phone is not None
    assert train.phone[: train.begin[1]].tolist() == [0] * 10 + [1] * 11
    assert (train.phone[train.begin[1] :] == -1).all()
    assert data.warnings == [
        f'1 alignments are left out: anna/2.wav ({folder}/anna/2.lab is not lines "start end phone": could not convert '
        "string to float: 'broken')"
    ]
    (tmp_path / "phones").mkdir()
    (tmp_path / "phones" / "all.ctm").write_text("3 1 0 0.2 o\n")
    data = read(folder, val=0, test=0, alignments=str(tmp_path / "phones"))
    assert (data.phones, (data.splits["train"].phone == 0).sum()) == (["o"], 20)


def test_alignments_follow_the_trimming(tmp_path: Path) -> None:
    wave = np.concatenate([np.zeros(4000, np.float32), 0.1 * np.ones(2000, np.float32)])
    wave[4000:] *= np.tile([1, -1], 1000)
    (tmp_path / "anna").mkdir()
    soundfile.write(tmp_path / "anna" / "x.wav", wave, 8000)
    (tmp_path / "anna" / "x.lab").write_text("0 0.5 SIL\n0.5 0.75 a\n")
    train = read(tmp_path, trim=True).splits["train"]
    assert train.phone is not None
    assert train.phone.tolist() == [0, 0] + [1] * 25 + [-1]  # the last frame is centred on the end


def test_what_is_left_out_is_named_and_counted(tmp_path: Path) -> None:
    save_speakers(tmp_path, ("anna",), n=2)
    for k in range(25):
        (tmp_path / "anna" / f"bad{k:02}.wav").write_text("text")
    warning = read(tmp_path).warnings[0]
    assert warning.startswith(f"25 of 27 sounds in {tmp_path} are left out: anna/bad00.wav (it is text, not a sound)")
    assert warning.count("(") == 20
    assert warning.endswith(", and 5 more")


def test_one_short_file_and_one_of_ten_minutes(tmp_path: Path) -> None:
    save_sound(tmp_path / "short.wav", 0.1)
    save_sound(tmp_path / "long.wav", 600)
    data = read(tmp_path, test=0, val=0)
    assert data.splits["train"].lengths.tolist() == [60001, 11]
    assert data.speakers == [tmp_path.name]


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"dir": None}, "Set data.dir=FOLDER to a folder of sounds, or data.hub=ID"),
    ({"dir": "none"}, "data.dir=none is not a folder: name a folder of sounds"),
    ({"dir": "none", "page": "https://x.org"}, "not a folder: download the recordings from https://x.org, or set data"),
    ({"dir": "sounds/anna/0.wav"}, "data.dir=sounds/anna/0.wav is a WAV sound, not a folder"),
    ({"dir": "pictures"}, "pictures holds no sound: .* It has 1 .png. These are pictures: use data=images"),
    ({"dir": "texts"}, "texts holds no sound: .* It has 1 .txt. These are texts: use data=text"),
    ({"dir": "bad"}, r"None of the 1 sounds in bad can be read; x.wav: it is empty\."),
    ({"pattern": "{word}"}, r"data.pattern=\{word\} must have \{speaker\}"),
    ({"pattern": "{speaker}_{speaker}"}, "must have"),
    ({"pattern": "{speaker}_{age}"}, "must have"),
    ({"pattern": "{speaker}_x"}, r"sounds: no file follows data.pattern=\{speaker\}_x, as anna/0.wav"),
    ({"unheard_speakers": ["ana"]}, "ana is not a speaker. Did you mean anna\\? The speakers are anna, ben."),
    ({"unheard_speakers": ["anna", "ben"]}, "names every speaker: leave at least one for training"),
    ({"alignments": "none"}, "data.alignments=none is neither a file nor a folder"),
    ({"alignments": "texts"}, "data.alignments=texts has no file whose name ends in .TextGrid, .ctm or .lab"),
]


@pytest.mark.parametrize(("options", "message"), REFUSALS)
def test_refusals(workdir: Path, options: dict[str, Any], message: str) -> None:
    save_speakers(workdir / "sounds", n=2)
    for name in ("pictures/a.png", "texts/a.txt", "bad/x.wav"):
        (workdir / name).parent.mkdir()
        (workdir / name).touch()
    with pytest.raises(InputError, match=message):
        SpeechFolder(**({"dir": "sounds"} | options)).speech_splits(0)


def test_fsdd(shared: Path) -> None:
    data = read(shared / "fsdd/recordings", pattern="{word}_{speaker}_{take}", test_takes=[0, 1, 2, 3, 4])
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 2430, "val": 270, "test": 300}
    for name, count in (("val", 270), ("test", 300)):  # of each speaker and word as many
        split = data.splits[name]
        pairs = np.bincount(split.speaker * 10 + split.word, minlength=60)
        assert pairs.min() >= count // 60
        assert pairs.max() <= -(-count // 60) + (name == "val")
    assert (data.words, data.warnings) == ([str(digit) for digit in range(10)], [])
    assert {int(name.split("_")[2][:-4]) for name in data.splits["test"].names} == set(range(5))


def test_mboshi(shared: Path) -> None:
    data = read(shared / "mboshi", pattern="{speaker}_*", test=0.2)
    assert data.speakers == ["abiayi", "kouarata", "martial"]
    assert (len(data.phones), data.facts["sample_rate_hz"], data.facts["n_mels"]) == (28, 16000, 80)
    assert "SIL" in data.phones
    train = data.splits["train"]
    assert train.phone is not None
    energy = train.frames.mean(1)
    silent = train.phone == data.phones.index("SIL")
    assert energy[silent].mean() < energy[(train.phone >= 0) & ~silent].mean() - 1  # the alignment is in time
