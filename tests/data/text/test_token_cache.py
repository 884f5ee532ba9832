"""The cache of tokens: what is in it, how small it is, and that it is whole or not there."""

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_cli.data.io.text import ReadIssues
from ssl_cli.data.text import encode, holdout, token_writer
from ssl_cli.data.text.token_cache import build
from ssl_cli.data.tokenizers.fast_encode import cut
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import ByteLevelBPE, CharLevel, WordPiece
from ssl_cli.errors import InputError
from ssl_cli.files import file_lock
from tests.data.tokenizers.test_trainers import in_pieces

DOCUMENTS = [f"Document {k}: birds fly {k % 7} times, 鸟会飞.\nAnd then {'they rest ' * (k % 5)}" for k in range(200)]


@dataclass
class Fixed:
    """A source of given documents, every tenth held out."""

    texts: list[str] = field(default_factory=lambda: DOCUMENTS)
    val: float | None = 0.1
    max_tokens: int | None = None
    isolate_documents: bool = False
    phrases: str | None = None
    faults: ReadIssues = field(default_factory=ReadIssues)

    def splits(self) -> Iterator[tuple[str, str]]:
        return (("val" if k % 10 == 9 else "train", text) for k, text in enumerate(self.texts))

    def stamp(self) -> list[object]:
        return [self.texts, self.max_tokens, self.phrases]


def wordpiece() -> WordPiece:
    return WordPiece(vocab_size=300, lowercase=True, sample_bytes=100_000)


def of_split(split: str) -> list[str]:
    return [text for name, text in Fixed().splits() if name == split]


@pytest.mark.parametrize("characters", [1, 500, 10**6])
def test_the_tokens_are_those_of_the_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, characters: int
) -> None:
    """Whatever the batches; each document followed by its end, val apart from train."""
    monkeypatch.setattr(encode, "ALONE", 10**9)
    monkeypatch.setattr(token_writer, "CHARACTERS", characters)
    data = build(Fixed(), wordpiece(), tmp_path)
    for split, stream in data.splits.items():
        wanted = [[*data.tokenizer.encode(text), 3] for text in of_split(split)]
        assert stream.ids.tolist() == [token for document in wanted for token in document]
        assert stream.ends.tolist() == np.cumsum(list(map(len, wanted))).tolist()
        assert stream.n_bytes == sum(len(text.encode()) for text in of_split(split))
    specials = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "end": 3}
    assert data.facts == {
        "vocab_size": data.tokenizer.vocab_size,
        "specials": specials,
        "bytes_per_token": None,  # upper case is lost
    }


def test_other_processes_encode_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = build(Fixed(), wordpiece(), tmp_path / "alone")
    monkeypatch.setattr(encode, "ALONE", 1)
    monkeypatch.setattr(token_writer, "CHARACTERS", 1500)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    together = build(Fixed(), wordpiece(), tmp_path / "together")
    assert together.fingerprint == alone.fingerprint
    assert together.splits["train"].ids.tolist() == alone.splits["train"].ids.tolist()


