"""Sentences of CoNLL-U: their text and labels, and what can't be read."""

from pathlib import Path

import pytest

from ssl_cli.data.sentences.treebank import TreebankSentences, sentence_of

BLOCK = """# sent_id = weblog-a.com_1-0001
# text = Don't go = home!
1-2	Don't	_	_	_	_	_	_	_	_
1	Do	do	AUX	_	_	_	_	_	_
2	n't	not	PART	_	_	_	_	_	_
3	go	go	VERB	_	_	_	_	_	_
4	=	=	SYM	_	_	_	_	_	_
5	home	home	ADV	_	_	_	_	_	_
5.1	x	x	NOUN	_	_	_	_	_	_
6	!	!	PUNCT	_	_	_	_	_	_"""


def test_labels_are_of_words_and_of_the_id() -> None:
    labels = {"genre": "weblog", "first_pos": "AUX", "last_pos": "ADV"}
    assert sentence_of(BLOCK.splitlines()) == {"text": "Don't go = home!", **labels}
    assert "no words" in sentence_of(["# text = a"])


def test_a_file_of_blocks_with_one_that_has_no_words(tmp_path: Path) -> None:
    blocks = [BLOCK.replace("home", f"home{k}") for k in range(40)]
    (tmp_path / "a.conllu").write_text("\n\n".join([*blocks, "# text = nothing"]) + "\n\n")
    data = TreebankSentences(files=str(tmp_path), labels={"last": "last_pos"}).sentence_splits(0)
    assert sum(map(len, data.splits.values())) == 40 and data.label_values == {"last": ["ADV"]}
    assert "sentence 41: it has no words with a part of speech" in data.warnings[0]


@pytest.mark.shared
def test_the_english_web_treebank(shared: Path) -> None:
    path = shared / "ud_english_ewt" / "en_ewt-ud-dev.conllu"
    data = TreebankSentences(files=str(path), labels={"genre": "genre"}, max_words=1000).sentence_splits(0)
    assert data.label_values["genre"] == ["answers", "email", "newsgroup", "reviews", "weblog"]
