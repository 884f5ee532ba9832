"""tokenizer_config.json and the like: the ids that transformers' AutoTokenizer gives, or one sentence."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken
from tokenizers import Tokenizer as Library

from ssl_cli.data.tokenizers.pretrained import PretrainedTokenizer
from ssl_cli.data.tokenizers.settings import unreachable_capitals
from ssl_cli.errors import InputError

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["the", "The", "room", "Room", "u", "ü", "##nder", "中", "中文", "kit", "##chen", "cold", "."]
TEXT = "The Room is under ünder 中文 . the kitchen [URL] <ent> was cold.kitchen [MASK] URL"
BERT = {"tokenizer_class": "BertTokenizer"}
DECODER = {
    "18": {"content": "kitchen", "lstrip": False, "rstrip": False, "normalized": True, "special": False},
    "19": {"content": "[URL]", "lstrip": True, "rstrip": False, "normalized": False, "special": True},
}


def checkpoint(folder: Path, **files: Any) -> Path:
    """Write BERT's vocab.txt, config.json, and these files."""
    (folder / "vocab.txt").write_text("\n".join([*SPECIALS, *WORDS]) + "\n")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    return folder


def whole_tokenizer(folder: Path, **normalizer: Any) -> Any:
    """Return the tokenizer.json of the folder's vocabulary, with other options of its normalizer."""
    state = json.loads(PretrainedTokenizer(str(folder)).train().to_json())
    state["normalizer"] |= normalizer
    return state


def ids(folder: Path) -> list[int]:
    return PretrainedTokenizer(str(folder)).train().encode(TEXT)


def theirs(folder: Path) -> list[int]:
    transformers = pytest.importorskip("transformers")
    transformers.logging.set_verbosity_error()
    tokenizer = transformers.AutoTokenizer.from_pretrained(str(folder))
    return tokenizer(TEXT, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"tokenizer_config": BERT | {"do_lower_case": False}},
        {"tokenizer_config": BERT | {"do_lower_case": False, "strip_accents": True}},
        {"tokenizer_config": BERT | {"strip_accents": False}},
        {"tokenizer_config": BERT | {"tokenize_chinese_chars": False}},
        {"tokenizer_config": BERT | {"added_tokens_decoder": DECODER}},
        {"tokenizer_config": BERT, "added_tokens": {"kitchen": 18, "[URL]": 19}},
        {
            "tokenizer_config": BERT | {"do_lower_case": False},
            "added_tokens": {"[URL]": 18, "kitchen": 19},
            "special_tokens_map": {"mask_token": "[MASK]", "additional_special_tokens": ["[URL]"]},
        },
        {
            "tokenizer_config": BERT | {"additional_special_tokens": ["[URL]", "<ent>"]},
            "special_tokens_map": {"additional_special_tokens": ["kitchen", "[URL]"]},
        },
        {
            "tokenizer_config": BERT
            | {"additional_special_tokens": ["<ent>"], "extra_special_tokens": {"url_token": "[URL]"}},
        },
    ],
    ids=range(10),
)
def test_the_ids_are_those_of_transformers(tmp_path: Path, files: dict[str, Any]) -> None:
    folder = checkpoint(tmp_path, **files)
    assert ids(folder) == theirs(folder)


@pytest.mark.parametrize("is_lower", [True, False])
@pytest.mark.parametrize("generic", [True, False], ids=["generic", "bert"])
def test_the_config_is_right_where_tokenizer_json_says_something_else(
    tmp_path: Path, is_lower: bool, generic: bool
) -> None:
    folder = checkpoint(tmp_path)
    state = whole_tokenizer(folder, lowercase=not is_lower)
    options = {"tokenizer_class": "PreTrainedTokenizerFast"} if generic else BERT
    checkpoint(folder, tokenizer=state, tokenizer_config=options | {"do_lower_case": is_lower})
    assert ids(folder) == theirs(folder)


