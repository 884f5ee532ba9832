"""ROUGE: tokens of every script, scores against a naive transcription, and means over some of the texts."""

from collections import Counter

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize

from ssl_cli.evaluation.metrics.rouge import TextScores, rouge_f1, rouge_tokens

ENGLISH = ["The U.S. sold 3.5 mln tonnes_of wheat, up 10% -- it's 'new'.", "BAHIA <BCR> REVIEW", "", "a-b c/d\te\nf"]


@pytest.mark.parametrize("text", ENGLISH)
def test_tokens_of_english_are_those_of_the_package(text: str) -> None:
    assert rouge_tokens(text) == tokenize(text, None)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("北京is首都。", ["北", "京", "is", "首", "都"]),
        ("基于ＳＯＳ的SOS方法 2", ["基", "于", "sos", "的", "sos", "方", "法", "2"]),
        ("ひらがなカタ 한국", ["ひ", "ら", "が", "な", "カ", "タ", "한", "국"]),
        ("Größe naïve_Москва", ["größe", "naïve", "москва"]),
    ],
)
def test_tokens_of_other_scripts(text: str, tokens: list[str]) -> None:
    assert rouge_tokens(text) == tokens


def naive_f1(prediction: list[str], target: list[str], n: int) -> float:
    """Return the F1 of ROUGE-n; for n = 0 of ROUGE-L (Lin, 2004)."""
    if n:
        grams = [Counter(zip(*(tokens[k:] for k in range(n)), strict=False)) for tokens in (prediction, target)]
        overlap, sizes = (grams[0] & grams[1]).total(), [each.total() for each in grams]
    else:
        table = np.zeros((len(prediction) + 1, len(target) + 1), int)
        for i, left in enumerate(prediction):
            for j, right in enumerate(target):
                table[i + 1, j + 1] = table[i, j] + 1 if left == right else max(table[i, j + 1], table[i + 1, j])
        overlap, sizes = table[-1, -1], [len(prediction), len(target)]
    return 2 * overlap / sum(sizes) if overlap else 0.0


def test_scores_are_the_formula_for_chinese_too() -> None:
    pairs = [("一种大角度控制器", "大角度机动控制器设计"), ("cocoa review", "bahia cocoa review today"), ("x", "")]
    scores = rouge_f1(*zip(*pairs, strict=True))
    for name, n in (("rouge1", 1), ("rouge2", 2), ("rougeL", 0)):
        wanted = [naive_f1(rouge_tokens(prediction), rouge_tokens(target), n) for prediction, target in pairs]
        np.testing.assert_allclose(scores[name], wanted)
    assert scores["rouge1"][0] > 0.6
    default = RougeScorer(["rouge1"]).score(pairs[0][1], pairs[0][0])["rouge1"].fmeasure
    assert default == 0, "the package's own tokenizer drops every Chinese character"


def test_metrics_are_means_of_the_chosen_texts() -> None:
    scores = TextScores({"rouge1": np.array([0.0, 0.5, 1.0])})
    assert scores.metrics() == {"rouge1": 0.5}
    assert scores.metrics(np.array([1, 2, 2, 2])) == {"rouge1": 0.875}
