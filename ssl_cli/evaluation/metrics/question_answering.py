"""Exact match and F1 of extracted answers, as in the scripts published with the data sets.

Each script is a function that returns exact match and F1 of one prediction, in 0..1: the best over the accepted
answers. "" stands for no answer.
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

Scores = tuple[float, float]  # exact match, F1
FULL_WIDTH_PUNCTUATION = "《》？，。、；："  # removed by DRCD's authors besides ASCII's punctuation (DRCD, issue 6)
CMRC_PUNCTUATION = frozenset(
    [*"-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』", "……"]
)  # the last never matches: it has two characters
CHINESE_CHARACTER = re.compile("[\u4e00-\u9fa5]")


def squad(prediction: str, answers: Sequence[str]) -> Scores:
    """Score as evaluate-v1.1.py: in lower case, without punctuation and articles; F1 is over bags of words."""
    return _best(prediction, answers, squad_normalize, squad_words, _bag_f1)


def squad2(prediction: str, answers: Sequence[str]) -> Scores:
    """Score as evaluate-v2.0.py: as v1.1, but two texts that are empty once normalized are equal."""
    possible = [answer for answer in answers if squad_normalize(answer)] or [""]
    exact, f1 = squad(prediction, possible)
    return exact, max(exact, f1)


def cmrc2018(prediction: str, answers: Sequence[str]) -> Scores:
    """Score as cmrc2018_evaluate.py: F1 is of the longest common run of Chinese characters and other words."""
    return _best(prediction, answers, cmrc_normalize, mixed_segments, _run_f1)


def drcd(prediction: str, answers: Sequence[str]) -> Scores:
    """Score as DRCD's authors (DRCD, issue 6): as SQuAD, without full-width punctuation, over bags of characters."""
    return _best(prediction, answers, drcd_normalize, lambda text: list(drcd_normalize(text)), _bag_f1)


def best_threshold(null_odds: np.ndarray, f1: np.ndarray, has_answer: np.ndarray) -> float:
    """Return the null odds above which giving no answer has the best F1 (find_best_thresh of evaluate-v2.0.py).

    `null_odds` (N,), `f1` (N,) of the answers if they are given, `has_answer` (N,) bool.
    """
    order = np.argsort(null_odds, kind="stable")
    odds = null_odds[order]
    gained = np.r_[0.0, np.cumsum(np.where(has_answer, f1, -1.0)[order])]  # by giving the answers of the n lowest odds
    is_cut = np.r_[True, odds[1:] > odds[:-1], True]  # answers of equal odds are given together
    n_given = int(np.argmax(np.where(is_cut, gained, -np.inf)))
    return float(odds[n_given - 1]) if n_given else float(odds[0]) - 1.0


def _best(
    prediction: str,
    answers: Sequence[str],
    normalize: Callable[[str], str],
    split: Callable[[str], list[str]],
    overlap: Callable[[list[str], list[str]], float],
) -> Scores:
    """Return the best exact match and the best overlap over the distinct accepted answers."""
    possible = list(dict.fromkeys(answers)) or [""]
    exact = any(normalize(prediction) == normalize(answer) for answer in possible)
    predicted = split(prediction)
    return float(exact), max(overlap(predicted, split(answer)) for answer in possible)


def _bag_f1(predicted: list[str], answer: list[str]) -> float:
    return _f1(sum((Counter(predicted) & Counter(answer)).values()), predicted, answer)


def _run_f1(predicted: list[str], answer: list[str]) -> float:
    return _f1(longest_common_run(predicted, answer), predicted, answer)


def _f1(n_shared: int, predicted: list[str], answer: list[str]) -> float:
    return 2 * n_shared / (len(predicted) + len(answer)) if n_shared else 0.0


def longest_common_run(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the length of the longest run of elements that is in both sequences."""
    longest, before = 0, [0] * (len(second) + 1)  # before[j + 1]: the shared run that ends with second[j]
    for element in first:
        ending = [0] * (len(second) + 1)
        for j, other in enumerate(second):
            if element == other:
                ending[j + 1] = before[j] + 1
        longest, before = max(longest, *ending), ending
    return longest


# --- normalization of texts ---


@lru_cache(1 << 16)
def squad_normalize(text: str) -> str:
    """Return the text in lower case, without ASCII punctuation, articles and extra white space."""
    return _without_articles(_without(text.lower(), string.punctuation))


def squad_words(text: str) -> list[str]:
    """Return the words of the normalized text."""
    return squad_normalize(text).split()


@lru_cache(1 << 16)
def drcd_normalize(text: str) -> str:
    """Return the text as `squad_normalize` does, also without full-width punctuation."""
    return _without_articles(_without(text.lower(), string.punctuation + FULL_WIDTH_PUNCTUATION))


@lru_cache(1 << 16)
def cmrc_normalize(text: str) -> str:
    """Return the text in lower case and without CMRC_PUNCTUATION."""
    return "".join(character for character in text.lower().strip() if character not in CMRC_PUNCTUATION)


def mixed_segments(text: str) -> list[str]:
    """Return the Chinese characters one by one, and the words between them, without punctuation."""
    segments, other = [], ""
    for character in cmrc_normalize(text):
        if CHINESE_CHARACTER.match(character):
            segments += [*split_words(other), character]
            other = ""
        else:
            other += character
    return segments + split_words(other)


def _without(text: str, characters: str) -> str:
    return "".join(character for character in text if character not in characters)


def _without_articles(text: str) -> str:
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


# Applied in this order, as NLTK's word_tokenize splits a sentence. NLTK also writes quotes as `` and '', which is left
# out here.
WORD_PATTERNS = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (r"([«“‘„»”\"]|''|``)", r" \1 "),
        (r"(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)", "' "),
        (r"([^.])(\.)([\])}>\"'»”’ ]*)\s*$", r"\1 \2 \3 "),
        (r"([:,])(\D|$)", r" \1 \2"),
        (r"(\.{2,})", r" \1 "),
        (r"([;@#$%&?!\[\](){}<>–—]|--)", r" \1 "),
        (r"([^'])' ", r"\1 ' "),
        (r"([^' ])('s|'m|'d|'ll|'re|'ve|n't|')(?= |$)", r"\1 \2 "),
        (r"\b(can)(not)\b", r" \1 \2 "),
        (r"\b(gim|lem)(me)\b", r" \1 \2 "),
        (r"\b(gon|wan)(na)\b", r" \1 \2 "),
        (r"\b(got)(ta)\b", r" \1 \2 "),
    )
)


def split_words(text: str) -> list[str]:
    """Return the words and punctuation of text without Chinese, nearly as NLTK splits it."""
    if text.isalnum():
        return [text]
    for pattern, replacement in WORD_PATTERNS:
        text = pattern.sub(replacement, text)
    return text.split()
