"""Lead baselines: the first sentence and the first words of a source."""

import pytest

from ssl_cli.evaluation.metrics.lead import lead_sentence, lead_words


@pytest.mark.parametrize(
    ("source", "first"),
    [
        ("Prices rose 3.5 pct\nin May. They fell later.", "Prices rose 3.5 pct in May."),
        ("提出了一种方法.仿真结果表明有效.", "提出了一种方法."),
        ("提出了一种方法。结果。", "提出了一种方法。"),
        ("Why? Because.", "Why?"),
        ("no end at all", "no end at all"),
        ("", ""),
    ],
)
def test_the_first_sentence(source: str, first: str) -> None:
    assert lead_sentence(source) == first


def test_the_first_words() -> None:
    assert lead_words("Showers -- continued throughout", 2) == "showers continued"
    assert lead_words("提出了SOS方法", 4) == "提 出 了 sos"
