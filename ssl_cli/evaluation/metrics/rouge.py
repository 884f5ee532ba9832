"""ROUGE of generated texts, by the package rouge-score, with tokens for every script.

The package's own tokenizer keeps a-z and 0-9 alone: of a Chinese, Greek or Russian text nothing is left.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np

ROUGE = ("rouge1", "rouge2", "rougeL")
# Chinese characters, Japanese kana and Korean syllables, each a token; runs of other letters and digits.
SCRIPTS_WITHOUT_SPACES = r"\u3005\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff"
SCRIPTS_WITHOUT_SPACES += r"\U00020000-\U0003ffff"
TOKEN = re.compile(rf"[{SCRIPTS_WITHOUT_SPACES}]|[^\W_{SCRIPTS_WITHOUT_SPACES}]+")


def rouge_tokens(text: str) -> list[str]:
    """Return the tokens of a text in lower case: words, and single characters of Chinese, Japanese and Korean.

    Of a text in ASCII they are those of rouge-score's own tokenizer without a stemmer.
    """
    return TOKEN.findall(unicodedata.normalize("NFKC", text).lower())


class RougeTokenizer:
    """`rouge_tokens` as rouge-score wants it."""

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens of a text."""
        return rouge_tokens(text)


@cache
def _scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer  # imports nltk, which takes a second

    return RougeScorer(ROUGE, tokenizer=RougeTokenizer())


def rouge_f1(predictions: Sequence[str], targets: Sequence[str]) -> dict[str, np.ndarray]:
    """Return the F1 of ROUGE-1, ROUGE-2 and ROUGE-L of each prediction, in 0..1, (N,) each (Lin, 2004)."""
    scores = [_scorer().score(target, each) for each, target in zip(predictions, targets, strict=True)]
    return {name: np.array([score[name].fmeasure for score in scores], np.float64) for name in ROUGE}


class TextScores:
    """Scores of generated texts, `values` name -> (N,): the metrics are their means, so a bootstrap is quick."""

    def __init__(self, values: Mapping[str, np.ndarray]):
        self.values = dict(values)

    def metrics(self, which: np.ndarray | None = None) -> dict[str, float]:
        """Return the means of all texts, or of those with the indices `which`."""
        chosen = slice(None) if which is None else which
        return {name: float(values[chosen].mean()) for name, values in self.values.items()}
