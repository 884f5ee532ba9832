"""Tokenizers that are trained on the spot: the same text and options make the same file, byte for byte."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Annotated, Any, ClassVar, Protocol

import numpy as np
import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, trainers

from ssl_cli.config.types import Count, Range
from ssl_cli.data.tokenizers.fast_encode import CHARACTERS, cut
from ssl_cli.data.tokenizers.tokenizer import Tokenizer, framing
from ssl_cli.data.tokenizers.unigram import learn_pieces
from ssl_cli.errors import InputError

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
UNK, CLS, SEP, MASK = "[UNK]", "[CLS]", "[SEP]", "[MASK]"
END_OF_TEXT = "<|endoftext|>"
MIN_FREQUENCY = 2  # of what becomes a token
# While pairs are counted: a clause without spaces would be one word, of its own kind, which takes gigabytes.
IN_SHORT = pre_tokenizers.Split(Regex(r"\p{Han}{1,4}|[^\s\p{Han}]{64}"), "isolated")
# WordPiece takes a longer word for unknown, so there is nothing to learn from it, and one of millions takes minutes.
NO_LONGER = pre_tokenizers.Split(Regex(r"\S{100}"), "isolated")


class TokenizerTrainer(Protocol):
    """What `data` needs of a `tokenizer`: `description()` is the part of a cache's key that tells one from another."""

    def train(self, texts: Iterable[str]) -> Tokenizer: ...

    def description(self) -> list[Any]: ...


@dataclass(kw_only=True)
class TrainedTokenizer:
    """A tokenizer that learns its vocabulary from texts; each kind says how."""

    least: ClassVar[int] = len(SPECIALS) + 3  # of tokens: the special ones, and something to write with
    why: ClassVar[str] = f"the {len(SPECIALS)} special tokens come first"
    space_is_of_word: ClassVar[bool] = False  # a word's token begins with the space before it, so a mask takes it too

    vocab_size: Annotated[
        int, Range(1, 1_000_000), "tokens at most, special ones among them; fewer where the text has no more"
    ]
    sample_bytes: Annotated[Count, "bytes of the training text that teach the vocabulary, from its beginning"]

    def __post_init__(self) -> None:
        if self.vocab_size < self.least:
            raise InputError(
                f"tokenizer.vocab_size={self.vocab_size} is too small: {self.why}, so that it must be {self.least} at "
                "least."
            )

    def description(self) -> list[Any]:
        return [f"{type(self).__module__}.{type(self).__qualname__}", asdict(self)]

    def train(self, texts: Iterable[str]) -> Tokenizer:
        """Learn from the first `sample_bytes` of the texts. Raises InputError where there is nothing to read."""
        sample = Sample(texts, self.sample_bytes)
        library = self.learn(sample)
        mask = AddedToken(MASK, lstrip=self.space_is_of_word, special=True)
        library.add_special_tokens([mask if name == MASK else name for name in self.specials])
        library.post_processor = framing((CLS, SPECIALS.index(CLS)), (SEP, SPECIALS.index(SEP)))
        return Tokenizer(library)

    @property
    def specials(self) -> list[str]:
        """Special tokens, in the order of their numbers"""
        return SPECIALS

    @property
    def room(self) -> int:
        return self.vocab_size - len(self.specials)

    def learn(self, sample: "Sample") -> tokenizers.Tokenizer:
        """A tokenizer with the special tokens first."""
        raise NotImplementedError(f"{type(self).__name__} doesn't say how it learns")


