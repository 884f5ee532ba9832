"""Pretrained tokenizers: that of a checkpoint, read from the files that transformers writes."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from ssl_cli.config.types import Path as FilePath
from ssl_cli.data.io.json_state import read_state
from ssl_cli.data.tokenizers.tokenizer import ROLES, Tokenizer
from ssl_cli.data.tokenizers.validation import check_dense_ids, library_errors_as_input_errors
from ssl_cli.errors import InputError

TOKENIZER_FILE, CONFIG_FILE = "tokenizer.json", "tokenizer_config.json"
BERT_FILE, GPT2_FILES = "vocab.txt", ("vocab.json", "merges.txt")


class PretrainedTokenizer:
    """The tokenizer in a checkpoint's folder, which needs no training.

    Reads tokenizer.json, BERT's vocab.txt, or vocab.json with merges.txt, as written for GPT-2 and RoBERTa.
    """

    def __init__(self, folder: Annotated[FilePath, "a checkpoint's folder"]):
        self.folder = Path(folder).expanduser()

    def train(self, texts: Iterable[str] = ()) -> Tokenizer:
        """Return the tokenizer; the texts are not read. Raises InputError if there is none or it is damaged."""
        path = self.folder / TOKENIZER_FILE
        if path.is_file():
            return Tokenizer.load(path)
        with library_errors_as_input_errors(self.folder):
            if (self.folder / BERT_FILE).is_file():
                return Tokenizer(self._read_bert())
            if all((self.folder / name).is_file() for name in GPT2_FILES):
                return Tokenizer(self._read_gpt2())
        raise InputError(
            f"{self.folder} has no tokenizer: no {TOKENIZER_FILE}, no {BERT_FILE}, and no {' with '.join(GPT2_FILES)}."
        )

    def cache_key(self) -> list[Any]:
        """Return JSON-able values that change with the tokenizer."""
        return ["Taken", hashlib.sha256(self.train().to_json().encode()).hexdigest()]

    def _read_bert(self) -> tokenizers.Tokenizer:
        options = read_state(self.folder / CONFIG_FILE) if (self.folder / CONFIG_FILE).is_file() else {}
        library = tokenizers.Tokenizer(models.WordPiece.from_file(str(self.folder / BERT_FILE), unk_token="[UNK]"))
        library.normalizer = normalizers.BertNormalizer(
            lowercase=options.get("do_lower_case", True),
            handle_chinese_chars=options.get("tokenize_chinese_chars", True),
            strip_accents=options.get("strip_accents"),
        )
        library.pre_tokenizer, library.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
        specials = _special_names(library)
        library.add_special_tokens(list(specials.values()))
        if {"cls", "sep"} <= set(specials):
            library.post_processor = processors.BertProcessing(*_sep_and_cls(library, specials))
        return library

    def _read_gpt2(self) -> tokenizers.Tokenizer:
        vocabulary, merges = (str(self.folder / name) for name in GPT2_FILES)
        library = tokenizers.Tokenizer(models.BPE.from_file(vocabulary, merges))
        check_dense_ids(self.folder / GPT2_FILES[0], list(library.get_vocab().values()))
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        library.decoder = decoders.ByteLevel()
        specials = _special_names(library)
        mask = specials.get("mask")
        # RoBERTa's mask includes the space before it.
        library.add_special_tokens([AddedToken(name, lstrip=name == mask, special=True) for name in specials.values()])
        if {"cls", "sep"} <= set(specials):
            sep, cls = _sep_and_cls(library, specials)
            library.post_processor = processors.RobertaProcessing(sep, cls, trim_offsets=True, add_prefix_space=False)
        return library


def _special_names(library: tokenizers.Tokenizer) -> dict[str, str]:
    """Return role -> special token, for the special tokens whose usual names are in the vocabulary."""
    names_by_role = {
        role: next((name for name in names if library.token_to_id(name) is not None), None)
        for role, names in ROLES.items()
    }
    return {role: name for role, name in names_by_role.items() if name}


def _sep_and_cls(library: tokenizers.Tokenizer, specials: dict[str, str]) -> tuple[tuple[str, int], tuple[str, int]]:
    """Return the token after a text and the token before it, each with its id."""
    vocabulary = library.get_vocab()
    sep, cls = ((specials[role], vocabulary[specials[role]]) for role in ("sep", "cls"))
    return sep, cls
