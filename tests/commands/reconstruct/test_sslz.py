"""File format .sslz: its layout, read independently by docs/compress.md; damaged, foreign and forged files."""

import hashlib
import struct
import tracemalloc
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from ssl_cli.commands.reconstruct import sslz, sslz_names
from ssl_cli.errors import InputError

MODEL = bytes(range(16))
NAMES = ["a/0.png", "a/1.jpg", "b.png"]


def make_codes(n: int, places: int, kinds: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return codes (n, places) and counts (places, kinds), as uneven as real ones: some codes never occur."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 3, (places, kinds)) * rng.integers(0, 10_000, (places, kinds))
    counts[0] = np.eye(kinds, dtype=int)[kinds // 2] * 60_000
    p = (counts + 1) / (counts + 1).sum(1, keepdims=True)
    codes = np.stack([rng.choice(kinds, n, p=row) for row in p], axis=1)
    codes[-1] = 0  # even if they are rare
    return codes, counts


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture
def content() -> bytes:
    codes, counts = make_codes(3, 5, 16)
    return sslz.pack(NAMES, codes, 7, counts, MODEL)


# --- the layout -----------------------------------------------------------------------------------------------


def decoded_by_the_docs(content: bytes, counts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Return names and codes by an independent reader, with integers only and without constriction."""
    assert content[:5] == b"SSLZ\x01"
    n_images, _, n_bytes, encoding = struct.unpack_from("<IIIB", content, 21)
    assert content[-8:] == hashlib.sha256(content[:-8]).digest()[:8]
    packed = content[34 : 34 + n_bytes]
    names = (zlib.decompress(packed, -15) if encoding else packed).decode().split("\0")
    words = [word for (word,) in struct.iter_unpack("<I", content[34 + n_bytes : -8])]
    return names, decoded_range(words, [whole_frequencies(row.tolist()) for row in counts], n_images)


def whole_frequencies(counts: list[int]) -> list[int]:
    counts = counts + [0] * (len(counts) < 2)
    seen = sum(counts) + len(counts)
    found = [(count + 1) * (2**24 - len(counts)) // seen + 1 for count in counts]
    found[counts.index(max(counts))] += 2**24 - sum(found)
    return found


def decoded_range(words: list[int], tables: list[list[int]], n_images: int) -> np.ndarray:
    """Return codes by a range decoder with 64 bits of state and words of 32, as docs/compress.md describes it."""
    words, codes = [*words], np.empty((n_images, len(tables)), int)
    take = lambda: words.pop(0) if words else 0  # noqa: E731
    low, width, point = 0, 2**64 - 1, take() << 32 | take()
    order = [
        (image, place)
        for start in range(0, n_images, 1024)
        for place in range(len(tables))
        for image in range(start, min(n_images, start + 1024))
    ]
    edges = [[0, *np.cumsum(table).tolist()] for table in tables]
    for image, place in order:
        unit = width >> 24
        at = (point - low) % 2**64 // unit
        code = next(k for k, (left, right) in enumerate(pairwise(edges[place])) if left <= at < right)
        codes[image, place] = code
        low, width = (low + unit * edges[place][code]) % 2**64, unit * tables[place][code]
        if width < 2**32:
            low, width, point = low << 32 & 2**64 - 1, width << 32, (point << 32 | take()) & 2**64 - 1
    return codes


@pytest.mark.parametrize(("n", "places", "kinds"), [(1, 1, 1), (1, 3, 2), (5, 4, 3), (70, 6, 256), (1100, 3, 9)])
def test_the_file_is_what_the_docs_say(tmp_path: Path, n: int, places: int, kinds: int) -> None:
    codes, counts = make_codes(n, places, kinds)
    names = [f"{k}.png" for k in range(n)]
    content = sslz.pack(names, codes, 7, counts, MODEL)
    read_names, found = decoded_by_the_docs(content, counts)
    assert read_names == names
    np.testing.assert_array_equal(found, codes)
    read = sslz.unpack(written(tmp_path / "x.sslz", content), MODEL, "mine")
    assert (read.names, read.pixel_checksum, read.size) == (names, 7, len(content))
    np.testing.assert_array_equal(np.concatenate(list(read.codes(counts))), codes)
    assert sum(sslz.part_sizes(content).values()) == len(content)


def test_the_codes_take_as_many_bytes_as_their_information() -> None:
    codes, counts = make_codes(2000, 8, 64)
    found = np.take_along_axis(sslz.frequencies(counts), codes.T, axis=1)
    ideal = np.log2(2**24 / found).sum() / 8
    assert ideal <= len(sslz.encode_codes(codes, counts)) <= ideal + 8


def test_frequencies_are_integers_of_at_least_one() -> None:
    counts = np.array([[0, 0, 0], [10**9, 0, 1], [1, 2, 3]])
    found = sslz.frequencies(counts)
    assert (found >= 1).all() and (found.sum(1) == 2**24).all()
    assert found[2].tolist() == whole_frequencies([1, 2, 3])
    for wrong in ([[-1, 2]], [[1 << 60, 0]], [[1 << 62, 1 << 62]]):
        with pytest.raises(InputError, match="damaged"):
            sslz.frequencies(np.array(wrong))


# --- damage ---------------------------------------------------------------------------------------------------


def rejection(path: Path, content: bytes) -> str:
    with pytest.raises(InputError) as error:
        sslz.unpack(written(path, content), MODEL, "mine")
    return str(error.value)


def test_every_changed_byte_is_detected(tmp_path: Path, content: bytes) -> None:
    for at in range(len(content)):
        for flip in (1, 0x80, 0xFF):
            changed = bytearray(content)
            changed[at] ^= flip
            message = rejection(tmp_path / "x.sslz", bytes(changed))
            assert (
                "damaged" in message or (at < 4 and "is no file of" in message) or (at == 4 and "update ssl" in message)
            )


def test_every_wrong_length_is_detected(tmp_path: Path, content: bytes) -> None:
    for length in range(len(content)):
        rejection(tmp_path / "x.sslz", content[:length])
    for more in (b"\0", b"\0\0\0\0", content):
        rejection(tmp_path / "x.sslz", content + more)


def test_foreign_files_are_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.sslz"
    assert "is no file of `ssl compress`" in rejection(path, b"\x89PNG\r\n\x1a\n" + bytes(50))
    assert "is no file of `ssl compress`" in rejection(path, b"")
    newer = content[:4] + b"\x02" + content[5:-8]
    assert "version 2" in rejection(path, newer + sslz.digest(newer))
    codes, counts = make_codes(3, 5, 16)
    assert "another model" in rejection(path, sslz.pack(NAMES, codes, 7, counts, bytes(16)))
    with pytest.raises(InputError, match="can't be read"):
        sslz.unpack(tmp_path / "absent.sslz", MODEL, "mine")


# --- forgeries: the checksum is right -------------------------------------------------------------------------


def forged(
    n: int = 1, n_bytes: int | None = None, packed: bytes = b"a.png", encoding: int = 0, codes: bytes = b""
) -> bytes:
    size = len(packed) if n_bytes is None else n_bytes
    body = sslz.HEADER.pack(b"SSLZ", 1, MODEL, n, 0, size, encoding) + packed + codes
    return body + sslz.digest(body)


def deflated(text: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(text) + packer.flush()


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    names = [
        "../a",
        "a/../../b",
        "/etc/passwd",
        "C:/a",
        "c:a",
        "a\\b",
        "a//b",
        "",
        ".",
        "a/./b",
        "a\nb",
        "a\x1bb",
        "n" * 5000,
    ]
    for name in names:
        assert "damaged" in rejection(tmp_path / "x.sslz", forged(packed=name.encode())), name
        with pytest.raises(InputError, match="Rename it"):
            sslz_names.pack_names([name])
    assert "damaged" in rejection(tmp_path / "x.sslz", forged(2, packed=b"a\0\0b"))
    assert "damaged" in rejection(tmp_path / "x.sslz", forged(packed=b"\xff\xfe"))
    with pytest.raises(InputError, match="invalid Unicode"):
        sslz_names.pack_names(["\udcff.png"])


@pytest.mark.parametrize(
    "content",
    [
        forged(n=2**32 - 1),
        forged(n=0, packed=b""),
        forged(n=2),
        forged(n_bytes=2**32 - 1),
        forged(n_bytes=6),
        forged(codes=b"123"),
        forged(encoding=2),
        forged(encoding=1, packed=b"\xff\xff\xff"),
        forged(encoding=1, packed=deflated(b"a.png")[:-1]),
        forged(encoding=1, packed=deflated(b"a.png") + b"more"),
        forged(encoding=1, packed=deflated(b"a" * 10**8)),
        forged(n=10**6, encoding=1, packed=deflated(b"\0".join([b"a"] * 10**6))),
        forged(2, packed=b"a.png\0a.png"),
        forged(2, packed=b"a.png\0a.png/b.png"),
    ],
)
def test_a_false_header_is_rejected_with_little_memory(tmp_path: Path, content: bytes) -> None:
    tracemalloc.start()
    assert "damaged" in rejection(tmp_path / "x.sslz", content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * len(content) + 2**20


def test_false_codes_are_rejected(tmp_path: Path) -> None:
    path, (_, counts) = tmp_path / "x.sslz", make_codes(3, 5, 16)
    odd = np.random.default_rng(0).bytes(400)
    sole = np.array([[5]])
    never = sslz.encode_codes(np.ones((1, 1), int), np.array([[5, 0]]))  # the second code of an alphabet of one
    for content, of in ((forged(codes=odd), counts), (forged(codes=b"\xff" * 8), counts), (forged(codes=never), sole)):
        with pytest.raises(InputError, match="damaged"):
            list(sslz.unpack(written(path, content), MODEL, "mine").codes(of))


# --- names ----------------------------------------------------------------------------------------------------


def test_all_kinds_of_names_are_kept() -> None:
    for names in (
        ["a.png"],
        [f"{k:05}.png" for k in range(3000)],
        ["汉字/ü 1.jpg", "x.tar.png", ".png", "..a/b..png"],
        [f"{'long' * 60}/{k:04}.png" for k in range(2000)],  # deflated more than a reader accepts: left plain
    ):
        encoding, packed = sslz_names.pack_names(names)
        assert sslz_names.unpack_names(packed, len(names), encoding) == names
    assert encoding == sslz_names.PLAIN


def test_no_image_takes_the_place_of_another() -> None:
    assert sslz_names.output_paths(["a.jpg", "b/c.jpeg", "d"]) == ["a.png", "b/c.png", "d.png"]
    assert sslz_names.output_paths(["a.jpg", "a.png", "b.jpg"]) == ["a.jpg.png", "a.png.png", "b.jpg.png"]
    assert sslz_names.output_paths(["a.jpg", "a.png/b.jpg"]) == ["a.jpg.png", "a.png/b.jpg.png"]
    with pytest.raises(InputError, match="rename one"):
        sslz_names.pack_names(["a.jpg", "a.png", "a.jpg.png/b.jpg"])
