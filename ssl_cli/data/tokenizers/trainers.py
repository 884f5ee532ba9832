"""Tokenizer trainers: the same text and options give the same tokenizer file, byte for byte."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

from ssl_cli.config.types import Count, Range
from ssl_cli.data.tokenizers.fast_encode import ANY_CHARACTER, cut_between_words
from ssl_cli.data.tokenizers.tokenizer import SENTINEL, Tokenizer, bert_template
from ssl_cli.data.tokenizers.unigram import learn_unigram
from ssl_cli.errors import InputError

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNK, CLS, SEP, MASK = "[UNK]", "[CLS]", "[SEP]", "[MASK]"
END_OF_TEXT = "<|endoftext|>"
MIN_FREQUENCY = 2  # occurrences needed to become a token
# While pairs are counted: a clause without spaces would be a single word that occurs once, which takes gigabytes.
SPLIT_LONG_CLAUSES = pre_tokenizers.Split(Regex(r"\p{Han}{1,4}|[^\s\p{Han}]{64}"), "isolated")
# WordPiece encodes longer words as unknown, so they teach it nothing; one of millions of characters takes minutes.
SPLIT_LONG_WORDS = pre_tokenizers.Split(Regex(r"\S{100}"), "isolated")


class TokenizerTrainer(Protocol):
    """What text sources need of a tokenizer config."""

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Return a tokenizer trained on the texts."""

    def cache_key(self) -> list[Any]:
        """Return JSON-able values that differ between trainers with different results."""


