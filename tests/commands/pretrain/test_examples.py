"""Example predictions on held-out text, and the report that shows them."""

from pathlib import Path

import pytest
import torch

from ssl_cli.commands.pretrain import report
from ssl_cli.commands.pretrain.examples import EXAMPLES, predict_masks, write
from ssl_cli.commands.pretrain.predicted_text import PredictedText, TextPiece
from ssl_cli.data.text.packing import PackedTokenDataset, TokenArrays
from ssl_cli.evaluation.html import REPORT
from tests.helpers.pretrain_runs import TEXT, causal, masked, tokenizer_of


def rows_of(model: object, kind: str) -> PackedTokenDataset:
    tokenizer = tokenizer_of(kind)
    ids = torch.cat([torch.tensor([*tokenizer.encode(text), tokenizer.specials["end"]]) for text in TEXT])
    arrays = TokenArrays.from_numpy(ids.numpy().astype("uint16"), None, tokenizer)
    return PackedTokenDataset(arrays, model, False, None, None, 4)


def test_each_masked_token_has_a_prediction() -> None:
    tokenizer = tokenizer_of("wordpiece")
    model = masked(tokenizer)
    batch = rows_of(model, "wordpiece")[0, torch.arange(3), 1.0]
    examples = predict_masks(model, tokenizer, batch, seed=5)
    torch.manual_seed(0)  # the global generator must not matter
    assert examples == predict_masks(model, tokenizer, batch, seed=5)
    assert examples != predict_masks(model, tokenizer, batch, seed=6)
    for example in examples:
        predictions = [piece for piece in example.pieces if piece.prediction is not None]
        assert len(predictions) == model.eval_masks_per_row
        assert all(0 < piece.probability <= 1 for piece in predictions if piece.probability is not None)


def test_a_passage_is_continued(tmp_path: Path) -> None:
    tokenizer = tokenizer_of("bpe")
    model = causal(tokenizer.vocab_size)
    examples = write(tmp_path, model, tokenizer, rows_of(model, "bpe"), seed=1)
    assert all(len(example.pieces) == 2 and example.pieces[1].prediction for example in examples)
    assert str(examples[0]) in (tmp_path / EXAMPLES).read_text()


def test_a_method_without_predictions_to_show_has_no_examples(tmp_path: Path) -> None:
    rows = rows_of(causal(tokenizer_of("bpe").vocab_size), "bpe")
    assert write(tmp_path, torch.nn.Identity(), tokenizer_of("bpe"), rows, seed=1) == []
    assert not (tmp_path / EXAMPLES).exists()


def test_printed_examples_are_short_and_have_a_legend(capsys: pytest.CaptureFixture[str]) -> None:
    guess = [TextPiece("it\n was "), TextPiece(prediction="cat", target="dog", probability=0.25)]
    right = TextPiece(prediction="cat", target="cat", probability=0.5)
    report.print_examples([PredictedText([right, *guess * 200])] * 2)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("held-out text, in brackets the token predicted for a masked one and its probability: ")
    assert lines[1].endswith("⏎: a line break")
    assert lines[3] == lines[5] and lines[3].startswith("[cat 50%]it⏎ was [cat 25%, not dog]it⏎ was [cat 25%, not dog]")
    assert lines[3].endswith("not dog]it⏎ was  ...") and len(lines[3]) <= report.MAX_PRINTED_CHARS + 4
    assert sum(1 + len(line) // 80 for line in lines) < 20


def test_a_printed_continuation_is_cut_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    report.print_examples([PredictedText([TextPiece("Once "), TextPiece(prediction="so " * 500)])])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "held-out text, in brackets what the model continues it with"
    assert lines[3].startswith("Once [so so ") and len(lines[3]) == report.MAX_PRINTED_CHARS + 4


def test_the_report_shows_predictions_and_escapes_markup(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("seed: 1\n")
    example = PredictedText(
        [
            TextPiece("<b>a</b> "),
            TextPiece(prediction="<i>", target="dog", probability=0.25),
            TextPiece(prediction="cat", target="cat"),
        ]
    )
    report.write(tmp_path, {"model": "bert", "data": "text"}, {"val/loss": 2.5}, [example], [])
    text = (tmp_path / REPORT).read_text()
    assert "&lt;b&gt;a&lt;/b&gt;" in text
    assert "<small>dog</small>" in text and "<small>cat" not in text
    assert "<i>" not in text and "<b>a" not in text
    assert "nats per predicted token" in text
    assert str(example) == "<b>a</b> [<i> 25%, not dog][cat]"
