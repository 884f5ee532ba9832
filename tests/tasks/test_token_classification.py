"""Token classification from files to predictions: schemes, windows, unknown tags, and columns for conlleval."""

import re
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from ssl_cli.config.choices import built_in_conf
from ssl_cli.data.labelled.conll import Sentence
from ssl_cli.data.labelled.packed_examples import IGNORE_INDEX, PackedExamples
from ssl_cli.data.labelled.sources import LabelledFiles, PublishedLayout
from ssl_cli.data.labelled.template import SequenceTemplate
from ssl_cli.errors import InputError
from ssl_cli.tasks.token_classification import TokenClassification
from tests.helpers.pretrain_runs import tokenizer_of

IOB1 = "Peter I-PER\nPan I-PER\nMary B-PER\nsings O\nin O\nRome I-LOC\n\nMary I-PER\nsings O\n"
BIO = "Peter B-PER\nPan I-PER\nMary B-PER\nsings O\nin O\nRome B-LOC\n\nMary B-PER\nsings O\n"
BIOES = "Peter B-PER\nPan E-PER\nMary S-PER\nsings O\nin O\nRome S-LOC\n\nMary S-PER\nsings O\n"
WEB = "1\tBirds\t_\tNOUN\tNNS\n2\tsing\t_\tVERB\tVBP\n\n1\tSing\t_\tVERB\tVB\n"


def files(folder: Path, suffix: str = ".txt", **contents: str) -> LabelledFiles:
    for split, content in contents.items():
        (folder / f"{split}{suffix}").write_text(content, encoding="utf-8")
    return LabelledFiles(None, {split: str(folder / f"{split}{suffix}") for split in contents}, folder)


def template_of(kind: str = "wordpiece", length: int = 32, causal: bool = False) -> SequenceTemplate:
    return SequenceTemplate.for_tokenizer(tokenizer_of(kind), causal, length)


def of_yaml(name: str) -> TokenClassification:
    node: dict[str, Any] = yaml.safe_load((built_in_conf() / "task" / f"{name}.yaml").read_text())
    node.pop("_target_")
    layout = node.pop("layout")
    layout.pop("_target_")
    return TokenClassification(
        **node, layout=layout and PublishedLayout(**{key: value for key, value in layout.items() if key != "_target_"})
    )


def perfect(rows: PackedExamples, n_labels: int) -> list[np.ndarray]:
    """Return the logits of a model that knows every label, by row and word; a word without label gets class 0."""
    found = []
    for start, length in zip(rows.sequence_starts, rows.sequences.length, strict=True):
        word = rows.sequences.tokens["word"][start : start + length] > 0
        label = rows.sequences.tokens["label"][start : start + length][word]
        found.append(8.0 * np.eye(n_labels)[np.where(label == IGNORE_INDEX, 0, label)])
    return found


# --- files ---


@pytest.mark.parametrize(("scheme", "text"), [("iob1", IOB1), ("bio", BIO), ("bioes", BIOES)])
def test_every_scheme_is_converted_to_bio(tmp_path: Path, scheme: str, text: str) -> None:
    for named in ("auto", scheme):
        found = TokenClassification(named).read(files(tmp_path, train=text, dev=text))  # type: ignore[arg-type]
        assert [one.tags for one in found["dev"]] == [
            ("B-PER", "I-PER", "B-PER", "O", "O", "B-LOC"),
            ("B-PER", "O"),
        ]
        assert found["train"].warnings == ()
    assert TokenClassification("auto").labels(found["train"]) == ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]


def test_violations_of_a_scheme_are_counted_and_read_as_conlleval_does(tmp_path: Path) -> None:
    broken = BIO + "\nin O\nRome I-LOC\nPan I-PER\n"
    found = TokenClassification("bio").read(files(tmp_path, train=BIO, dev=broken))
    assert found["dev"][2].tags == ("O", "B-LOC", "B-PER")
    (warning,) = found["dev"].warnings
    assert warning.startswith("2 tag(s) violate BIO") and warning.endswith("dev.txt, line 12, I-LOC after O.")
    (warning,) = TokenClassification("bioes").read(files(tmp_path, train=BIOES, dev="Rome B-LOC\n"))["dev"].warnings
    assert warning.endswith("dev.txt, line 1, the sentence's end after B-LOC.")


