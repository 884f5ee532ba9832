"""The token cache: its content and size, and that it is either complete or absent."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_cli.data.text import encode, token_writer
from ssl_cli.data.text.token_cache import load_or_build
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import ByteLevelBPE, CharLevel, WordPiece
from ssl_cli.errors import InputError
from ssl_cli.files import file_lock
from tests.conftest import full_disk
from tests.helpers.processes import DEADLINE_S, popen, wait_for
from tests.helpers.text_data import DOCUMENTS, Fixed, wordpiece


def of_split(split: str) -> list[str]:
    return [text for name, text in Fixed().splits() if name == split]


@pytest.mark.parametrize("characters", [1, 500, 10**6])
def test_the_tokens_are_those_of_the_documents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, characters: int
) -> None:
    """For any size of batches; each document is followed by its end, and val is separate from train."""
    monkeypatch.setattr(encode, "LOCAL_BATCHES", 10**9)
    monkeypatch.setattr(token_writer, "BATCH_CHARS", characters)
    data = load_or_build(Fixed(), wordpiece(), tmp_path)
    for split, stream in data.splits.items():
        wanted = [[*data.tokenizer.encode(text), 3] for text in of_split(split)]
        assert stream.ids.tolist() == [token for document in wanted for token in document]
        assert stream.document_ends.tolist() == np.cumsum(list(map(len, wanted))).tolist()
        assert stream.n_bytes == sum(len(text.encode()) for text in of_split(split))
    specials = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "end": 3}
    assert data.facts == {
        "vocab_size": data.tokenizer.vocab_size,
        "specials": specials,
        "sentinels": [],
        "bytes_per_token": None,  # upper case is lost
    }


def test_size_is_two_bytes_per_token(tmp_path: Path) -> None:
    """Below 65,536 tokens in the vocabulary, with a document of normal length."""
    data = load_or_build(Fixed(["birds fly and " * 5000 for _ in range(20)]), wordpiece(), tmp_path)
    (folder,) = tmp_path.iterdir()
    size = sum(path.stat().st_size for path in folder.iterdir())
    assert size <= 2.1 * sum(len(stream.ids) for stream in data.splits.values())
    assert (token_writer.token_dtype(65535).itemsize, token_writer.token_dtype(65536).itemsize) == (2, 4)


def test_a_complete_cache_is_not_built_again(tmp_path: Path) -> None:
    first = load_or_build(Fixed(), wordpiece(), tmp_path)

    class MustNotTrain(WordPiece):
        def train(self, texts: Iterable[str]) -> Tokenizer:
            raise AssertionError("trained again")

        def cache_key(self) -> list[Any]:
            return wordpiece().cache_key()

    again = load_or_build(Fixed(), MustNotTrain(vocab_size=300, lowercase=True, sample_bytes=100_000), tmp_path)
    assert again.fingerprint == first.fingerprint
    assert len(list(tmp_path.iterdir())) == 1
    load_or_build(Fixed(DOCUMENTS[:-1]), wordpiece(), tmp_path)
    load_or_build(Fixed(), ByteLevelBPE(vocab_size=300, sample_bytes=100_000), tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_no_vocabulary_is_learned_from_held_out_text(tmp_path: Path) -> None:
    texts = ["train text only"] * 9 + ["zebra zebra zebra"]
    data = load_or_build(Fixed(texts), CharLevel(vocab_size=100, sample_bytes=1000), tmp_path)
    assert data.tokenizer.library.token_to_id("z") is None
    assert data.splits["val"].ids.tolist().count(1) == 6  # z and b


def test_warnings_of_the_source_are_kept(tmp_path: Path) -> None:
    source = Fixed()
    source.issues.add_invalid(2, "a.txt at byte 7")
    for _ in range(2):
        assert "a.txt at byte 7" in load_or_build(source, wordpiece(), tmp_path).warnings[0]
        source = Fixed()


@pytest.mark.parametrize("texts", [[], ["", "  "]])
def test_an_empty_corpus(tmp_path: Path, texts: list[str]) -> None:
    with pytest.raises(InputError, match="The training text is empty"):
        load_or_build(Fixed(texts), wordpiece(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_full_disk(tmp_path: Path) -> None:
    cache, text = tmp_path / "cache", Fixed(["birds fly " * 3000] * 10)
    sentence = r"The tokens can't be stored in .*cache: .*\. Set data\.cache=PATH"
    with full_disk(20_000), pytest.raises(InputError, match=sentence):
        load_or_build(text, wordpiece(), cache)
    assert not list(cache.iterdir())


def test_an_interrupted_build_leaves_nothing(tmp_path: Path) -> None:
    class Interrupted(Fixed):
        def splits(self) -> Iterator[tuple[str, str]]:
            yield from list(Fixed.splits(self))[:50]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_or_build(Interrupted(), wordpiece(), tmp_path)
    assert not list(tmp_path.iterdir())


def test_folders_of_killed_processes_are_removed_and_those_in_progress_are_not(tmp_path: Path) -> None:
    for name in ("dead", "live"):
        (tmp_path / f".part-{name}-1").mkdir()
        (tmp_path / f".part-{name}-1" / "train.bin").write_bytes(b"x")
    (tmp_path / ".lock-dead").touch()
    with file_lock(tmp_path / ".lock-live"):
        load_or_build(Fixed(), wordpiece(), tmp_path)
        assert sorted(path.name for path in tmp_path.glob(".*")) == [".lock-live", ".part-live-1"]
    assert not (tmp_path / ".lock-live").exists()


def test_concurrent_requests_build_it_once(tmp_path: Path) -> None:
    trained = []

    class Slow(WordPiece):
        def train(self, texts: Iterable[str]) -> Tokenizer:
            trained.append(self)
            time.sleep(0.2)
            return super().train(texts)

    def request() -> None:
        found.append(
            load_or_build(Fixed(), Slow(vocab_size=300, lowercase=True, sample_bytes=100_000), tmp_path).fingerprint
        )

    found: list[str] = []
    threads = [threading.Thread(target=request) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == len(trained) == 1
    assert len(list(tmp_path.iterdir())) == 1


BUILDS = """
import sys, time
from pathlib import Path

