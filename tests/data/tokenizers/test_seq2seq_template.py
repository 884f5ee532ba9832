"""Template of sequence to sequence: the special tokens of BART and of T5, and what a cut leaves."""

import pytest

from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate
from ssl_cli.errors import InputError

SPECIALS = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "end": 5}


@pytest.mark.parametrize(
    ("style", "source", "target", "decoder"),
    [("bart", [2, 7, 8, 3], [2, 7, 8, 3], [3, 2, 7, 8]), ("t5", [7, 8, 3], [7, 8, 3], [0, 7, 8])],
)
def test_both_styles(style, source: list[int], target: list[int], decoder: list[int]) -> None:
    template = Seq2SeqTemplate.for_style(style, SPECIALS)
    assert template.source([7, 8], 10) == source
    assert template.target([7, 8], 10) == target
    assert template.decoder_inputs(target) == decoder


def test_a_text_is_cut_so_that_its_special_tokens_fit() -> None:
    template = Seq2SeqTemplate.for_style("bart", SPECIALS)
    assert template.source([7, 8, 9], 4) == [2, 7, 8, 3] == template.target([7, 8, 9], 4)
    assert template.source([7], 1) == [2, 3]


def test_t5_ends_with_the_end_of_documents_if_there_is_no_separator() -> None:
    assert Seq2SeqTemplate.for_style("t5", {"pad": 0, "end": 5}).end == 5


@pytest.mark.parametrize("style", ["bart", "t5"])
def test_a_missing_token_is_an_input_error(style) -> None:
    with pytest.raises(InputError, match=rf"no {'pad' if style == 't5' else 'cls'} and no sep token, .*style={style}"):
        Seq2SeqTemplate.for_style(style, {"mask": 4})