@pytest.mark.parametrize(
    ("train", "dev", "message"),
    [
        ("Birds NOUN\nsing VERB\n", BIO, "train.txt, line 1: the tag 'NOUN' marks no entity"),
        (BIO, "in O\nRome LOC\n", "dev.txt, line 2: the tag 'LOC' marks no entity"),
        ("a O\nb O\n", BIO, "train.txt has only one tag, O: there are no classes to distinguish"),
        (BIO, "Rome\n", "dev.txt, line 1: 'Rome' has 1 column(s)"),
    ],
)
def test_errors_name_the_place(tmp_path: Path, train: str, dev: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        TokenClassification("auto").read(files(tmp_path, train=train, dev=dev))


def test_to_example() -> None:
    task = TokenClassification("auto")
    assert task.to_example({"text": " Peter  sings ", "id": 7}) == Sentence(7, ("Peter", "sings"), None)
    assert task.to_example({"text": "鸟会飞"}).words == ("鸟", "会", "飞")
    assert task.to_example({"text": "Ann, in Paris."}).words == ("Ann", ",", "in", "Paris", ".")
    for record in ({"text": "Ann sings\ud800"}, {"words": ["Ann", "sings\ud800"]}):
        assert task.to_example(record).words == ("Ann", "sings\ufffd")
    assert task.to_example({"tokens": ["a b", "c"]}).words == ("a b", "c")
    own = {"chars": ["北", "京"], "tokens": ["北京"], "words": ["北京"], "id": datetime(2026, 1, 2)}
    assert TokenClassification("none", word="chars").to_example(own) == Sentence(
        "2026-01-02 00:00:00", ("北", "京"), None
    )
    for record, message in (
        ({"text": " "}, "the text is empty"),
        ({"words": "Peter"}, "a list of texts"),
        ({"x": 1}, "a text, or"),
    ):
        with pytest.raises(InputError, match=message):
            task.to_example(record)


# --- rows ---


def test_labels_are_at_the_first_token_of_each_word(tmp_path: Path) -> None:
    task = TokenClassification("auto")
    found = task.read(files(tmp_path, train=BIO, dev=BIO))["train"]
    labels, template = task.labels(found), template_of()
    rows = task.rows(found, template, labels, training=True)
    tokens = rows.sequences.tokens
    first = slice(0, int(rows.sequences.length[0]))
    library = template.tokenizer.library
    ids, label, word = [template.prefix[0]], [IGNORE_INDEX], [0]
    for one, tag in zip(found[0].words, found[0].tags, strict=True):
        own = library.encode(one, add_special_tokens=False).ids
        ids, word = [*ids, *own], [*word, 1, *[0] * (len(own) - 1)]
        label += [labels.index(tag), *[IGNORE_INDEX] * (len(own) - 1)]
    assert tokens["ids"][first].tolist() == [*ids, *template.suffix]
    assert tokens["label"][first].tolist() == [*label, IGNORE_INDEX]
    assert tokens["word"][first].tolist() == [*word, 0]


def test_without_tags_there_are_no_training_rows() -> None:
    rows = TokenClassification("none").rows([Sentence(0, ("a",), None)], template_of(), ["X", "Y"], training=True)
    assert len(rows.with_row_length(32)) == 0 and rows.row_length > 0


def test_a_causal_model_tags_a_word_at_its_last_token() -> None:
    rows = TokenClassification("auto").rows(
        [Sentence(0, ("zzz", "dog"), None)], template_of("bpe", causal=True), ["O"], training=False
    )
    assert rows.sequences.tokens["word"].tolist() == [0, 0, 1, 0, 0, 0, 1, 0]  # zzz, blank dog, the end


@pytest.mark.parametrize("kind", ["wordpiece", "bpe", "unigram", "char", "word"])
def test_every_word_is_predicted_in_order_at_any_length(kind: str) -> None:
    rng = np.random.default_rng(0)
    vocabulary = ["bird", "Once", "\ufeff", "鸟", "café", "unpronounceable" * 3, "a", "", "zz"]
    names = [f"T{k}" for k in range(6)]
    examples = [
        Sentence(k, tuple(rng.choice(vocabulary, n).tolist()), tuple(rng.choice(names, n).tolist()))
        for k, n in enumerate([1, 30, 3, 200, 8])
    ]
    task = TokenClassification("none")
    rows = task.rows(examples, template_of(kind, 24), names, training=False)
    assert rows.row_ids.tolist() == sorted(rows.row_ids.tolist()) and set(rows.row_ids.tolist()) == set(range(5))
    assert len(rows) > 5 and rows.sequences.length.max() <= 24
    assert any("longer than max_length=24" in warning for warning in rows.warnings)
    assert any("have no tokens" in warning for warning in rows.warnings)
    predictions = task.decode(examples, rows, perfect(rows, 6), names)
    assert [each["predictions"] for each in predictions] == [list(one.tags or ()) for one in examples]
    assert all(probability > 0.99 for each in predictions for probability in each["probabilities"])
    scores = task.scores(predictions)
    assert scores is not None and scores.metrics() == {"accuracy": 1.0}


def test_a_tag_that_train_lacks_counts_as_wrong_with_a_warning(tmp_path: Path) -> None:
    task = TokenClassification("none")
    found = task.read(files(tmp_path, ".conllu", train=WEB, dev=WEB.replace("NOUN", "X")))
    labels = task.labels(found["train"])
    rows = task.rows(found["dev"], template_of(), labels, training=False)
    assert rows.warnings == (
        f"{tmp_path / 'dev.conllu'}: 1 word(s) have tags that the train file lacks (X): they count as wrong.",
    )
    assert (rows.sequences.tokens["label"] != IGNORE_INDEX).sum() == 2 and rows.sequences.tokens["word"].sum() == 3
    scores = task.scores(task.decode(found["dev"], rows, perfect(rows, 2), labels))
    assert scores is not None and scores.metrics() == {"accuracy": 2 / 3}


# --- predictions ---


def test_predictions_and_columns_to_submit(tmp_path: Path) -> None:
    task = TokenClassification("auto")
    found = task.read(files(tmp_path, train=BIO, dev=BIO, test="Rome\nsings\n"))
    labels = task.labels(found["train"])
    scores = {split: perfect(task.rows(found[split], template_of(), labels, False), len(labels)) for split in found}
    scores["dev"][1] = scores["dev"][1][::-1]  # Mary sings -> O, B-PER
    predictions = {
        split: task.decode(found[split], task.rows(found[split], template_of(), labels, False), scores[split], labels)
        for split in found
    }
    assert predictions["dev"][0]["entities"] == [
        {"type": "PER", "text": "Peter Pan", "first": 0, "last": 1},
        {"type": "PER", "text": "Mary", "first": 2, "last": 2},
        {"type": "LOC", "text": "Rome", "first": 5, "last": 5},
    ]
    assert predictions["dev"][1] == {
        "id": 1,
        "words": ["Mary", "sings"],
        "labels": ["B-PER", "O"],
        "predictions": ["O", "B-PER"],
        "probabilities": [round(1 / (1 + 4 * np.exp(-8)), 6)] * 2,
        "entities": [{"type": "PER", "text": "sings", "first": 1, "last": 1}],
    }
    assert task.submission("dev", predictions["dev"])["dev.conll"].endswith("\n\nMary B-PER O\nsings O B-PER\n")
    assert task.submission("test", predictions["test"]) == {"test.conll": "Rome O\nsings O\n"}
    assert task.scores(predictions["test"]) is None
    scores = task.scores(predictions["dev"])
    assert scores is not None and scores.metrics()["entity_f1"] == 0.75


def test_text_of_a_chinese_entity_has_no_blanks() -> None:
    task = TokenClassification("auto")
    example = task.to_example({"text": "我在北京"})
    labels = ["O", "B-LOC", "I-LOC"]
    rows = task.rows([example], template_of(), labels, training=False)
    (prediction,) = task.decode([example], rows, [np.eye(3)[[0, 0, 1, 2]]], labels)
    assert (
        prediction["entities"] == [{"type": "LOC", "text": "北京", "first": 2, "last": 3}]
        and "labels" not in prediction
    )


# --- as published ---


def test_conll2003_has_the_published_entities(shared: Path) -> None:
    layout = PublishedLayout("conll2003", {"train": ["eng.testa"], "dev": ["eng.testb"]})
    found = TokenClassification("auto", 0, -1, layout).read(LabelledFiles(None, {}, shared))
    counts = {split: Counter(tag[2:] for one in found[split] for tag in one.tags if tag[0] == "B") for split in found}
    assert counts["train"] == {"LOC": 1837, "PER": 1842, "ORG": 1341, "MISC": 922}
    assert counts["dev"] == {"LOC": 1668, "PER": 1617, "ORG": 1661, "MISC": 702}
    assert all(len(one.warnings) == 1 for one in found.values())  # about the -DOCSTART- lines; no tag violates IOB1


@pytest.mark.parametrize("name", ["conll2003", "peopledaily_ner", "ud_english_ewt"])
def test_each_layout_names_the_files_at_hand(shared: Path, name: str) -> None:
    task = of_yaml(name)
    paths = LabelledFiles(None, {}, shared).paths(task.layout)
    assert paths is not None and {"train", "dev"} <= paths.keys()
    assert task.monitor == ("accuracy" if name.startswith("ud") else "entity_f1")
