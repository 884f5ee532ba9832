"""Texts -> tokens, on all the cores there are: in other processes, as soon as there is enough to share."""

import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue

import numpy as np

from ssl_cli.data.text.phrases import BEGIN, OUTSIDE, PhraseMatcher
from ssl_cli.data.tokenizers.fast_encode import CachedEncoder, ragged
from ssl_cli.data.tokenizers.tokenizer import Tokenizer

CHARACTERS = 1 << 21  # of a batch of texts
ALONE = 8  # batches that one process encodes before it calls for others: each must learn the words anew
SERVE = "from ssl_cli.data.text.encode import serve; serve()"


@dataclass
class EncodedTexts:
    """Texts as tokens: `ids` (N,) uint32, `length` (T,) and `n_bytes` (T,) of each text, `starts` (N,) bool where
    units are looked for: which tokens begin one."""

    ids: np.ndarray
    length: np.ndarray
    n_bytes: np.ndarray
    starts: np.ndarray | None


class Encoder:
    """What encodes a batch of texts in one process."""

    def __init__(self, tokenizer: Tokenizer, phrases: PhraseMatcher | None):
        self.tokenizer, self.phrases = tokenizer, phrases
        self.pieces = CachedEncoder(tokenizer.library)

    def __call__(self, texts: list[str]) -> EncodedTexts:
        n_bytes = np.array([len(text) if text.isascii() else len(text.encode()) for text in texts], np.int64)
        if self.phrases is None:
            return EncodedTexts(*self.pieces.encode(texts), n_bytes, None)
        found = self.pieces.library.encode_batch(texts, add_special_tokens=False)
        ids, _, length = ragged([one.ids for one in found])
        begins = [self._starts(text, one.ids, one.offsets) for text, one in zip(texts, found, strict=True)]
        return EncodedTexts(self.pieces.id_map[ids], length, n_bytes, np.concatenate([*begins, np.zeros(0, bool)]))

    def _starts(self, text: str, ids: list[int], offsets: list[tuple[int, int]]) -> np.ndarray:
        """(n,) bool: the token begins a unit, or a word outside of all units"""
        assert self.phrases is not None
        marks = np.r_[self.phrases.mark(text), np.uint8(OUTSIDE)]
        mark = marks[np.array([start for start, _ in offsets], np.int64)]
        return np.where(mark == OUTSIDE, self.tokenizer.starts(np.array(ids, np.int64)), mark == BEGIN)


def encode_texts(
    batches: Iterable[list[str]], tokenizer: Tokenizer, phrases: PhraseMatcher | None
) -> Generator[EncodedTexts]:
    """Each batch as tokens, in order."""
    here, there = Encoder(tokenizer, phrases), iter(batches)
    for _, batch in zip(range(ALONE), there, strict=False):
        yield here(batch)
    second = next(there, None)
    if second is None:
        return
    n_processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if n_processes == 1:
        yield here(second)
        yield from map(here, there)
        return
    with _Crew(n_processes, tokenizer, phrases) as crew:
        yield from crew.work(second, there)


class _Crew:
    """Processes that encode, each with a thread here that hands it texts and waits."""

    def __init__(self, size: int, tokenizer: Tokenizer, units: PhraseMatcher | None):
        self.members = [_member() for _ in range(size)]
        self.free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self.threads = ThreadPoolExecutor(size)
        self.first = (tokenizer.to_json(), None if units is None else sorted(units.phrases))

    def __enter__(self) -> "_Crew":
        for member in self.members:
            _tell(member, self.first)
            self.free.put(member)
        return self

    def work(self, first: list[str], others: Iterator[list[str]]) -> Iterator[EncodedTexts]:
        waiting: deque[Future[EncodedTexts]] = deque([self.threads.submit(self._ask, first)])
        for batch in others:
            waiting.append(self.threads.submit(self._ask, batch))
            if len(waiting) > len(self.members) + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _ask(self, batch: list[str]) -> EncodedTexts:
        member = self.free.get()
        try:
            _tell(member, batch)
            assert member.stdout is not None
            return pickle.load(member.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise _ended(member) from error
        finally:
            self.free.put(member)

    def __exit__(self, *_: object) -> None:
        for member in self.members:  # first, so that no thread waits for an answer
            member.kill()
        self.threads.shutdown(cancel_futures=True)
        for member in self.members:
            with suppress(OSError):
                member.communicate()


def _member() -> subprocess.Popen[bytes]:
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )


def _tell(member: subprocess.Popen[bytes], what: object) -> None:
    assert member.stdin is not None
    try:
        pickle.dump(what, member.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        member.stdin.flush()
    except OSError as error:
        raise _ended(member) from error


def _ended(member: subprocess.Popen[bytes]) -> ChildProcessError:
    return ChildProcessError(f"a process that encodes text has ended by itself, with {member.wait()}")


def serve() -> None:
    """What such a process does: a tokenizer comes in, then batches of texts, until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends with the one that has called for it
    texts, tokens = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError):
        json_text, phrases = pickle.load(texts)
        encode = Encoder(Tokenizer.from_json(json_text), None if phrases is None else PhraseMatcher(phrases))
        while True:
            pickle.dump(encode(pickle.load(texts)), tokens, protocol=pickle.HIGHEST_PROTOCOL)
            tokens.flush()
