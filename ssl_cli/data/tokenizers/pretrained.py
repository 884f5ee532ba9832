"""A tokenizer from elsewhere: that of a checkpoint, in the files that transformers writes."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from ssl_cli.config.types import Path as FilePath
from ssl_cli.data.io.json_state import read_state
from ssl_cli.data.tokenizers.tokenizer import ROLES, Tokenizer
from ssl_cli.data.tokenizers.validation import refuse_gaps, sound
from ssl_cli.errors import InputError

LIBRARYS, BERTS, GPTS, CONFIG = "tokenizer.json", "vocab.txt", ("vocab.json", "merges.txt"), "tokenizer_config.json"


class PretrainedTokenizer:
    """The tokenizer in a checkpoint's folder: tokenizer.json, or BERT's vocab.txt, or vocab.json with merges.txt, as
    GPT-2 and RoBERTa have. It is trained already."""

    def __init__(self, folder: Annotated[FilePath, "a checkpoint's folder"]):
        self.folder = Path(folder).expanduser()

    def train(self, texts: Iterable[str] = ()) -> Tokenizer:
        """It learns nothing. Raises InputError where there is none, or it is damaged."""
        path = self.folder / LIBRARYS
        if path.is_file():
            return Tokenizer.load(path)
        with sound(self.folder):
            if (self.folder / BERTS).is_file():
                return Tokenizer(self._berts())
            if all((self.folder / name).is_file() for name in GPTS):
                return Tokenizer(self._gpts())
        raise InputError(f"{self.folder} has no tokenizer: no {LIBRARYS}, no {BERTS}, and no {' with '.join(GPTS)}.")

    def description(self) -> list[Any]:
        return ["Taken", hashlib.sha256(self.train().to_json().encode()).hexdigest()]

    def _berts(self) -> tokenizers.Tokenizer:
        options = read_state(self.folder / CONFIG) if (self.folder / CONFIG).is_file() else {}
        library = tokenizers.Tokenizer(models.WordPiece.from_file(str(self.folder / BERTS), unk_token="[UNK]"))
        library.normalizer = normalizers.BertNormalizer(
            lowercase=options.get("do_lower_case", True),
            handle_chinese_chars=options.get("tokenize_chinese_chars", True),
            strip_accents=options.get("strip_accents"),
        )
        library.pre_tokenizer, library.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
        specials = _named(library)
        library.add_special_tokens(list(specials.values()))
        if {"cls", "sep"} <= set(specials):
            library.post_processor = processors.BertProcessing(*_framing(library, specials))
        return library

    def _gpts(self) -> tokenizers.Tokenizer:
        vocabulary, merges = (str(self.folder / name) for name in GPTS)
        library = tokenizers.Tokenizer(models.BPE.from_file(vocabulary, merges))
        refuse_gaps(self.folder / GPTS[0], list(library.get_vocab().values()))
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        library.decoder = decoders.ByteLevel()
        specials = _named(library)
        mask = specials.get("mask")
        # RoBERTa's mask takes the space before it.
        library.add_special_tokens([AddedToken(name, lstrip=name == mask, special=True) for name in specials.values()])
        if {"cls", "sep"} <= set(specials):
            sep, cls = _framing(library, specials)
            library.post_processor = processors.RobertaProcessing(sep, cls, trim_offsets=True, add_prefix_space=False)
        return library


def _named(library: tokenizers.Tokenizer) -> dict[str, str]:
    """Role -> the special token that has it, by the names that are in the vocabulary"""
    found = {
        role: next((name for name in names if library.token_to_id(name) is not None), None)
        for role, names in ROLES.items()
    }
    return {role: name for role, name in found.items() if name}


def _framing(library: tokenizers.Tokenizer, specials: dict[str, str]) -> tuple[tuple[str, int], tuple[str, int]]:
    """What follows a text and what precedes it, each with its number"""
    vocabulary = library.get_vocab()
    sep, cls = ((specials[role], vocabulary[specials[role]]) for role in ("sep", "cls"))
    return sep, cls
