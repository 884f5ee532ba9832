"""Parallel tokenization: texts -> tokens on all CPU cores, in worker processes once there is enough text to share."""

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
from ssl_cli.data.tokenizers.fast_encode import CachedEncoder, flatten
from ssl_cli.data.tokenizers.tokenizer import Tokenizer

BATCH_CHARS = 1 << 21  # characters of a batch of texts
LOCAL_BATCHES = 8  # batches encoded by this process before workers start: each worker has to cache the words anew
WORKER_CODE = "from ssl_cli.data.text.encode import serve; serve()"


@dataclass
class EncodedTexts:
    """Texts as tokens: `ids` (N,) uint32, and of each text its number of tokens and UTF-8 bytes, (T,) each.

    `word_starts` (N,) bool says which tokens begin a word or a listed phrase; None if no phrases are matched.
    """

    ids: np.ndarray
    lengths: np.ndarray
    n_bytes: np.ndarray
    word_starts: np.ndarray | None


class BatchEncoder:
    """Encodes batches of texts in one process."""

    def __init__(self, tokenizer: Tokenizer, phrases: PhraseMatcher | None):
        self.tokenizer, self.phrases = tokenizer, phrases
        self.encoder = CachedEncoder(tokenizer.library)

    def __call__(self, texts: list[str]) -> EncodedTexts:
        n_bytes = np.array([len(text) if text.isascii() else len(text.encode()) for text in texts], np.int64)
        if self.phrases is None:
            return EncodedTexts(*self.encoder.encode(texts), n_bytes, None)
        encodings = self.encoder.library.encode_batch(texts, add_special_tokens=False)
        ids, _, lengths = flatten([encoding.ids for encoding in encodings])
        starts = [
            self._word_starts(text, encoding.ids, encoding.offsets)
            for text, encoding in zip(texts, encodings, strict=True)
        ]
        return EncodedTexts(self.encoder.id_map[ids], lengths, n_bytes, np.concatenate([*starts, np.zeros(0, bool)]))

    def _word_starts(self, text: str, ids: list[int], offsets: list[tuple[int, int]]) -> np.ndarray:
        """Return whether each token begins a phrase, or a word outside all phrases: (n,) bool."""
        assert self.phrases is not None
        tags = np.r_[self.phrases.tag_spans(text), np.uint8(OUTSIDE)]
        token_tags = tags[np.array([start for start, _ in offsets], np.int64)]
        word_starts = self.tokenizer.find_word_starts(np.array(ids, np.int64))
        return np.where(token_tags == OUTSIDE, word_starts, token_tags == BEGIN)


def encode_texts(
    batches: Iterable[list[str]], tokenizer: Tokenizer, phrases: PhraseMatcher | None
) -> Generator[EncodedTexts]:
    """Yield the tokens of each batch, in order."""
    encode, remaining = BatchEncoder(tokenizer, phrases), iter(batches)
    for _, batch in zip(range(LOCAL_BATCHES), remaining, strict=False):
        yield encode(batch)
    next_batch = next(remaining, None)
    if next_batch is None:
        return
    n_processes = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if n_processes == 1:
        yield encode(next_batch)
        yield from map(encode, remaining)
        return
    with _WorkerPool(n_processes, tokenizer, phrases) as pool:
        yield from pool.encode(next_batch, remaining)


class _WorkerPool:
    """Worker processes that encode; for each, a thread here sends texts and waits for their tokens.

    Joblib's pool takes as long (1.01 times; 1.05 times the CPU time; 216 MB of English, two workers), but its workers
    outlive a killed parent by more than 45 s, and import modules from the working directory.
    """

    def __init__(self, size: int, tokenizer: Tokenizer, phrases: PhraseMatcher | None):
        self.workers = [_start_worker() for _ in range(size)]
        self.free: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
        self.threads = ThreadPoolExecutor(size)
        self.setup = (tokenizer.to_json(), None if phrases is None else sorted(phrases.phrases))

    def __enter__(self) -> "_WorkerPool":
        for worker in self.workers:
            _send(worker, self.setup)
            self.free.put(worker)
        return self

    def encode(self, first: list[str], others: Iterator[list[str]]) -> Iterator[EncodedTexts]:
        waiting: deque[Future[EncodedTexts]] = deque([self.threads.submit(self._encode_batch, first)])
        for batch in others:
            waiting.append(self.threads.submit(self._encode_batch, batch))
            if len(waiting) > len(self.workers) + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _encode_batch(self, batch: list[str]) -> EncodedTexts:
        worker = self.free.get()
        try:
            _send(worker, batch)
            assert worker.stdout is not None
            return pickle.load(worker.stdout)
        except (EOFError, pickle.UnpicklingError) as error:
            raise _worker_error(worker) from error
        finally:
            self.free.put(worker)

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:  # first, so that no thread keeps waiting for a reply
            worker.kill()
        self.threads.shutdown(cancel_futures=True)
        for worker in self.workers:
            with suppress(OSError):
                worker.communicate()


def _start_worker() -> subprocess.Popen[bytes]:
    environment = os.environ | {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", WORKER_CODE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )


def _send(worker: subprocess.Popen[bytes], message: object) -> None:
    assert worker.stdin is not None
    try:
        pickle.dump(message, worker.stdin, protocol=pickle.HIGHEST_PROTOCOL)
        worker.stdin.flush()
    except OSError as error:
        raise _worker_error(worker) from error


def _worker_error(worker: subprocess.Popen[bytes]) -> ChildProcessError:
    return ChildProcessError(f"a process that encodes text ended unexpectedly, with exit code {worker.wait()}")


def serve() -> None:
    """Run a worker: read a tokenizer from stdin, then batches of texts until it closes; write tokens to stdout."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends it
    texts, tokens = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError):
        json_text, phrases = pickle.load(texts)
        encode = BatchEncoder(Tokenizer.from_json(json_text), None if phrases is None else PhraseMatcher(phrases))
        while True:
            pickle.dump(encode(pickle.load(texts)), tokens, protocol=pickle.HIGHEST_PROTOCOL)
            tokens.flush()