@dataclass(kw_only=True)
class TrainedTokenizer:
    """A tokenizer that learns its vocabulary from texts; subclasses define how."""

    min_vocab_size: ClassVar[int] = len(SPECIALS) + 3  # the special tokens, and a few to write text with
    min_size_reason: ClassVar[str] = f"the {len(SPECIALS)} special tokens come first"
    space_joins_word: ClassVar[bool] = False  # a word's token includes the space before it, so a mask does too

    vocab_size: Annotated[
        int, Range(1, 1_000_000), "maximum number of tokens, special ones included; fewer if the text has no more"
    ]
    sample_bytes: Annotated[Count, "bytes at the beginning of the training text that the vocabulary is learned from"]
    sentinels: Annotated[int, Range(0, 10_000), "tokens <extra_id_0>, ... for missing spans, as in T5"] = 0

    def __post_init__(self) -> None:
        if self.vocab_size < (minimum := self.min_vocab_size + self.sentinels):
            reason = self.min_size_reason + (f", and tokenizer.sentinels={self.sentinels}" if self.sentinels else "")
            raise InputError(
                f"tokenizer.vocab_size={self.vocab_size} is too small: {reason}, so it must be at least {minimum}."
            )

    def cache_key(self) -> list[Any]:
        """Return the class and its options."""
        return [f"{type(self).__module__}.{type(self).__qualname__}", asdict(self)]

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Learn from the first `sample_bytes` of the texts. Raises InputError if there is nothing to read."""
        sample = Sample(texts, self.sample_bytes)
        library = self.learn(sample)
        gaps = {MASK, *self.sentinel_names}  # they stand for words, so they include the space before them as words do
        library.add_special_tokens(
            [
                AddedToken(name, lstrip=self.space_joins_word, special=True) if name in gaps else name
                for name in self.specials
            ]
        )
        library.post_processor = bert_template((CLS, SPECIALS.index(CLS)), (SEP, SPECIALS.index(SEP)))
        return Tokenizer(library)

    @property
    def specials(self) -> list[str]:
        """Return the special tokens in the order of their ids."""
        return [*SPECIALS, *self.sentinel_names]

    @property
    def sentinel_names(self) -> list[str]:
        """Return <extra_id_0>, <extra_id_1>, ..."""
        return [SENTINEL.format(k) for k in range(self.sentinels)]

    @property
    def max_learned(self) -> int:
        """Return the maximum number of tokens that are learned."""
        return self.vocab_size - len(self.specials)

    def learn(self, sample: "Sample") -> tokenizers.Tokenizer:
        """Return a tokenizer whose vocabulary begins with the special tokens."""
        raise NotImplementedError(f"{type(self).__name__} does not define learn")


@dataclass(kw_only=True)
class WordPiece(TrainedTokenizer):
    """BERT's tokenizer (arXiv 1810.04805): parts of words, `##` before those that continue one.

    Each Chinese character is a word.
    """

    lowercase: Annotated[bool, "convert to lower case and strip accents"]

    def learn(self, sample: "Sample") -> tokenizers.Tokenizer:
        """Learn parts of words by merging the most frequent pairs."""
        normalizer, splitter = normalizers.BertNormalizer(lowercase=self.lowercase), pre_tokenizers.BertPreTokenizer()
        texts, alphabet = sample.keep_frequent(normalizer, max(1, self.max_learned // 3))
        continuing = [f"##{char}" for char in alphabet if len(splitter.pre_tokenize_str(f"a{char}")) == 1]
        # Otherwise the trainer would number the characters in the order of a hash map, which varies between processes.
        first_tokens = [*self.specials, *alphabet, *continuing]
        library = tokenizers.Tokenizer(models.WordPiece(unk_token=UNK))
        library.normalizer, library.pre_tokenizer = normalizer, pre_tokenizers.Sequence([splitter, SPLIT_LONG_WORDS])
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocab_size, min_frequency=MIN_FREQUENCY, special_tokens=first_tokens, show_progress=False
        )
        library.train_from_iterator(texts, trainer)
        learned = tokenizers.Tokenizer(models.WordPiece(library.get_vocab(), unk_token=UNK))
        learned.normalizer, learned.pre_tokenizer, learned.decoder = normalizer, splitter, decoders.WordPiece()
        return learned


@dataclass(kw_only=True)
class ByteLevelBPE(TrainedTokenizer):
    """GPT-2's tokenizer: byte pair encoding of UTF-8 bytes. It has no unknown tokens and loses nothing of any text."""

    min_vocab_size: ClassVar[int] = len(SPECIALS) + 1 + 256
    min_size_reason: ClassVar[str] = f"the {len(SPECIALS) + 1} special tokens and the 256 bytes come first"
    space_joins_word: ClassVar[bool] = True

    @property
    def specials(self) -> list[str]:
        """Return the special tokens, the end of a text among them, in the order of their ids."""
        return [*SPECIALS, END_OF_TEXT, *self.sentinel_names]

    def learn(self, sample: "Sample") -> tokenizers.Tokenizer:
        """Learn merges of bytes."""
        library, splitter = tokenizers.Tokenizer(models.BPE()), pre_tokenizers.ByteLevel(add_prefix_space=False)
        library.pre_tokenizer = pre_tokenizers.Sequence([SPLIT_LONG_CLAUSES, splitter])
        library.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=MIN_FREQUENCY,
            special_tokens=self.specials,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        library.train_from_iterator(sample, trainer)
        library.pre_tokenizer = splitter
        return library