def test_a_process_that_dies_is_no_silent_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "ALONE", 1)
    monkeypatch.setattr(token_writer, "CHARACTERS", 1500)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(encode, "SERVE", "raise SystemExit(7)")
    with pytest.raises(ChildProcessError, match="has ended by itself"):
        build(Fixed(), wordpiece(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_imported_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "ALONE", 1)
    monkeypatch.setattr(token_writer, "CHARACTERS", 1500)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    for name in ("numpy", "pickle"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    assert build(Fixed(), wordpiece(), tmp_path / "cache").splits


@pytest.mark.parametrize("characters", [200, 10**6])
def test_long_documents_are_cut_between_words_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, characters: int
) -> None:
    """Also where one part is in one batch, and the next in another."""
    text = " ".join(DOCUMENTS)
    monkeypatch.setattr(encode, "ALONE", 10**9)
    monkeypatch.setattr(token_writer, "CHARACTERS", characters)
    monkeypatch.setattr(token_writer, "cut", lambda one: cut(one, 300))
    data = build(Fixed([text]), wordpiece(), tmp_path)
    assert data.splits["train"].ids.tolist() == [*data.tokenizer.encode(text), 3]
    assert "val" not in data.splits


def test_two_bytes_a_token_in_all(tmp_path: Path) -> None:
    """Below 65,536 tokens in the vocabulary, with a document of normal length."""
    data = build(Fixed(["birds fly and " * 5000 for _ in range(20)]), wordpiece(), tmp_path)
    (folder,) = tmp_path.iterdir()
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size <= 2.1 * sum(len(stream.ids) for stream in data.splits.values())
    assert (token_writer.token_type(65535).itemsize, token_writer.token_type(65536).itemsize) == (2, 4)


def test_a_ready_cache_is_not_made_again(tmp_path: Path) -> None:
    first = build(Fixed(), wordpiece(), tmp_path)

    class Never(WordPiece):
        def train(self, texts: Iterable[str]) -> Tokenizer:
            raise AssertionError("trained again")

        def description(self) -> list[Any]:
            return wordpiece().description()

    again = build(Fixed(), Never(vocab_size=300, lowercase=True, sample_bytes=100_000), tmp_path)
    assert again.fingerprint == first.fingerprint
    assert len(list(tmp_path.iterdir())) == 1
    build(Fixed(DOCUMENTS[:-1]), wordpiece(), tmp_path)
    build(Fixed(), ByteLevelBPE(vocab_size=300, sample_bytes=100_000), tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_no_more_is_read_than_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_writer, "CHARACTERS", 200)
    seen: list[int] = []

    class Counted(Fixed):
        def splits(self) -> Iterator[tuple[str, str]]:
            seen.append(0)
            for one in Fixed.splits(self):
                seen[-1] += 1
                yield one

    data = build(Counted(max_tokens=500), wordpiece(), tmp_path)
    n_tokens = sum(len(stream.ids) for stream in data.splits.values())
    longest = max(map(len, in_pieces(data.tokenizer, DOCUMENTS)))
    assert 500 <= n_tokens <= 500 + 2 * (longest + 1)
    assert seen[0] < 150 and seen[1] < 60  # for the vocabulary, and for the tokens
    assert all(stream.ids[-1] == 3 for stream in data.splits.values())


@pytest.mark.parametrize("characters", [1000, 10**6])
@pytest.mark.parametrize("size", [1, 20])
def test_a_limit_is_of_the_text_held_out_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, characters: int, size: int
) -> None:
    """Of few documents, where what is held out comes last, and of many."""

    class Lot(Fixed):
        def splits(self) -> Iterator[tuple[str, str]]:
            return holdout.split(self.texts, self.val or 0)

    monkeypatch.setattr(token_writer, "CHARACTERS", characters)
    monkeypatch.setattr(token_writer, "TO_BE_LIMITED", 100)
    texts = [" ".join(DOCUMENTS[k : k + size]) for k in range(0, len(DOCUMENTS), size)]
    data = build(Lot([" ".join(DOCUMENTS)] if size == 1 else texts, max_tokens=1000), wordpiece(), tmp_path)
    for name, wanted in (("train", 900), ("val", 100)):
        ids = data.splits[name].ids
        assert wanted <= len(ids) <= wanted + 60
        assert ids[-1] == 3


def test_what_is_published_as_held_out_is_kept_whole(tmp_path: Path) -> None:
    class Published(Fixed):
        def splits(self) -> Iterator[tuple[str, str]]:
            yield from sorted(Fixed.splits(self), key=lambda named: named[0] == "train")

    whole = build(Published(val=None), wordpiece(), tmp_path).splits["val"].n_bytes
    data = build(Published(val=None, max_tokens=400), wordpiece(), tmp_path)
    assert data.splits["val"].n_bytes == whole
    assert 400 <= len(data.splits["train"].ids) < 500


