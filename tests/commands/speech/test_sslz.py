"""The file format of compressed speech: what is packed comes back, and a damaged file is refused."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from ssl_cli.commands.reconstruct import sslz as image_sslz
from ssl_cli.commands.reconstruct.sslz import digest
from ssl_cli.commands.speech.sslz import HEADER, CompressedSpeech, pack, read, unpack
from ssl_cli.errors import InputError

K, STRIDE, FINGERPRINT = 5, 2, bytes(range(16))


def counts() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 50, (K + 1, K))


def speech(frames: tuple[int, ...] = (7, 1, 12)) -> CompressedSpeech:
    rng, n_units = np.random.default_rng(0), sum(-(-n // STRIDE) for n in frames)
    names = [f"sub/{k}.wav" for k in range(len(frames))]
    return CompressedSpeech(names, np.array(frames), np.arange(len(frames)), rng.integers(0, K, n_units))


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "x.sslz"
    path.write_bytes(content)
    return path


def sealed(body: bytes) -> bytes:
    return body + digest(body)


def test_what_is_packed_comes_back(tmp_path: Path) -> None:
    path = written(tmp_path, pack(speech(), STRIDE, counts(), FINGERPRINT))
    found = unpack(path, STRIDE, counts(), FINGERPRINT, "it")
    assert found.names == speech().names
    for name in ("frames", "speaker", "units"):
        np.testing.assert_array_equal(getattr(found, name), getattr(speech(), name))


def test_predictable_units_take_few_bytes() -> None:
    cycle = np.where(np.eye(K, k=1) + np.eye(K, k=1 - K), 1_000_000, 0)  # 0, 1, ..., K - 1, 0, ...
    table = np.r_[cycle.astype(int), np.ones((1, K), int)]
    known, rng = np.arange(2000) % K, np.random.default_rng(0)
    sizes = [
        len(pack(CompressedSpeech(["a.wav"], np.array([4000]), np.array([0]), units), STRIDE, table, FINGERPRINT))
        for units in (known, rng.integers(0, K, 2000))
    ]
    assert sizes[0] < 100 < 500 < sizes[1]


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (lambda content: content[:-1], "its checksum does not match"),
        (lambda content: b"RIFF" + content[4:], "is no compressed speech"),
        (lambda content: content[:4] + b"\x09" + content[5:], "version 9 of the format"),
        (lambda content: sealed(content[:-8] + b"\0\0"), "don't match its length"),
        (lambda content: sealed(content[:-8] + b"\1\0\0\0" * 3), "more units than|not this model's"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, spoilt, reason: str) -> None:  # type: ignore[no-untyped-def]
    path = written(tmp_path, spoilt(pack(speech(), STRIDE, counts(), FINGERPRINT)))
    with pytest.raises(InputError, match=reason):
        unpack(path, STRIDE, counts(), FINGERPRINT, "it")


def test_a_file_of_another_model_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, pack(speech(), STRIDE, counts(), FINGERPRINT))
    with pytest.raises(InputError, match="was written by another model"):
        unpack(path, STRIDE, counts(), bytes(16), "it")


def test_a_header_cannot_ask_for_more_than_the_file_can_hold(tmp_path: Path) -> None:
    body = bytearray(pack(speech(), STRIDE, counts(), FINGERPRINT)[:-8])
    fields = list(HEADER.unpack_from(body))
    fields[4] = 2**31  # units
    HEADER.pack_into(body, 0, *fields)
    with pytest.raises(InputError, match="too small for what its header promises"):
        unpack(written(tmp_path, sealed(bytes(body))), STRIDE, counts(), FINGERPRINT, "it")


@pytest.mark.parametrize(("reader", "content", "sentence"), [
    (image_sslz.read, b"SSLS", "holds compressed speech, not images: set run= to the run on speech"),
    (read, b"SSLZ", "holds compressed images, not speech: set run= to the run on images"),
])
def test_a_file_of_the_other_kind(tmp_path: Path, reader: Callable, content: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        reader(written(tmp_path, content + bytes(99)))
