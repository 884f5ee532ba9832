"""Untrusted tokenizer.json: what would hang or crash the library is rejected."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer as Library

from ssl_cli.data.tokenizers.fast_encode import ANY_CHARACTER
from ssl_cli.data.tokenizers.pretrained import PretrainedTokenizer
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import WordLevel, WordPiece
from ssl_cli.data.tokenizers.validation import MAX_FILE_BYTES, library_errors_as_input_errors
from ssl_cli.errors import InputError
from tests.helpers.pretrain_runs import MAKERS, TEXT, tokenizer_of

State = dict[str, Any]


def replace(pattern: State, content: str) -> State:
    return {"type": "Replace", "pattern": pattern, "content": content}


def normalizers(*parts: State) -> Callable[[State], Any]:
    return lambda state: state.update(normalizer={"type": "Sequence", "normalizers": list(parts)})


def split(regex: str) -> Callable[[State], Any]:
    cutter = {"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": False}
    return lambda state: state.update(pre_tokenizer=cutter)


def unlimited(state: State) -> None:
    state["model"]["max_input_chars_per_word"] = 10**9


def far(state: State) -> None:
    state["model"]["vocab"]["far"] = 4_000_000_000


def far_added(state: State) -> None:
    state["added_tokens"].append(state["added_tokens"][0] | {"id": 4_000_000_000, "content": "far"})


def doubled(state: State) -> None:
    twice = [{"Sequence": {"id": "A", "type_id": 0}}] * 99
    state["post_processor"] = {"type": "TemplateProcessing", "single": twice, "pair": twice, "special_tokens": {}}


def template(*ids: str) -> Callable[[State], Any]:
    """Return an attack by a template that holds these texts."""
    single = [{"Sequence": {"id": name, "type_id": 0}} for name in ids]
    parts = {"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens": {}}
    return lambda state: state.update(post_processor=parts)


def invisible_added(state: State) -> None:
    token = state["added_tokens"][0] | {"normalized": True, "content": "\u0301"}
    state["added_tokens"].append(token | {"id": len(state["model"]["vocab"])})


def long_template(state: State) -> None:
    cls = {"id": "[CLS]", "ids": [2] * 100_000, "tokens": ["[CLS]"] * 100_000}
    parts = [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}]
    state["post_processor"] = {
        "type": "TemplateProcessing", "single": parts, "pair": parts, "special_tokens": {"[CLS]": cls},
    }  # fmt: skip


def million_added(state: State) -> None:
    token, first = state["added_tokens"][0], len(state["model"]["vocab"])
    state["added_tokens"] += [token | {"id": first + k, "content": f"w{k}"} for k in range(20_001)]


def long_added(state: State) -> None:
    state["added_tokens"].append(
        state["added_tokens"][0] | {"id": len(state["model"]["vocab"]), "content": "a" * 1001}
    )


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (normalizers(*[replace({"String": "a"}, "a" * 30)] * 4), "by none that is longer"),
        (normalizers(replace({"String": ""}, "")), "by none that is longer"),
        (normalizers(replace({"Regex": "(a+)+b"}, "a")), "by none that is longer"),
        (normalizers(*[{"type": "NFKC"}] * 5), "5 parts; at most 4 are allowed"),
        (normalizers(*[{"type": "ByteLevel"}] * 4), "has the normalizer ByteLevel, which is not allowed"),
        (normalizers({"type": "Sequence", "normalizers": []}), "has the normalizer Sequence, which is not allowed"),
        (normalizers({"type": "Precompiled", "precompiled_charsmap": "AAAA"}), "the character map of its normalizer"),
        (split(r"(\w+\w*)+\d"), "splits text by the pattern"),
        (doubled, "its template has more than 8 parts"),
        (long_template, "its template has more than 8 parts"),
        (template("A", "A"), "its template must hold each text once"),
        (template(), "its template must hold each text once"),
        (invisible_added, "its added token '\u0301' is empty when it is normalized"),
        (million_added, "tokens to its vocabulary; at most 20,000 are allowed"),
        (long_added, "an added token must have 1 to 1,000 characters"),
        (unlimited, "a word 1,000"),
        (far, "tokens must have ids from 0 and below 1,"),
        (far_added, "tokens must have ids from 0 and below 1,"),
        (lambda state: state.update(decoder={"type": "Sequence", "decoders": []}), "has the decoder Sequence"),
        (lambda state: state["model"]["vocab"].pop("[UNK]"), "can't be read as a tokenizer"),
        (lambda state: state.pop("model"), "can't be read as a tokenizer"),
    ],
    ids=range(21),
)
def test_a_file_with_dangerous_parts(tmp_path: Path, attack: Callable[[State], Any], sentence: str) -> None:
    state = json.loads(tokenizer_of("wordpiece").to_json())
    attack(state)
    if "[UNK]" not in state.get("model", {}).get("vocab", ["[UNK]"]):
        state["added_tokens"] = []
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    with pytest.raises(InputError) as raised:
        Tokenizer.load(tmp_path / "tokenizer.json")
    assert sentence in str(raised.value)
    assert len(str(raised.value)) < 500


def test_tokens_do_not_change_from_one_reading_to_the_next(tmp_path: Path) -> None:
    """Dropout of merges, which the training of a tokenizer may leave in its file."""
    state = json.loads(tokenizer_of("bpe").to_json())
    state["model"]["dropout"] = 0.5
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    tokenizer = Tokenizer.load(tmp_path / "tokenizer.json")
    expected = tokenizer_of("bpe").encode(TEXT[0])
    assert all(tokenizer.encode(TEXT[0]) == expected for _ in range(20))


PADDING = {"direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}
TRUNCATION = {"direction": "Right", "strategy": "LongestFirst"}


@pytest.mark.parametrize(
    "parts",
    [
        {"padding": PADDING | {"strategy": {"Fixed": 1_000_000_000_000}, "pad_to_multiple_of": None}},
        {"padding": PADDING | {"strategy": "BatchLongest", "pad_to_multiple_of": 1_000_000_000_000}},
        {"truncation": TRUNCATION | {"max_length": 1, "stride": 0}},
        {"truncation": TRUNCATION | {"max_length": 2, "stride": 5}},
    ],
    ids=["fixed", "multiple", "truncation", "stride"],
)
def test_padding_and_truncation_are_off_before_anything_is_encoded(tmp_path: Path, parts: State) -> None:
    """A text padded to 10^12 tokens would be more than any machine holds: this test ends only if none is."""
    (tmp_path / "tokenizer.json").write_text(json.dumps(json.loads(tokenizer_of("wordpiece").to_json()) | parts))
    expected = tokenizer_of("wordpiece").encode(TEXT[0])
    assert Tokenizer.load(tmp_path / "tokenizer.json").encode(TEXT[0]) == expected
    assert PretrainedTokenizer(str(tmp_path)).train().encode(TEXT[0]) == expected


@pytest.mark.parametrize("text", ["[" * 100_000, "[1]", "5", "\x00", '{"model": {}, "model": {}}', '{"model": 5}'])
def test_a_file_that_is_no_tokenizer(tmp_path: Path, text: str) -> None:
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(InputError, match="can't be read as a tokenizer"):
        Tokenizer.load(tmp_path / "tokenizer.json")


def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    with (tmp_path / "tokenizer.json").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    with pytest.raises(InputError, match="has more than 67,108,864 bytes"):
        Tokenizer.load(tmp_path / "tokenizer.json")


def test_a_panic_of_the_library_is_a_damaged_file(tmp_path: Path) -> None:
    """It is not an Exception, so nothing else would catch it."""
    state = json.loads(tokenizer_of("wordpiece").to_json())
    state["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": "AQAAAAA="}
    with (
        pytest.raises(InputError, match="can't be read as a tokenizer: it is damaged"),
        library_errors_as_input_errors(tmp_path),
    ):
        Library.from_str(json.dumps(state)).encode("a")
    with pytest.raises(KeyboardInterrupt), library_errors_as_input_errors(tmp_path):
        raise KeyboardInterrupt


def test_a_vocabulary_with_merges_must_not_have_gaps_either(tmp_path: Path) -> None:
    (tmp_path / "vocab.json").write_text(json.dumps({"a": 0, "far": 4_000_000_000}))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    with pytest.raises(InputError, match=r"vocab\.json is damaged: its 2 tokens must have ids"):
        PretrainedTokenizer(str(tmp_path)).train()


def test_our_tokenizers_and_published_ones_are_read(tmp_path: Path) -> None:
    """Old files don't name the type of their model; RoBERTa's adds the ends of a text."""
    words = WordLevel(vocab_size=100, sample_bytes=10**6, lowercase=True).train(TEXT)
    cased = WordPiece(vocab_size=160, sample_bytes=10**6, lowercase=False).train(TEXT)
    states = [json.loads(tokenizer.to_json()) for tokenizer in (*map(tokenizer_of, MAKERS), words, cased)]
    del states[0]["model"]["type"]
    ends = {"sep": ["[SEP]", 3], "cls": ["[CLS]", 2]}
    states[1]["post_processor"] = {
        "type": "RobertaProcessing", "trim_offsets": True, "add_prefix_space": False, **ends,
    }  # fmt: skip
    states[2]["normalizer"] = replace({"String": "``"}, '"')
    assert any((state["pre_tokenizer"].get("pattern") or {}) == {"Regex": ANY_CHARACTER} for state in states)
    for state in states:
        (tmp_path / "tokenizer.json").write_text(json.dumps(state))
        assert Tokenizer.load(tmp_path / "tokenizer.json").encode(TEXT[0])