def test_a_bert_without_tokenizer_config_has_bert_s_defaults(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    state = whole_tokenizer(folder)
    checkpoint(folder, tokenizer=state)
    assert ids(folder) == theirs(folder)
    checkpoint(folder, tokenizer=whole_tokenizer(folder, lowercase=False))
    with pytest.raises(InputError, match=r"has lowercase=False, but without do_lower_case .* takes True: say there"):
        ids(folder)
    (folder / "config.json").unlink()  # as in the folder of a run
    assert ids(folder)


def test_tokens_are_added_to_a_tokenizer_json(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path)
    state = whole_tokenizer(folder)
    options = BERT | {"do_lower_case": True, "added_tokens_decoder": DECODER}
    checkpoint(folder, tokenizer=state, tokenizer_config=options)
    found = ids(folder)
    assert 18 in found and 19 in found and found == theirs(folder)


def test_a_prefix_space_is_read_for_gpt2(tmp_path: Path) -> None:
    Library.from_str(BPE).model.save(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gpt2"}))
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": True})
    )
    assert PretrainedTokenizer(str(tmp_path)).train().encode("ab") == [2, 0, 1]


BPE = json.dumps(
    {
        "version": "1.0",
        "added_tokens": [],
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "Ġ": 2, "<|endoftext|>": 3}, "merges": []},
    }
)


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        (
            {"tokenizer_config": {"added_tokens_decoder": {"18": {"content": "\u0301", "normalized": True}}}},
            "its added token '\u0301' is empty when it is normalized",
        ),
        ({"tokenizer_config": {"do_lower_case": "no"}}, "do_lower_case must be true or false, not 'no'"),
        ({"tokenizer_config": {"unk_token": "<none>"}}, "names '<none>' as its unk token"),
        ({"tokenizer_config": {"mask_token": {"content": "<M>"}}}, "names '<M>' as its mask token"),
        ({"tokenizer_config": {"added_tokens_decoder": [1]}}, "must map ids to tokens"),
        ({"tokenizer_config": {"added_tokens_decoder": {"x": {"content": "a"}}}}, "'x' is not the id of a token"),
        ({"tokenizer_config": {"added_tokens_decoder": {"18": "a"}}}, "an added token must have content"),
        ({"tokenizer_config": {"added_tokens_decoder": {"18": {"content": "a", "lstrip": 1}}}}, "be true or false"),
        ({"tokenizer_config": {"added_tokens_decoder": {"18": {"content": ""}}}}, "must have 1 to 1,000 characters"),
        ({"added_tokens": {"kitchen": 50}}, "'kitchen' has the id 50, but the vocabulary makes it 18"),
        ({"added_tokens": {"kitchen": None}}, "'None' is not the id of a token"),
        ({"added_tokens": {f"w{k}": k for k in range(20_001)}}, "adds 20,001 tokens"),
    ],
    ids=range(12),
)
def test_settings_that_can_not_be_followed(tmp_path: Path, files: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError) as raised:
        ids(checkpoint(tmp_path, **files))
    assert sentence in str(raised.value)


def test_a_default_that_would_change_tokenizer_json_is_asked_for(tmp_path: Path) -> None:
    """Transformers would lowercase it, whatever tokenizer.json says."""
    folder = checkpoint(tmp_path)
    checkpoint(folder, tokenizer=whole_tokenizer(folder, lowercase=False), tokenizer_config=BERT)
    with pytest.raises(InputError, match="has lowercase=False, but without do_lower_case"):
        ids(folder)


def test_capitals_that_no_text_gives_are_counted(tmp_path: Path) -> None:
    library = PretrainedTokenizer(str(checkpoint(tmp_path))).train().library
    assert unreachable_capitals(library) == 2  # The, Room
    checkpoint(tmp_path, tokenizer_config=BERT | {"do_lower_case": False})
    library = PretrainedTokenizer(str(tmp_path)).train().library
    library.add_tokens([AddedToken("NEW")])
    assert unreachable_capitals(library) == 0


def test_the_cases_that_went_wrong(shared: Path, tmp_path: Path) -> None:
    cases = shared.parent / "cases"
    if not cases.is_dir():
        pytest.skip("no cases")
    lower = "lower_case_config_ignored"
    for case in ("added_tokens_ignored/ckpt", f"{lower}/casednocfg", f"{lower}/conflict"):
        folder = tmp_path / case.replace("/", "-")
        shutil.copytree(cases / case, folder)
        assert ids(folder) == theirs(folder), case
