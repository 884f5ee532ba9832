"""Pretrained tokenizers: that of a checkpoint, read from the files that transformers writes."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from ssl_cli.config.types import Path as FilePath
from ssl_cli.data.tokenizers.sentencepiece import build_sentencepiece, read_sentencepiece
from ssl_cli.data.tokenizers.settings import CONFIG_FILE, TokenizerSettings
from ssl_cli.data.tokenizers.tokenizer import ROLES, Tokenizer
from ssl_cli.data.tokenizers.validation import (
    check_dense_ids,
    check_visible,
    library_errors_as_input_errors,
    read_library,
)
from ssl_cli.errors import InputError

TOKENIZER_FILE = "tokenizer.json"
BERT_FILE, GPT2_FILES = "vocab.txt", ("vocab.json", "merges.txt")
T5_FILE, T5_SENTINELS = "spiece.model", 100  # the usual number of them
MAX_SENTINELS = 10_000


class PretrainedTokenizer:
    """The tokenizer in a checkpoint's folder, which needs no training.

    Reads tokenizer.json, BERT's vocab.txt, vocab.json with merges.txt, as written for GPT-2 and RoBERTa, or T5's
    spiece.model; and what tokenizer_config.json and the like say of them.
    """

    def __init__(self, folder: Annotated[FilePath, "a checkpoint's folder"]):
        self.folder = Path(folder).expanduser()

    def train(self, texts: Iterable[str] = ()) -> Tokenizer:
        """Return the tokenizer; the texts are not read. Raises InputError if there is none or it is damaged."""
        settings = TokenizerSettings.read(self.folder)
        with library_errors_as_input_errors(self.folder):
            if library := self._read(settings):
                settings.apply(library)
                check_visible(self.folder, library)
                return Tokenizer(library)
        raise InputError(
            f"{self.folder} has no tokenizer: no {TOKENIZER_FILE}, no {BERT_FILE}, no {' with '.join(GPT2_FILES)}, and "
            f"no {T5_FILE}."
        )

    def cache_key(self) -> list[Any]:
        """Return JSON-able values that change with the tokenizer."""
        return ["Taken", hashlib.sha256(self.train().to_json().encode()).hexdigest()]

    def _read(self, settings: TokenizerSettings) -> tokenizers.Tokenizer | None:
        """Return the tokenizer of the first file that is there, without added tokens; None if there is none."""
        if (self.folder / TOKENIZER_FILE).is_file():
            return read_library(self.folder / TOKENIZER_FILE)
        if (self.folder / BERT_FILE).is_file():
            return self._read_bert(settings)
        if all((self.folder / name).is_file() for name in GPT2_FILES):
            return self._read_gpt2(settings)
        return self._read_t5(settings) if (self.folder / T5_FILE).is_file() else None

    def _read_bert(self, settings: TokenizerSettings) -> tokenizers.Tokenizer:
        _check_names(settings, ("unk", "cls", "sep", "pad", "mask"))
        library = tokenizers.Tokenizer(models.WordPiece.from_file(str(self.folder / BERT_FILE), unk_token="[UNK]"))
        library.normalizer = normalizers.BertNormalizer(**settings.normalizer_options())
        library.pre_tokenizer, library.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
        specials = _special_names(library)
        library.add_special_tokens(list(specials.values()))
        if {"cls", "sep"} <= set(specials):
            library.post_processor = processors.BertProcessing(*_sep_and_cls(library, specials))
        return library

    def _read_gpt2(self, settings: TokenizerSettings) -> tokenizers.Tokenizer:
        vocabulary, merges = (str(self.folder / name) for name in GPT2_FILES)
        library = tokenizers.Tokenizer(models.BPE.from_file(vocabulary, merges))
        check_dense_ids(self.folder / GPT2_FILES[0], list(library.get_vocab().values()))
        prefix_space = settings.options.get("add_prefix_space", False) is True
        library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
        library.decoder = decoders.ByteLevel()
        specials = _special_names(library)
        mask = specials.get("mask")
        # RoBERTa's mask includes the space before it.
        library.add_special_tokens([AddedToken(name, lstrip=name == mask, special=True) for name in specials.values()])
        if {"cls", "sep"} <= set(specials):
            sep, cls = _sep_and_cls(library, specials)
            library.post_processor = processors.RobertaProcessing(sep, cls, True, prefix_space)
        return library

    def _read_t5(self, settings: TokenizerSettings) -> tokenizers.Tokenizer:
        if settings.model_type not in (None, "t5"):
            raise InputError(
                f"{self.folder} has a {T5_FILE}, which is read only for T5, not for {str(settings.model_type)[:40]!r}: "
                f"it needs a {TOKENIZER_FILE}."
            )
        n_sentinels = settings.options.get("extra_ids", T5_SENTINELS)
        if isinstance(n_sentinels, bool) or not isinstance(n_sentinels, int) or not 0 <= n_sentinels <= MAX_SENTINELS:
            raise InputError(
                f"{self.folder / CONFIG_FILE}: extra_ids must be a whole number from 0 to {MAX_SENTINELS:,}, not "
                f"{str(n_sentinels)[:40]!r}."
            )
        return build_sentencepiece(read_sentencepiece(self.folder / T5_FILE), n_sentinels)


def _check_names(settings: TokenizerSettings, roles: Iterable[str]) -> None:
    """Raise InputError if a special token has another name than BERT's, by which the vocabulary is searched for it."""
    for role in roles:
        name = settings.token_name(role)
        if name is not None and name not in ROLES[role]:
            raise InputError(
                f"{settings.folder} names {str(name)[:40]!r} as its {role} token; supported: {', '.join(ROLES[role])}."
            )


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
