"""Listed phrases: which tokens of the cache begin one."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_cli.data.text.token_cache import load_or_build
from ssl_cli.data.tokenizers.trainers import CharLevel
from ssl_cli.errors import InputError
from tests.helpers.text_data import Fixed, wordpiece


def split_at_phrases(tmp_path: Path, trainer: Any, text: str, phrases: list[str]) -> list[str]:
    """Return the text of the cached tokens, split where a phrase or word begins."""
    (tmp_path / "phrases.txt").write_text("\n".join(phrases), encoding="utf-8")
    data = load_or_build(Fixed([text], phrases=str(tmp_path / "phrases.txt")), trainer, tmp_path / "cache")
    stream = data.splits["train"]
    assert stream.word_start_bits is not None
    begins = np.unpackbits(stream.word_start_bits)[: len(stream.ids)].astype(bool)
    assert begins[-1]  # the end of the document
    spans = np.split(stream.ids[:-1], np.flatnonzero(begins[:-1]))[1:]
    return [re.sub(" ?##", "", data.tokenizer.decode(span)).strip() for span in spans]


def test_the_longest_listed_phrase_is_kept_whole(tmp_path: Path) -> None:
    chinese = "企鹅不会飞但企鹅会游泳"
    parts = split_at_phrases(
        tmp_path, CharLevel(vocab_size=99, sample_bytes=999), chinese, ["企鹅", "游泳", "会游", "会游泳", "不"]
    )
    assert parts == ["企鹅", "不", "会", "飞", "但", "企鹅", "会游泳"]


def test_phrases_of_several_words(tmp_path: Path) -> None:
    text = "Party in New York, art in Newer York: New York City!"
    parts = split_at_phrases(tmp_path, wordpiece(), text, ["New York", "art", "New York City"])
    assert parts == ["party", "in", "new york", ",", "art", "in", "newer", "york", ":", "new york city", "!"]


@pytest.mark.parametrize(("content", "message"), [(None, "can't be read"), (b"\n \n", "is empty"), (b"\xff", "UTF-8")])
def test_invalid_phrase_files(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "phrases.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_or_build(Fixed(phrases=str(tmp_path / "phrases.txt")), wordpiece(), tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())
