"""What a run on sentences learns from: tokens of its own tokenizer, rows of each split, and the facts of both."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import DictConfig

from ssl_cli.commands.initialize import tokenizer_trainer
from ssl_cli.commands.pretrain.finished import TOKENIZER
from ssl_cli.data.sentences.rows import UNKNOWN_LABEL, SentenceRows, sentence_rows
from ssl_cli.data.sentences.sources import TRAIN, SentenceData, SentenceSplit
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError


@dataclass(frozen=True)
class TokenizedSentences:
    """The sentences of a run, and their rows by split; `style` names the first label, None if there is none."""

    tokenizer: Tokenizer
    splits: dict[str, SentenceSplit]
    rows: dict[str, SentenceRows]
    style: str | None
    label_values: dict[str, list[str]]
    warnings: list[str]


def prepare(cfg: DictConfig, data: SentenceData) -> TokenizedSentences:
    """Return the sentences as tokens, and write the facts of tokenizer and labels into the config.

    The tokenizer learns from the training sentences; a resumed run has it in its folder. Sentences of more tokens than
    the network can read are left out. Raises InputError if none is left in a split, or special tokens are missing.
    """
    tokenizer = _tokenizer(cfg, data.splits[TRAIN].texts)
    if "end" not in tokenizer.specials:
        raise InputError("The tokenizer has no token that ends a text: use tokenizer=bpe_small, word or unigram.")
    style = next(iter(data.label_values), None)
    values = data.label_values[style] if style is not None else []
    splits, rows, n_long = {}, {}, 0
    most = cfg.model.network.context - 1
    for name, split in data.splits.items():
        tokens = tokenizer.encode_inside(split.texts)
        kept = [row for row, ids in enumerate(tokens) if 0 < len(ids) <= most]
        if not kept:
            raise InputError(f"All sentences of {name} have more than {most} tokens: set model.network.context higher.")
        n_long += len(tokens) - len(kept)
        splits[name] = split.take(kept)
        labels = [_number(values, each.get(style)) if style else UNKNOWN_LABEL for each in splits[name].labels]
        rows[name] = sentence_rows([tokens[row] for row in kept], labels)
    long = f"{n_long:,} sentence(s) of more than {most} tokens, which is model.network.context less 1, were left out."
    specials = {"vocab_size": tokenizer.vocab_size, "specials": tokenizer.specials}
    cfg.facts = {**specials, "num_classes": len(values)}
    warnings = [*data.warnings, *([long] if n_long else [])]
    return TokenizedSentences(tokenizer, splits, rows, style, data.label_values, warnings)


def _number(values: list[str], value: str | None) -> int:
    """Return the number of a label's value; -1 for one that training does not have."""
    return values.index(value) if value in values else UNKNOWN_LABEL


def _tokenizer(cfg: DictConfig, texts: list[str]) -> Tokenizer:
    own = None if cfg.resume is None else Path(cfg.resume) / TOKENIZER
    if own is not None and own.is_file():
        return Tokenizer.load(own)
    return tokenizer_trainer(cfg).train(texts)