def test_held_out_text_teaches_no_words(tmp_path: Path) -> None:
    texts = ["train text only"] * 9 + ["zebra zebra zebra"]
    data = build(Fixed(texts), CharLevel(vocab_size=100, sample_bytes=1000), tmp_path)
    assert data.tokenizer.library.token_to_id("z") is None
    assert data.splits["val"].ids.tolist().count(1) == 6  # z and b


def test_warnings_of_the_source_are_kept(tmp_path: Path) -> None:
    source = Fixed()
    source.faults.replace(2, "a.txt at byte 7")
    for _ in range(2):
        assert "a.txt at byte 7" in build(source, wordpiece(), tmp_path).warnings[0]
        source = Fixed()


# --- units --------------------------------------------------------------------------------------------------


def units_of(tmp_path: Path, maker: Any, text: str, units: list[str]) -> list[str]:
    """The text in units, as the cache has them, with bars between"""
    (tmp_path / "units.txt").write_text("\n".join(units), encoding="utf-8")
    data = build(Fixed([text], phrases=str(tmp_path / "units.txt")), maker, tmp_path / "cache")
    stream = data.splits["train"]
    assert stream.starts is not None
    begins = np.unpackbits(stream.starts)[: len(stream.ids)].astype(bool)
    assert begins[-1]  # the end of the document
    parts = np.split(stream.ids[:-1], np.flatnonzero(begins[:-1]))[1:]
    return [re.sub(" ?##", "", data.tokenizer.decode(part)).strip() for part in parts]


def test_the_longest_listed_phrase_is_a_unit(tmp_path: Path) -> None:
    chinese = "企鹅不会飞但企鹅会游泳"
    found = units_of(
        tmp_path, CharLevel(vocab_size=99, sample_bytes=999), chinese, ["企鹅", "游泳", "会游", "会游泳", "不"]
    )
    assert found == ["企鹅", "不", "会", "飞", "但", "企鹅", "会游泳"]


def test_units_of_several_words(tmp_path: Path) -> None:
    text = "Party in New York, art in Newer York: New York City!"
    found = units_of(tmp_path, wordpiece(), text, ["New York", "art", "New York City"])
    assert found == ["party", "in", "new york", ",", "art", "in", "newer", "york", ":", "new york city", "!"]


