"""Predictions as they are printed."""

from ssl_cli.commands.finetune.display import rendered
from ssl_cli.printable import Styled

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def test_what_is_shown_in_colour() -> None:
    entity = {"type": "PER", "text": "Jim Henson", "first": 1, "last": 2}
    words = {"words": ["Mr", "Jim", "Henson", "\x1b[2Jcame"], "entities": [entity]}
    (shown,) = rendered(words, TAGS)
    assert isinstance(shown, Styled) and shown.plain == r"Mr [Jim Henson](PER) \x1b[2Jcame"
    assert [text for text, style in shown.pieces if style] == ["[Jim Henson](PER)"]
    tags = {"words": ["Birds", "fly"], "predictions": ["NOUN", "VERB"]}
    (shown,) = rendered(tags, ["NOUN", "VERB"])
    assert isinstance(shown, Styled) and shown.plain == "Birds/NOUN fly/VERB"
    assert len({style for _, style in shown.pieces if style}) == 2
    chinese = {"words": list("姚明在上海"), "entities": [entity | {"first": 0, "last": 1}]}
    (shown,) = rendered(chinese, TAGS)
    assert isinstance(shown, Styled) and shown.plain == "[姚明](PER)在上海"
    nothing = {"question": "Who?", "context": "It rains.", "prediction": "", "start": None, "probability": 0.9}
    table, passage = rendered(nothing, [])
    assert "no answer in this passage" in str(table) and passage == "It rains."
