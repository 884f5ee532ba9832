"""Writing tokens: worker processes, limits of the number of tokens, and bounded memory."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ssl_cli.data.text import encode, holdout, token_writer
from ssl_cli.data.text.token_cache import load_or_build
from ssl_cli.data.tokenizers.fast_encode import cut_between_words
from tests.helpers.processes import run
from tests.helpers.text_data import DOCUMENTS, Fixed, encode_each, wordpiece


def test_other_processes_encode_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = load_or_build(Fixed(), wordpiece(), tmp_path / "alone")
    monkeypatch.setattr(encode, "LOCAL_BATCHES", 1)
    monkeypatch.setattr(token_writer, "BATCH_CHARS", 1500)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    together = load_or_build(Fixed(), wordpiece(), tmp_path / "together")
    assert together.fingerprint == alone.fingerprint
    assert together.splits["train"].ids.tolist() == alone.splits["train"].ids.tolist()


def test_a_process_that_dies_raises_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "LOCAL_BATCHES", 1)
    monkeypatch.setattr(token_writer, "BATCH_CHARS", 1500)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(encode, "WORKER_CODE", "raise SystemExit(7)")
    with pytest.raises(ChildProcessError, match="ended unexpectedly"):
        load_or_build(Fixed(), wordpiece(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_imported_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "LOCAL_BATCHES", 1)
    monkeypatch.setattr(token_writer, "BATCH_CHARS", 1500)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    for name in ("numpy", "pickle"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    assert load_or_build(Fixed(), wordpiece(), tmp_path / "cache").splits


@pytest.mark.parametrize("characters", [200, 10**6])
def test_long_documents_are_cut_between_words_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, characters: int
) -> None:
    """Also if the parts are in different batches."""
    text = " ".join(DOCUMENTS)
    monkeypatch.setattr(encode, "LOCAL_BATCHES", 10**9)
    monkeypatch.setattr(token_writer, "BATCH_CHARS", characters)
    monkeypatch.setattr(token_writer, "cut_between_words", lambda one: cut_between_words(one, 300))
    data = load_or_build(Fixed([text]), wordpiece(), tmp_path)
    assert data.splits["train"].ids.tolist() == [*data.tokenizer.encode(text), 3]
    assert "val" not in data.splits


def test_reading_stops_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_writer, "BATCH_CHARS", 200)
    n_read: list[int] = []

    class Counted(Fixed):
        def splits(self) -> Iterator[tuple[str, str]]:
            n_read.append(0)
            for document in Fixed.splits(self):
                n_read[-1] += 1
                yield document

    data = load_or_build(Counted(max_tokens=500), wordpiece(), tmp_path)
    n_tokens = sum(len(stream.ids) for stream in data.splits.values())
    longest = max(map(len, encode_each(data.tokenizer, DOCUMENTS)))
    assert 500 <= n_tokens <= 500 + 2 * (longest + 1)
    assert n_read[0] < 150 and n_read[1] < 60  # for the vocabulary, and for the tokens
    assert all(stream.ids[-1] == 3 for stream in data.splits.values())


@pytest.mark.parametrize("characters", [1000, 10**6])
@pytest.mark.parametrize("size", [1, 20])
def test_the_limit_applies_to_held_out_text_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, characters: int, size: int
) -> None:
    """Of few documents, whose held-out text comes last, and of many."""

    class HashSplit(Fixed):
        def splits(self) -> Iterator[tuple[str, str]]:
            return holdout.hold_out(self.texts, self.val or 0)

    monkeypatch.setattr(token_writer, "BATCH_CHARS", characters)
    monkeypatch.setattr(token_writer, "LIMITED_PART_CHARS", 100)
    texts = [" ".join(DOCUMENTS[k : k + size]) for k in range(0, len(DOCUMENTS), size)]
    data = load_or_build(
        HashSplit([" ".join(DOCUMENTS)] if size == 1 else texts, max_tokens=1000), wordpiece(), tmp_path
    )
    for name, wanted in (("train", 900), ("val", 100)):
        ids = data.splits[name].ids
        assert wanted <= len(ids) <= wanted + 60
        assert ids[-1] == 3


def test_a_published_validation_split_is_kept_whole(tmp_path: Path) -> None:
    class Published(Fixed):
        def splits(self) -> Iterator[tuple[str, str]]:
            yield from sorted(Fixed.splits(self), key=lambda named: named[0] == "train")

    whole = load_or_build(Published(val=None), wordpiece(), tmp_path).splits["val"].n_bytes
    data = load_or_build(Published(val=None, max_tokens=400), wordpiece(), tmp_path)
    assert data.splits["val"].n_bytes == whole
    assert 400 <= len(data.splits["train"].ids) < 500


LARGE = """
import os, random, sys, threading, time
os.sched_getaffinity = lambda _: {0, 1}
from pathlib import Path
from tests.helpers.text_data import Fixed
from ssl_cli.data.text.token_cache import load_or_build
from ssl_cli.data.tokenizers.trainers import WordPiece

words = ["".join(random.Random(k).choices("abcdefghijklmnop", k=3 + k % 9)) for k in range(50_000)]
peak_of = {}  # process -> kB

def peak(process):  # getrusage would count what the process that started this one had
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split("kB")[0])

def watch():
    while True:
        for children in Path("/proc/self/task").glob("*/children"):
            for child in children.read_text().split():
                try:
                    peak_of[child] = peak(child)
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
load_or_build(Large(texts=[]), WordPiece(vocab_size=8000, lowercase=True, sample_bytes=50_000_000), Path(sys.argv[1]))
assert len(peak_of) == 2
print(peak("self") + sum(peak_of.values()))
"""


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="asks /proc for the memory of other processes")
def test_memory_stays_bounded(tmp_path: Path) -> None:
    """300 MB of text: all processes together"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", LARGE, str(tmp_path)]
    ended = run(command, env=environment)
    assert not ended.returncode, ended.stderr
    assert int(ended.stdout) * 1024 < 10**9
