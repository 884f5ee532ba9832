"""How near an answer comes to what it should be, by the scripts with which the sets of questions are published.

Each function gives exact match and F1 of one answer, in 0..1, the best over the possible answers. No answer is "".
"""

import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

Scores = tuple[float, float]  # exact match, F1
WIDE_MARKS = "《》？，。、；："  # what DRCD's authors leave out besides ASCII's punctuation (DRCD, issue 6)
CMRC_MARKS = frozenset(
    [*"-:_*^/\\~`+=，。：？！“”；’《》·、「」（）－～『』", "……"]
)  # the last is none: two characters
HAN = re.compile("[\u4e00-\u9fa5]")


def squad(answer: str, labels: Sequence[str]) -> Scores:
    """As evaluate-v1.1.py: in lower case, without punctuation and articles; F1 is over bags of words."""
    return _best(answer, labels, squad_normal, squad_words, _bag_f1)


def squad2(answer: str, labels: Sequence[str]) -> Scores:
    """As evaluate-v2.0.py: that, but where nothing is left of both they are the same."""
    possible = [label for label in labels if squad_normal(label)] or [""]
    exact, f1 = squad(answer, possible)
    return exact, max(exact, f1)


def cmrc2018(answer: str, labels: Sequence[str]) -> Scores:
    """As cmrc2018_evaluate.py: F1 is of the longest run that both share, of Chinese characters and other words."""
    return _best(answer, labels, cmrc_normal, mixed_segments, _run_f1)


def characters(answer: str, labels: Sequence[str]) -> Scores:
    """As DRCD's authors measure (DRCD, issue 6): SQuAD's script, also without full-width marks; bags of characters"""
    return _best(answer, labels, character_normal, lambda text: list(character_normal(text)), _bag_f1)


def best_threshold(null_odds: np.ndarray, f1: np.ndarray, has_answer: np.ndarray) -> float:
    """Above which null odds no answer should be given for the best F1 (find_best_thresh of evaluate-v2.0.py).

    `null_odds` (N,), `f1` (N,) of the answers if they are given, `has_answer` (N,) bool.
    """
    order = np.argsort(null_odds, kind="stable")
    odds = null_odds[order]
    gained = np.r_[0.0, np.cumsum(np.where(has_answer, f1, -1.0)[order])]  # by giving the answers of the n lowest odds
    is_cut = np.r_[True, odds[1:] > odds[:-1], True]  # answers of equal odds are given together
    n_given = int(np.argmax(np.where(is_cut, gained, -np.inf)))
    return float(odds[n_given - 1]) if n_given else float(odds[0]) - 1.0


def _best(
    answer: str,
    labels: Sequence[str],
    normal: Callable[[str], str],
    parts: Callable[[str], list[str]],
    overlap: Callable[[list[str], list[str]], float],
) -> Scores:
    possible = list(dict.fromkeys(labels)) or [""]
    exact = any(normal(answer) == normal(label) for label in possible)
    said = parts(answer)
    return float(exact), max(overlap(said, parts(label)) for label in possible)


def _bag_f1(said: list[str], label: list[str]) -> float:
    return _f1(sum((Counter(said) & Counter(label)).values()), said, label)


def _run_f1(said: list[str], label: list[str]) -> float:
    return _f1(longest_run(said, label), said, label)


def _f1(n_shared: int, said: list[str], label: list[str]) -> float:
    return 2 * n_shared / (len(said) + len(label)) if n_shared else 0.0


def longest_run(first: Sequence[str], second: Sequence[str]) -> int:
    """Length of the longest run of parts that is in both."""
    longest, before = 0, [0] * (len(second) + 1)  # before[j + 1]: the shared run that ends with second[j]
    for one in first:
        ending = [0] * (len(second) + 1)
        for j, other in enumerate(second):
            if one == other:
                ending[j + 1] = before[j] + 1
        longest, before = max(longest, *ending), ending
    return longest


# --- texts as the scripts see them ---


@lru_cache(1 << 16)
def squad_normal(text: str) -> str:
    """In lower case, without punctuation (ASCII's), articles and needless white space"""
    return _without_articles(_without(text.lower(), string.punctuation))


def squad_words(text: str) -> list[str]:
    return squad_normal(text).split()


@lru_cache(1 << 16)
def character_normal(text: str) -> str:
    return _without_articles(_without(text.lower(), string.punctuation + WIDE_MARKS))


@lru_cache(1 << 16)
def cmrc_normal(text: str) -> str:
    return "".join(one for one in text.lower().strip() if one not in CMRC_MARKS)


def mixed_segments(text: str) -> list[str]:
    """Chinese characters one by one, and what is between them in words; without its marks"""
    segments, other = [], ""
    for one in cmrc_normal(text):
        if HAN.match(one):
            segments += [*words(other), one]
            other = ""
        else:
            other += one
    return segments + words(other)


def _without(text: str, marks: str) -> str:
    return "".join(one for one in text if one not in marks)


def _without_articles(text: str) -> str:
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


# In this order, as NLTK's word_tokenize parts a sentence. It writes quotes as `` and '', which is left out here.
PARTED = tuple(
    (re.compile(pattern), by)
    for pattern, by in (
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


def words(text: str) -> list[str]:
    """Words and marks of what isn't Chinese, nearly as NLTK parts them"""
    if text.isalnum():
        return [text]
    for pattern, by in PARTED:
        text = pattern.sub(by, text)
    return text.split()