@dataclass(kw_only=True)
class WordPiece(TrainedTokenizer):
    """BERT's tokenizer (arXiv 1810.04805): words in parts, `##` before those that go on. Chinese characters apart."""

    lowercase: Annotated[bool, "write all in lower case, without accents"]

    def learn(self, sample: "Sample") -> tokenizers.Tokenizer:
        normalizer, cutter = normalizers.BertNormalizer(lowercase=self.lowercase), pre_tokenizers.BertPreTokenizer()
        texts, alphabet = sample.with_frequent(normalizer, max(1, self.room // 3))
        within = [f"##{one}" for one in alphabet if len(cutter.pre_tokenize_str(f"a{one}")) == 1]
        # Left to itself, the trainer would number the parts of words in the order of a hash map: another each time.
        seeded = [*self.specials, *alphabet, *within]
        library = tokenizers.Tokenizer(models.WordPiece(unk_token=UNK))
        library.normalizer, library.pre_tokenizer = normalizer, pre_tokenizers.Sequence([cutter, NO_LONGER])
        trainer = trainers.WordPieceTrainer(
            vocab_size=self.vocab_size, min_frequency=MIN_FREQUENCY, special_tokens=seeded, show_progress=False
        )
        library.train_from_iterator(texts, trainer)
        learned = tokenizers.Tokenizer(models.WordPiece(library.get_vocab(), unk_token=UNK))
        learned.normalizer, learned.pre_tokenizer, learned.decoder = normalizer, cutter, decoders.WordPiece()
        return learned


@dataclass(kw_only=True)
class ByteLevelBPE(TrainedTokenizer):
    """GPT-2's tokenizer: byte pair encoding of UTF-8 bytes. Nothing is unknown to it, and it gives back any text."""

    least: ClassVar[int] = len(SPECIALS) + 1 + 256
    why: ClassVar[str] = f"the {len(SPECIALS) + 1} special tokens and the 256 bytes come first"
    space_is_of_word: ClassVar[bool] = True

    @property
    def specials(self) -> list[str]:
        return [*SPECIALS, END_OF_TEXT]

    def learn(self, sample: "Sample") -> tokenizers.Tokenizer:
        library, cutter = tokenizers.Tokenizer(models.BPE()), pre_tokenizers.ByteLevel(add_prefix_space=False)
        library.pre_tokenizer = pre_tokenizers.Sequence([IN_SHORT, cutter])
        library.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=self.vocab_size,
            min_frequency=MIN_FREQUENCY,
            special_tokens=self.specials,
            initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        library.train_from_iterator(sample, trainer)
        library.pre_tokenizer = cutter
        return library


@dataclass(kw_only=True)
class Unigram(TrainedTokenizer):
    """The likeliest cut of a text into pieces of a vocabulary (arXiv 1804.10959), as SentencePiece writes them."""

    space_is_of_word: ClassVar[bool] = True

    def learn(self, sample: "Sample") -> tokenizers.Tokenizer:
        library = tokenizers.Tokenizer(models.BPE())
        library.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
        texts, _ = sample.with_frequent(library.normalizer, self.room // 2)
        # Signs stand apart: a full stop is a token whatever word it follows.
        # Only a text's beginning gets a space of its own: what follows a mask at once has none.
        cutters = [pre_tokenizers.Metaspace(prepend_scheme="first"), pre_tokenizers.Punctuation()]
        library.pre_tokenizer = pre_tokenizers.Sequence([*cutters, IN_SHORT])
        library.model = learn_pieces(texts, library, self.specials, SPECIALS.index(UNK), self.room)
        library.pre_tokenizer, library.decoder = pre_tokenizers.Sequence(cutters), decoders.Metaspace()
        return library


@dataclass(kw_only=True)
class CharLevel(TrainedTokenizer):
    """A token a character: white space too, so that a text is given back as it was."""

    def learn(self, sample: "Sample") -> tokenizers.Tokenizer:
        frequent = by_count(sample.characters())[: self.room]
        vocabulary = {token: number for number, token in enumerate([*self.specials, *frequent])}
        library = tokenizers.Tokenizer(models.WordLevel(vocabulary, unk_token=UNK))
        library.pre_tokenizer = pre_tokenizers.Split(Regex(CHARACTERS), "isolated")
        library.decoder = decoders.Fuse()
        return library


@dataclass(kw_only=True)
class WordLevel(TrainedTokenizer):
    """A token a word or a sign of punctuation; rare ones are unknown."""

    lowercase: Annotated[bool, "write all in lower case"]

    def learn(self, sample: "Sample") -> tokenizers.Tokenizer:
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
    """The first texts, up to a number of bytes, to be read several times. Raises InputError where they are blank."""

    def __init__(self, texts: Iterable[str], most: int):
        self.texts: list[bytes] = []  # in UTF-8: one rare character would make a str four times as large
        left = most
        for part in (part for text in texts for part in cut(text)):
            content = part.encode()[:left]
            self.texts.append(content)
            left -= len(content)
            if left <= 0:
                break
        if all(text.isspace() or not text for text in self):
            raise InputError("The training text is empty: there is nothing to learn from; name files that hold text.")

    def __iter__(self) -> Iterator[str]:
        return (content.decode("utf-8", "ignore") for content in self.texts)

    def characters(self) -> dict[str, int]:
        """Character -> how often it comes"""
        counts = np.zeros(0x110000, np.int64)
        for content in _joined(self.texts):
            codes = np.frombuffer(content.decode("utf-8", "ignore").encode("utf-32-le"), "<u4")
            counts += np.bincount(codes, minlength=len(counts))
        return {chr(code): int(counts[code]) for code in np.flatnonzero(counts)}

    def with_frequent(self, normalizer: normalizers.Normalizer, most: int) -> tuple[Iterable[str], list[str]]:
        """The texts with blanks for characters that are not among the `most` frequent ones, and those, in order."""
        counts = self.characters()
        made = {raw: normalizer.normalize_str(raw).split() for raw in counts}
        totals: dict[str, int] = {}
        for raw, parts in made.items():
            for one in "".join(parts):
                totals[one] = totals.get(one, 0) + counts[raw]
        frequent = set(by_count(totals)[:most])
        rare = {ord(raw): " " for raw, parts in made.items() if not frequent.issuperset("".join(parts))}
        return _Without(self, rare) if rare else self, sorted(frequent)


class _Without:
    """Texts with other characters in the place of some."""

    def __init__(self, texts: Iterable[str], table: dict[int, str]):
        self.texts, self.table = texts, table

    def __iter__(self) -> Iterator[str]:
        return (text.translate(self.table) for text in self.texts)


def _joined(contents: list[bytes], most: int = 1 << 22) -> Iterator[bytes]:
    """As few longer ones"""
    part: list[bytes] = []
    size = 0
    for content in contents:
        part.append(content)
        size += len(content)
        if size > most:
            yield b"".join(part)
            part, size = [], 0
    yield b"".join(part)


def by_count(counts: dict[str, int]) -> list[str]:
    """The most frequent first; of equally frequent ones, the first in Unicode"""
    return sorted(counts, key=lambda one: (-counts[one], one))