sys.path.insert(0, sys.argv[1])
from ssl_cli.data.text.token_cache import load_or_build
from tests.helpers.text_data import Fixed, wordpiece

class Source(Fixed):
    readings = 0

    def splits(self):
        self.readings += 1
        for k, text in enumerate(super().splits()):
            if k == 150 and self.readings == int(sys.argv[3]):
                Path("paused").touch()
                time.sleep(3600)
            yield text

Path(sys.argv[2]).touch()
print(load_or_build(Source(), wordpiece(), Path("cache")).fingerprint)
"""


@pytest.mark.long
@pytest.mark.parametrize("reading", [1, 2], ids=["vocabulary", "tokens"])
def test_killed_while_another_process_waits(workdir: Path, reading: int) -> None:
    """The one that waits builds the same tokens; what the killed one left is removed by the next build."""
    command = [sys.executable, "-c", BUILDS, str(Path(__file__).parents[3])]
    first = popen([*command, "first", str(reading)], stderr=subprocess.PIPE)
    wait_for((workdir / "paused").exists, first)
    second = popen([*command, "second", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for((workdir / "second").exists, second)
    time.sleep(0.5)  # it is at the lock, or soon will be: both are to end in the same way
    assert second.poll() is None and not [path for path in (workdir / "cache").iterdir() if path.name[0] != "."]
    first.kill()
    first.wait()
    out, err = second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 0, err
    assert out.strip() == load_or_build(Fixed(), wordpiece(), workdir / "whole").fingerprint
    (built,) = (path for path in (workdir / "cache").iterdir() if path.name[0] != ".")
    (whole,) = (workdir / "whole").iterdir()
    for path in whole.iterdir():
        assert (built / path.name).read_bytes() == path.read_bytes(), path.name
    load_or_build(Fixed(DOCUMENTS[:-1]), wordpiece(), workdir / "cache")
    assert not list((workdir / "cache").glob(".*"))


def test_permissions_follow_the_umask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = os.umask(0o022)
    try:
        load_or_build(Fixed(), wordpiece(), tmp_path)
    finally:
        os.umask(before)
    (folder,) = tmp_path.iterdir()
    assert folder.stat().st_mode & 0o777 == 0o755

    def deny(path: Path, **_: Any) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", deny)
    with pytest.raises(InputError, match=r"about\.json can't be read: Permission denied\.$"):
        load_or_build(Fixed(), wordpiece(), tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "missing", "invalid"])
def test_a_damaged_cache_is_rejected(tmp_path: Path, damage: str) -> None:
    load_or_build(Fixed(), wordpiece(), tmp_path)
    (folder,) = tmp_path.iterdir()
    if damage == "truncated":
        os.truncate(folder / "train.bin", 10)
    elif damage == "missing":
        (folder / "val.bin").unlink()
    else:
        (folder / "about.json").write_text(json.dumps({"splits": {}}))
    with pytest.raises(InputError, match="is damaged: remove it, and it will be built again"):
        load_or_build(Fixed(), wordpiece(), tmp_path)


def test_a_tokenizer_without_an_end(tmp_path: Path) -> None:
    class WithoutEnd:
        def train(self, texts: Iterable[str]) -> Tokenizer:
            tokenizer = wordpiece().train(texts)
            del tokenizer.specials["end"]
            return tokenizer

        def cache_key(self) -> list[Any]:
            return []

    with pytest.raises(InputError, match="no token to separate documents"):
        load_or_build(Fixed(), WithoutEnd(), tmp_path)