@pytest.mark.parametrize(("content", "said"), [(None, "can't be read"), (b"\n \n", "is empty"), (b"\xff", "UTF-8")])
def test_units_that_are_no_list(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "units.txt").write_bytes(content)
    with pytest.raises(InputError, match=said):
        build(Fixed(phrases=str(tmp_path / "units.txt")), wordpiece(), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


# --- faults -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("texts", [[], ["", "  "]])
def test_an_empty_corpus(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(InputError, match="The training text is empty"):
        build(Fixed(texts), wordpiece(), tmp_path)
    assert not list(tmp_path.iterdir())


FULL_DISK = """
import resource, signal
from pathlib import Path
from ssl_cli.errors import InputError
from tests.data.text.test_token_cache import Fixed, wordpiece
from ssl_cli.data.text.token_cache import build
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that may not grow gives an error, as a full disk does
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    build(Fixed(["birds fly " * 3000] * 10), wordpiece(), Path("cache"))
except InputError as error:
    print(error)
"""


def test_a_disk_that_fills(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    ended = subprocess.run(
        [sys.executable, "-c", FULL_DISK], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert re.fullmatch(r"The tokens are to be kept in cache, which fails: .*\. Say data\.cache=PATH.*\n", ended.stdout)
    assert not list((tmp_path / "cache").iterdir())


def test_a_build_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    class Breaks(Fixed):
        def splits(self) -> Iterator[tuple[str, str]]:
            yield from list(Fixed.splits(self))[:50]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(Breaks(), wordpiece(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_swept_and_what_one_is_at_is_not(tmp_path: Path) -> None:
    for name in ("dead", "live"):
        (tmp_path / f".part-{name}-1").mkdir()
        (tmp_path / f".part-{name}-1" / "train.bin").write_bytes(b"x")
    (tmp_path / ".lock-dead").touch()
    with file_lock(tmp_path / ".lock-live"):
        build(Fixed(), wordpiece(), tmp_path)
        assert sorted(path.name for path in tmp_path.glob(".*")) == [".lock-live", ".part-live-1"]
    assert not (tmp_path / ".lock-live").exists()


def test_several_that_want_it_at_once_make_it_once(tmp_path: Path) -> None:
    trained = []

    class Slow(WordPiece):
        def train(self, texts: Iterable[str]) -> Tokenizer:
            trained.append(self)
            time.sleep(0.2)
            return super().train(texts)

    def want() -> None:
        found.append(build(Fixed(), Slow(vocab_size=300, lowercase=True, sample_bytes=100_000), tmp_path).fingerprint)

    found: list[str] = []
    threads = [threading.Thread(target=want) for _ in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(found) == 4 and len(set(found)) == len(trained) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_others_may_read_it_as_the_umask_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0o022)
    try:
        build(Fixed(), wordpiece(), tmp_path)
    finally:
        os.umask(before)
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o755

    def refuse(path: Path, **_: Any) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(InputError, match=r"about\.json can't be read: Permission denied\.$"):
        build(Fixed(), wordpiece(), tmp_path)


@pytest.mark.parametrize("harm", ["cut", "gone", "odd"])
def test_a_damaged_cache_says_so(tmp_path: Path, harm: str) -> None:
    build(Fixed(), wordpiece(), tmp_path)
    (folder,) = tmp_path.iterdir()
    if harm == "cut":
        os.truncate(folder / "train.bin", 10)
    elif harm == "gone":
        (folder / "val.bin").unlink()
    else:
        (folder / "about.json").write_text(json.dumps({"splits": {}}))
    with pytest.raises(InputError, match="is damaged: remove it, and it is made anew"):
        build(Fixed(), wordpiece(), tmp_path)


def test_a_tokenizer_without_an_end(tmp_path: Path) -> None:
    class Endless:
        def train(self, texts: Iterable[str]) -> Tokenizer:
            tokenizer = wordpiece().train(texts)
            del tokenizer.specials["end"]
            return tokenizer

        def description(self) -> list[Any]:
            return []

    with pytest.raises(InputError, match="no token to part documents by"):
        build(Fixed(), Endless(), tmp_path)


# --- memory -------------------------------------------------------------------------------------------------

LARGE = """
import os, random, resource, sys, threading, time
os.sched_getaffinity = lambda _: {0, 1}
from pathlib import Path
from tests.data.text.test_token_cache import Fixed
from ssl_cli.data.text.token_cache import build
from ssl_cli.data.tokenizers.trainers import WordPiece

words = ["".join(random.Random(k).choices("abcdefghijklmnop", k=3 + k % 9)) for k in range(50_000)]
peak_of = {}  # process -> kB: getrusage would count what this one had when it started the others

def watch():
    while True:
        for children in Path("/proc/self/task").glob("*/children"):
            for child in children.read_text().split():
                try:
                    status = Path(f"/proc/{child}/status").read_text()
                    peak_of[child] = int(status.split("VmHWM:")[1].split("kB")[0])
                except (OSError, IndexError):
                    pass
        time.sleep(0.1)

class Large(Fixed):
    def splits(self):
        for k in range(30_000):  # 10 kB each
            draw = random.Random(k)
            text = " ".join(draw.choices(words, k=1250))
            yield ("val" if k % 20 == 0 else "train"), text + f" 鸟{k}é"

threading.Thread(target=watch, daemon=True).start()
build(Large(texts=[]), WordPiece(vocab_size=8000, lowercase=True, sample_bytes=50_000_000), Path(sys.argv[1]))
assert len(peak_of) == 2
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + sum(peak_of.values()))
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the memory of other processes")
def test_memory_stays_bounded(tmp_path: Path) -> None:
    """300 MB of text: all processes together"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", LARGE, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert not ended.returncode, ended.stderr
    assert int(ended.stdout) * 1024 < 10**9
