"""Predictions as they are printed."""

from rich.text import Text

from ssl_cli.commands.finetune.display import rendered

TAGS = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def test_what_is_shown_in_colour() -> None:
    entity = {"type": "PER", "text": "Jim Henson", "first": 1, "last": 2}
    words = {"words": ["Mr", "Jim", "Henson", "\x1b[2Jcame"], "entities": [entity]}
    (shown,) = rendered(words, TAGS)
    assert isinstance(shown, Text) and shown.plain == r"Mr [Jim Henson](PER) \x1b[2Jcame"
    assert [shown.plain[span.start : span.end] for span in shown.spans] == ["[Jim Henson](PER)"]
    tags = {"words": ["Birds", "fly"], "predictions": ["NOUN", "VERB"]}
    (shown,) = rendered(tags, ["NOUN", "VERB"])
    assert isinstance(shown, Text) and shown.plain == "Birds/NOUN fly/VERB"
    assert len({span.style for span in shown.spans}) == 2
    chinese = {"words": list("姚明在上海"), "entities": [entity | {"first": 0, "last": 1}]}
    assert str(next(rendered(chinese, TAGS))) == "[姚明](PER)在上海"
    nothing = {"question": "Who?", "context": "It rains.", "prediction": "", "start": None, "probability": 0.9}
    table, passage = rendered(nothing, [])
    assert "no answer in this passage" in str(table) and passage == "It rains."
