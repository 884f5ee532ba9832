"""Values computed by hand from the published scripts."""

import numpy as np
import pytest

from ssl_cli.evaluation.metrics.question_answering import (
    best_threshold,
    cmrc2018,
    drcd,
    longest_common_run,
    mixed_segments,
    split_words,
    squad,
    squad2,
)


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("The  cat!", ["a cat"], (1, 1)),
        ("the black cat", ["cat"], (0, 2 / 3)),  # precision 1/2, recall 1
        ("cat cat", ["cat dog"], (0, 1 / 2)),
        ("dog", ["cat", "dog house", "a dog"], (1, 1)),
        ("state-of-the-art", ["stateoftheart"], (1, 1)),
        ("", ["cat"], (0, 0)),
        ("–", ["–"], (1, 1)),  # a full-width dash is not punctuation there
        ("the", ["."], (1, 0)),  # both are empty once normalized
    ],
)
def test_squad(prediction: str, answers: list[str], expected: tuple[float, float]) -> None:
    assert squad(prediction, answers) == pytest.approx(expected)


def test_squad2_scores_no_answer() -> None:
    assert squad2("", []) == squad2("", ["the"]) == (1, 1)
    assert squad2("cat", []) == (0, 0)
    assert squad2("", ["cat"]) == (0, 0)
    assert squad2("...", ["cat", "..."]) == (0, 0), (
        "an answer that is empty once normalized does not count beside others"
    )


@pytest.mark.parametrize(
    ("prediction", "answers", "expected"),
    [
        ("1962年", ["1962年。"], (1, 1)),  # 1962, 年
        ("在1962年春", ["1962年"], (0, 2 * 2 / (4 + 2))),
        ("东京和京都", ["京都和东京"], (0, 2 * 2 / 10)),  # 京都 or 东京; by characters they are the same
        ("ω-Force公司", ["光荣和ω-force"], (0, 2 * 1 / (3 + 4))),
        ("鸟", ["鱼", "鸟！"], (1, 1)),
        ("，", ["鱼"], (0, 0)),
    ],
)
def test_cmrc2018(prediction: str, answers: list[str], expected: tuple[float, float]) -> None:
    assert cmrc2018(prediction, answers) == pytest.approx(expected)


def test_drcd() -> None:
    assert drcd("东京和京都", ["京都和东京"]) == (0, 1)
    assert drcd("《东京》。", ["东京"]) == (1, 1)
    assert drcd("「东京」", ["东京"]) == pytest.approx((0, 2 * 2 / 6)), "brackets are not in DRCD's punctuation"
    assert drcd("1962年", ["在1962年"]) == pytest.approx((0, 10 / 11))
    assert drcd("", ["东京"]) == (0, 0)


def test_segments() -> None:
    assert mixed_segments(" 《Windows 95》是U.S.的—2.5、A-B! ") == [
        *("windows", "95", "是", "u.s", ".", "的", "—", "2.5ab", "!")
    ]
    assert split_words("he can't say 'no', (it's 3,000.5%) he said: \"go...\"") == [
        *("he", "ca", "n't", "say", "'", "no", "'", ",", "(", "it", "'s", "3,000.5", "%", ")"),
        *("he", "said", ":", '"', "go", "...", '"'),
    ]


def test_longest_common_run() -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        first, second = ("".join(draw.choice(list("ab"), draw.integers(0, 9))) for _ in range(2))
        runs = [first[i:j] for i in range(len(first)) for j in range(i, len(first) + 1)]
        assert longest_common_run(first, second) == max((len(run) for run in runs if run in second), default=0)


def test_the_threshold_is_the_best_of_all() -> None:
    draw = np.random.default_rng(0)
    for n in range(1, 40):
        odds, has_answer = draw.normal(size=n).round(1), draw.random(n) < 0.5
        f1 = np.where(has_answer, draw.random(n), 0.0)

        def score(
            threshold: float, odds: np.ndarray = odds, f1: np.ndarray = f1, has: np.ndarray = has_answer
        ) -> float:
            return float(np.where(odds > threshold, ~has, f1).mean())

        best = max(score(threshold) for threshold in [*odds, -99.0])
        assert score(best_threshold(odds, f1, has_answer)) == pytest.approx(best)