@dataclass(kw_only=True)
class Unigram(TrainedTokenizer):
    """The likeliest segmentation into pieces of a vocabulary (arXiv 1804.10959), as in SentencePiece."""

    space_joins_word: ClassVar[bool] = True

    def learn(self, sample: "Sample") -> tokenizers.Tokenizer:
        """Learn pieces and their probabilities."""
        library = tokenizers.Tokenizer(models.BPE())
        library.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
        texts, _ = sample.keep_frequent(library.normalizer, self.max_learned // 2)
        # Punctuation is isolated: a full stop is the same token after every word.
        # Only the beginning of a text gets a leading space: text directly after a mask has none.
        splitters = [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Punctuation()]
        library.pre_tokenizer = pre_tokenizers.Sequence([*splitters, SPLIT_LONG_CLAUSES])
        library.model = learn_unigram(texts, library, self.specials, SPECIALS.index(UNK), self.max_learned)
        library.pre_tokenizer, library.decoder = pre_tokenizers.Sequence(splitters), decoders.Metaspace()
        return library


@dataclass(kw_only=True)
class CharLevel(TrainedTokenizer):
    """A token per character, white space included, so that decoding gives back the text."""

    def learn(self, sample: "Sample") -> tokenizers.Tokenizer:
        """Take the most frequent characters."""
        frequent = rank_by_count(sample.count_characters())[: self.max_learned]
        vocabulary = {token: token_id for token_id, token in enumerate([*self.specials, *frequent])}
        library = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
        library.pre_tokenizer = pre_tokenizers.Split(Regex(ANY_CHARACTER), "isolated")
        library.decoder = decoders.Fuse()
        return library


@dataclass(kw_only=True)
class WordLevel(TrainedTokenizer):
    """A token per word or punctuation mark; rare ones are unknown."""

    lowercase: Annotated[bool, "convert to lower case"]

    def learn(self, sample: "Sample") -> tokenizers.Tokenizer:
        """Take the most frequent words."""
        library = tokenizers.Tokenizer(models.WordLevel(unk_token=UNK))
        library.pre_tokenizer = pre_tokenizers.Whitespace()
        if self.lowercase:
            library.normalizer = normalizers.Lowercase()
        trainer = trainers.WordLevelTrainer(
            vocab_size=self.vocab_size,
            min_frequency=MIN_FREQUENCY,
            special_tokens=self.specials,
            show_progress=False,
        )
        library.train_from_iterator(sample, trainer)
        return library


class Sample:
    """The first `max_bytes` of the texts, which can be read several times. Raises InputError if they are blank."""

    def __init__(self, texts: Iterable[str], max_bytes: int):
        self.texts: list[bytes] = []  # in UTF-8: a single rare character would make a str four times as large
        remaining = max_bytes
        for part in (part for text in texts for part in cut_between_words(text)):
            content = part.encode()[:remaining]
            self.texts.append(content)
            remaining -= len(content)
            if remaining <= 0:
                break
        if all(text.isspace() or not text for text in self):
            raise InputError("The training text is empty, so no vocabulary can be learned: name files that hold text.")

    def __iter__(self) -> Iterator[str]:
        return (content.decode("utf-8", "ignore") for content in self.texts)

    def count_characters(self) -> dict[str, int]:
        """Return character -> number of occurrences."""
        counts = np.zeros(0x110000, np.int64)
        for content in _join_blocks(self.texts):
            codes = np.frombuffer(content.decode("utf-8", "ignore").encode("utf-32-le"), "<u4")
            counts += np.bincount(codes, minlength=len(counts))
        return {chr(code): int(counts[code]) for code in np.flatnonzero(counts)}

    def keep_frequent(self, normalizer: normalizers.Normalizer, max_characters: int) -> tuple[Iterable[str], list[str]]:
        """Return the texts with spaces in place of all but the most frequent characters, and those, sorted.

        Characters are counted after normalization.
        """
        counts = self.count_characters()
        normalized = {raw: normalizer.normalize_str(raw).split() for raw in counts}
        totals: dict[str, int] = {}
        for raw, parts in normalized.items():
            for char in "".join(parts):
                totals[char] = totals.get(char, 0) + counts[raw]
        frequent = set(rank_by_count(totals)[:max_characters])
        rare = {ord(raw): " " for raw, parts in normalized.items() if not frequent.issuperset("".join(parts))}
        return _TranslatedTexts(self, rare) if rare else self, sorted(frequent)


class _TranslatedTexts:
    """Texts in which some characters are replaced."""

    def __init__(self, texts: Iterable[str], table: dict[int, str]):
        self.texts, self.table = texts, table

    def __iter__(self) -> Iterator[str]:
        return (text.translate(self.table) for text in self.texts)


def _join_blocks(contents: list[bytes], block_bytes: int = 1 << 22) -> Iterator[bytes]:
    """Yield the contents joined into few long blocks."""
    block: list[bytes] = []
    size = 0
    for content in contents:
        block.append(content)
        size += len(content)
        if size > block_bytes:
            yield b"".join(block)
            block, size = [], 0
    yield b"".join(block)


def rank_by_count(counts: dict[str, int]) -> list[str]:
    """Return the most frequent keys first; equally frequent ones in Unicode order."""
    return sorted(counts, key=lambda key: (-counts[key], key))
