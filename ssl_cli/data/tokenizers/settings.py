"""What a checkpoint says of its tokenizer beside the vocabulary, read as transformers reads it.

The files: tokenizer_config.json, and special_tokens_map.json and added_tokens.json, which older versions wrote.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, normalizers

from ssl_cli.data.io.json_state import read_state
from ssl_cli.data.tokenizers.validation import check_added_tokens
from ssl_cli.errors import InputError

CONFIG_FILE, SPECIAL_FILE, ADDED_FILE = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
MODEL_FILE = "config.json"
GENERIC_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")  # take tokenizer.json as it is
# Options of BERT's normalizer: their names in tokenizer_config.json, in the library, and transformers' defaults.
NORMALIZER_OPTIONS = (
    ("do_lower_case", "lowercase", True),
    ("tokenize_chinese_chars", "handle_chinese_chars", True),
    ("strip_accents", "strip_accents", None),
)
EXTRA_TOKENS = ("additional_special_tokens", "extra_special_tokens")
TOKEN_FLAGS = ("single_word", "lstrip", "rstrip", "normalized", "special")


@dataclass(frozen=True)
class TokenizerSettings:
    """Options of a tokenizer, and the tokens that it has besides its vocabulary, by id.

    `has_class`: transformers reads the tokenizer with a class that has its own defaults. `extra` are special tokens
    without an id, which follow all others.
    """

    folder: Path
    has_class: bool
    options: Mapping[str, Any]
    added: Mapping[int, AddedToken]
    extra: tuple[AddedToken, ...]
    model_type: Any = None  # of config.json

    @classmethod
    def read(cls, folder: Path) -> "TokenizerSettings":
        """Read the files that the folder has. Raises InputError if one of them is damaged."""
        config, special, added = (_read_if_there(folder / name) for name in (CONFIG_FILE, SPECIAL_FILE, ADDED_FILE))
        path = folder / CONFIG_FILE
        if "added_tokens_decoder" in config:  # newer versions write it, and leave out the other two files
            listed = config["added_tokens_decoder"]
            tokens = {_id(path, key): _token(path, value) for key, value in _mapping(path, listed).items()}
            options = config
        else:
            options = config | special | {name: config[name] for name in EXTRA_TOKENS if config.get(name)}
            names = _special_names(options)
            tokens = {
                _id(folder / ADDED_FILE, number): AddedToken(name, normalized=name not in names, special=name in names)
                for name, number in added.items()
            }
        # Tokens with a role of their own come first, as in transformers.
        lists = sorted((options.get(name) for name in EXTRA_TOKENS), key=lambda value: not isinstance(value, Mapping))
        extra = tuple(_special_token(path, value) for values in lists for value in _values(values))
        check_added_tokens(path, [token.content for token in (*tokens.values(), *extra)])
        model_type = _read_if_there(folder / MODEL_FILE).get("model_type")
        has_class = path.is_file() or model_type == "bert"  # whose class has defaults of its own
        return cls(folder, has_class, options, tokens, extra, model_type)

    def normalizer_options(self) -> dict[str, Any]:
        """Return the arguments of BERT's normalizer. Raises InputError if one of them is neither true nor false."""
        values = {name: self.options.get(name, default) for name, _, default in NORMALIZER_OPTIONS}
        for name, value in values.items():
            if not isinstance(value, bool) and not (value is None and name == "strip_accents"):
                raise InputError(f"{self.folder / CONFIG_FILE}: {name} must be true or false, not {value!r}.")
        return {ours: values[name] for name, ours, _ in NORMALIZER_OPTIONS}

    def token_name(self, role: str) -> str | None:
        """Return the token that the files name for a role such as unk, or None."""
        value = self.options.get(f"{role}_token")
        return value.get("content") if isinstance(value, dict) else value

    def apply(self, library: tokenizers.Tokenizer) -> None:
        """Set the normalizer's options, and add the tokens. Raises InputError if that can't give transformers' ids."""
        if self.has_class and isinstance(library.normalizer, normalizers.BertNormalizer):
            self._set_normalizer(library)
        known = {token.content: token for token in library.get_added_tokens_decoder().values()}
        in_order = (self.added[number] for number in sorted(self.added))
        new = [token for token in in_order if token != known.get(token.content)]
        library.add_tokens([*new, *(token for token in self.extra if token.content not in known)])
        for number, token in self.added.items():
            if (actual := library.token_to_id(token.content)) != number:
                raise InputError(
                    f"{self.folder}: its added token {token.content!r} has the id {number:,}, but the vocabulary makes "
                    f"it {actual:,}."
                )

    def _set_normalizer(self, library: tokenizers.Tokenizer) -> None:
        """Set what tokenizer_config.json says. Transformers then ignores the normalizer of tokenizer.json."""
        if self.options.get("tokenizer_class") in GENERIC_CLASSES:
            return
        options, normalizer = self.normalizer_options(), library.normalizer
        for name, ours, _ in NORMALIZER_OPTIONS:
            if name not in self.options and getattr(normalizer, ours) != options[ours]:
                raise InputError(
                    f"{self.folder}: tokenizer.json has {ours}={getattr(normalizer, ours)}, but without {name} in "
                    f"{CONFIG_FILE} transformers takes {options[ours]}: say there which is right."
                )
        library.normalizer = normalizers.BertNormalizer(**options)


def unreachable_capitals(library: tokenizers.Tokenizer) -> int:
    """Return how many tokens of the vocabulary no text can give, because it is lowercased and they have capitals."""
    normalizer = library.normalizer
    if normalizer is None or normalizer.normalize_str("A") != "a":
        return 0
    return sum(token != token.lower() and token[:1] not in "[<" for token in library.get_vocab(with_added_tokens=False))


def _read_if_there(path: Path) -> dict[str, Any]:
    return read_state(path) if path.is_file() else {}


def _special_names(options: Mapping[str, Any]) -> set[str]:
    """Return the names of all special tokens: of a role, or extra ones."""
    roles = [value for name, value in options.items() if name.endswith("_token")]
    extra = [value for name in EXTRA_TOKENS for value in _values(options.get(name))]
    contents = [value.get("content") if isinstance(value, dict) else value for value in (*roles, *extra)]
    return {content for content in contents if isinstance(content, str)}


def _values(node: Any) -> Iterable[Any]:
    if isinstance(node, Mapping):
        return node.values()
    return node if isinstance(node, list) else ()


def _mapping(path: Path, node: Any) -> Mapping[str, Any]:
    if not isinstance(node, Mapping):
        raise InputError(f"{path} is damaged: added_tokens_decoder must map ids to tokens.")
    return node


def _id(path: Path, value: Any) -> int:
    try:
        number = -1 if isinstance(value, bool | float) else int(value)
    except (TypeError, ValueError):
        number = -1
    if not 0 <= number < 2**31:
        raise InputError(f"{path} is damaged: {str(value)[:40]!r} is not the id of a token.")
    return number


def _special_token(path: Path, value: Any) -> AddedToken:
    if isinstance(value, str):
        return AddedToken(value, special=True)
    return _token(path, value | {"special": True} if isinstance(value, dict) else value)


def _token(path: Path, value: Any) -> AddedToken:
    if not isinstance(value, dict) or not isinstance(value.get("content"), str):
        raise InputError(f"{path} is damaged: an added token must have content, a text.")
    flags = {name: value[name] for name in TOKEN_FLAGS if name in value}
    if not all(isinstance(flag, bool) for flag in flags.values()):
        raise InputError(f"{path} is damaged: {', '.join(TOKEN_FLAGS)} of an added token must be true or false.")
    return AddedToken(value["content"], **flags)
