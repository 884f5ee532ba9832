"""T5's tokenizer from its spiece.model alone: the same tokens as transformers, one sentence for what can't be read."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ssl_cli.data.tokenizers.charsmap import check_charsmap
from ssl_cli.data.tokenizers.pretrained import PretrainedTokenizer
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from tests.helpers.sentencepiece_files import BYTE, NORMAL, T5_PIECES, UNUSED, WHOLE, charsmap, field, spiece_model

MAP = charsmap({"\uff21": "A", "\n": " ", "\u2026": "..."})  # a wide A, and an ellipsis
TEXTS = ["the cats", "  the   cat.", "\uff21cat \u2026", "dogs", "", "the\ncat", "the <extra_id_1> cat</s>", "▁the"]


def folder(path: Path, model: bytes, **config: Any) -> Path:
    path.mkdir(exist_ok=True)
    (path / "spiece.model").write_bytes(model)
    (path / "config.json").write_text(json.dumps({"model_type": "t5"} | config))
    return path


def read(path: Path) -> Tokenizer:
    return PretrainedTokenizer(str(path)).train()


def tokens(tokenizer: Tokenizer, text: str) -> list[str]:
    return [tokenizer.token(token_id) for token_id in tokenizer.encode(text)]


def test_pieces_have_the_best_total_score(tmp_path: Path) -> None:
    tokenizer = read(folder(tmp_path, spiece_model(normalizer={2: MAP})))
    assert tokens(tokenizer, "the cats") == ["▁the", "▁cat", "s"]
    assert tokens(tokenizer, " the  cat.\n\uff21") == ["▁the", "▁cat", ".", "▁A"]
    assert tokens(tokenizer, "the\u2026 x") == ["▁the", ".", ".", ".", "▁", "<unk>"]
    assert tokens(tokenizer, "the <extra_id_0> cat") == ["▁the", "<extra_id_0>", "▁cat"]
    assert tokenizer.decode(tokenizer.encode("the cats.")) == "the cats."


def test_sentinels_count_downwards_from_the_end(tmp_path: Path) -> None:
    tokenizer = read(folder(tmp_path, spiece_model()))
    assert tokenizer.vocab_size == len(T5_PIECES) + 100
    assert tokenizer.sentinels == list(reversed(range(len(T5_PIECES), len(T5_PIECES) + 100)))
    assert tokenizer.specials == {"pad": 0, "sep": 1, "end": 1, "unk": 2}
    (tmp_path / "tokenizer_config.json").write_text('{"extra_ids": 2}')
    assert read(tmp_path).sentinels == [len(T5_PIECES) + 1, len(T5_PIECES)]


def test_transformers_makes_the_same_of_it(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = read(folder(tmp_path, spiece_model(normalizer={2: MAP})))
    # From the parts of the file: to read the file itself, transformers needs the library sentencepiece.
    vocabulary = [(name, score) for name, score, _ in T5_PIECES] + [(f"<extra_id_{k}>", 0.0) for k in range(99, -1, -1)]
    theirs = transformers.T5Tokenizer(vocab=vocabulary, _spm_precompiled_charsmap=MAP)
    for text in TEXTS:
        assert tokenizer.encode(text) == theirs(text, add_special_tokens=False)["input_ids"], text
        assert tokenizer.library.encode(text).ids == theirs(text)["input_ids"], text
    theirs.save_pretrained(tmp_path / "saved")  # as a tokenizer.json, which we read too
    saved = read(folder(tmp_path / "saved", b""))
    assert [saved.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    assert (saved.sentinels, saved.specials) == (tokenizer.sentinels, tokenizer.specials)


def test_a_run_keeps_it_as_a_tokenizer_json(tmp_path: Path) -> None:
    tokenizer = read(folder(tmp_path, spiece_model(normalizer={2: MAP})))
    tokenizer.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    assert [again.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    assert again.sentinels == tokenizer.sentinels


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (spiece_model(trainer={3: 2}), "is of the kind BPE"),
        (spiece_model([*T5_PIECES, ("<sep>", 0.0, WHOLE)]), "has pieces that are always whole"),
        (spiece_model([*T5_PIECES, ("x", 0.0, UNUSED)]), "has unused pieces"),
        (spiece_model([*T5_PIECES, ("<0x00>", 0.0, BYTE)], trainer={35: 1}), "pieces of single bytes and has a byte f"),
        (spiece_model(trainer={24: 1}), "has spaces after words"),
        (spiece_model(normalizer={3: 0}), "treats spaces otherwise"),
        (spiece_model() + field(5, field(2, MAP)), "has a map from pieces back to text"),
    ],
)
def test_one_sentence_says_how_another_kind_is_read(tmp_path: Path, model: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=rf"because it .*{reason}.*: make a tokenizer.json of it, by AutoTokenizer"):
        read(folder(tmp_path, model))


NAN_SCORE = [*T5_PIECES, ("x", float("nan"), NORMAL)]
OUTSIDE = struct.pack("<I", 1024) + struct.pack("<256I", *[1 << 30 | 1] * 256) + b"a\0"


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (b"not a model", "is not a SentencePiece model"),
        (spiece_model()[:-3], "is not a SentencePiece model"),
        (field(1, 7), "is not a SentencePiece model"),
        (field(1, field(1, b"\xff")), "is not a SentencePiece model"),
        (b"\xff" * 20, "is not a SentencePiece model"),
        (b"", "its pieces must have names"),
        (spiece_model(T5_PIECES[:2]), "one must be unknown"),
        (spiece_model([*T5_PIECES, T5_PIECES[4]]), "its pieces must have names, which differ"),
        (spiece_model(NAN_SCORE), "finite scores"),
        (spiece_model(normalizer={2: b"ab"}), "the character map of its normalizer is cut off"),
        (spiece_model(normalizer={2: MAP[:-1]}), "the character map of its normalizer is cut off"),
        (spiece_model(normalizer={2: OUTSIDE}), "the character map of its normalizer leads nowhere"),
        (spiece_model(normalizer={2: charsmap({"a": "a" * 300})}), "replaces a character by more than 256 bytes"),
        (spiece_model(normalizer={2: MAP[:-4] + b"\xff.a\0"}), "holds broken characters"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, model: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(folder(tmp_path, model))


def test_whatever_is_accepted_can_be_used(tmp_path: Path) -> None:
    """Files with a few bytes changed are refused, or encode every text: the library would panic."""
    whole, random, n_read = spiece_model(normalizer={2: MAP}), np.random.default_rng(0), 0
    for _ in range(300):
        damaged = bytearray(whole)
        for place in random.integers(len(whole), size=random.integers(1, 4)):
            damaged[place] = random.integers(256)
        try:
            tokenizer = read(folder(tmp_path, bytes(damaged)))
        except InputError:
            continue
        n_read += 1
        for text in TEXTS:
            tokenizer.decode(tokenizer.encode(text))
    assert 20 < n_read < 280


def test_steps_out_of_the_trie_are_found() -> None:
    """Any unit that leads outside, or whose value is no text, whether or not a text comes to it."""
    path, n_units = Path("spiece.model"), struct.unpack("<I", MAP[:4])[0] // 4
    check_charsmap(path, MAP)
    for unit in ((n_units << 10) | ord("b"), (1 << 8) | ord("b"), (1 << 10 | 1 << 9) * 255 | ord("b")):
        place = 4 * (1 + ord("b"))
        with pytest.raises(InputError, match="leads nowhere"):
            check_charsmap(path, MAP[:place] + struct.pack("<I", unit) + MAP[place + 4 :])


def test_it_is_read_for_t5_only(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has a spiece.model, which is read only for T5, not for 'albert'"):
        read(folder(tmp_path, spiece_model(), model_type="albert"))
    folder(tmp_path, spiece_model())
    (tmp_path / "tokenizer_config.json").write_text('{"extra_ids": -1}')
    with pytest.raises(InputError, match="extra_ids must be a whole number from 0 to 10,000, not '-1'"):
        read(tmp_path)
