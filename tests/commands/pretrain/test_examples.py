"""Held-out text with the model's answers, and the page that shows them."""

from pathlib import Path

import torch

from ssl_cli.commands.pretrain import report
from ssl_cli.commands.pretrain.examples import EXAMPLES, PredictedText, TextPiece, guesses, write
from ssl_cli.data.text.packing import PackedTokenDataset, TokenArrays
from ssl_cli.evaluation.html import REPORT
from tests.helpers.pretrain_runs import TEXT, causal, masked, tokenizer_of


def rows_of(model: object, kind: str) -> PackedTokenDataset:
    tokenizer = tokenizer_of(kind)
    ids = torch.cat([torch.tensor([*tokenizer.encode(text), tokenizer.specials["end"]]) for text in TEXT])
    arrays = TokenArrays.of(ids.numpy().astype("uint16"), None, tokenizer)
    return PackedTokenDataset(arrays, model, False, None, None, 4)


def test_each_hidden_token_has_the_models_likeliest_answer() -> None:
    tokenizer = tokenizer_of("wordpiece")
    model = masked(tokenizer)
    batch = rows_of(model, "wordpiece")[0, torch.arange(3), 1.0]
    found = guesses(model, tokenizer, batch, seed=5)
    torch.manual_seed(0)  # the draws don't depend on what went before
    assert found == guesses(model, tokenizer, batch, seed=5)
    assert found != guesses(model, tokenizer, batch, seed=6)
    for example in found:
        answers = [part for part in example.parts if part.guess is not None]
        assert len(answers) == model.hidden_per_row
        assert all(0 < part.share <= 1 for part in answers if part.share is not None)


def test_a_passage_is_continued(tmp_path: Path) -> None:
    tokenizer = tokenizer_of("bpe")
    model = causal(tokenizer.vocab_size)
    found = write(tmp_path, model, tokenizer, rows_of(model, "bpe"), seed=1)
    assert all(len(example.parts) == 2 and example.parts[1].guess for example in found)
    assert str(found[0]) in (tmp_path / EXAMPLES).read_text()


def test_the_page_shows_answers_and_lets_no_markup_through(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    example = PredictedText(
        [TextPiece("<b>a</b> "), TextPiece(guess="<i>", truth="dog", share=0.25), TextPiece(guess="cat", truth="cat")]
    )
    report.write(tmp_path, {"model": "bert", "data": "text"}, {"val/loss": 2.5}, [example], [])
    text = (tmp_path / REPORT).read_text()
    assert "&lt;b&gt;a&lt;/b&gt;" in text
    assert "<s>dog</s>" in text and "<s>cat</s>" not in text
    assert "<i>" not in text and "<b>a" not in text
    assert "nats a guess" in text
    assert str(example) == "<b>a</b> [<i> 25%, not dog][cat]"
