"""Seq2SeqLM: its inputs, its loss against a naive transcription, its sizes, and what it refuses."""

import pytest
import torch
from torch.nn import functional

from ssl_cli.errors import InputError
from ssl_cli.methods.language.seq2seq_lm import Seq2SeqLM
from ssl_cli.methods.protocols import LearnsFromText, WritesText
from ssl_cli.models.encoder_decoder import EncoderDecoder

SPECIALS = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "end": 3}
SENTINELS = list(range(5, 20))
N_TOKENS, STOP, CONTEXT = 60, 20, 32
EACH = ["mask", "delete", "infill", "permute", "rotate", "fragment", "spans"]


def model(corruption=("infill",), style="bart", context: int = CONTEXT, **options) -> Seq2SeqLM:
    torch.manual_seed(0)
    shape = {"layers": 2, "width": 16, "heads": 2, "dropout": 0.0, "norm": "pre", "positions": "learned"}
    network = EncoderDecoder(N_TOKENS, context, **shape)
    specials, sentinels = options.pop("specials", SPECIALS), options.pop("sentinels", SENTINELS)
    return Seq2SeqLM(network, specials, sentinels, style, list(corruption), **options)


def batch_of(lm: Seq2SeqLM, rows: int = 6) -> dict[str, torch.Tensor]:
    ids = torch.randint(STOP, N_TOKENS, (rows, lm.row_length))
    return {"ids": ids, "sentence_ends": ids == STOP}


@pytest.mark.parametrize("corruption", EACH)
@pytest.mark.parametrize("style", ["bart", "t5"])
def test_rows_are_the_longest_that_fit_and_nothing_is_padded(corruption, style) -> None:
    lm = model([corruption], style)
    assert isinstance(lm, LearnsFromText) and isinstance(lm, WritesText)
    inputs = lm.make_inputs(batch_of(lm))
    sizes = inputs["source"].shape[1], inputs["targets"].shape[1]
    assert sizes == lm.sizes(lm.row_length) and max(sizes) <= CONTEXT < max(lm.sizes(lm.row_length + 1))
    assert inputs["inputs"].shape == inputs["targets"].shape == inputs["missing"].shape
    assert torch.equal(inputs["inputs"][:, 1:], inputs["targets"][:, :-1])
    assert inputs["inputs"][:, 0].eq(3 if style == "bart" else 0).all()
    around = inputs["targets"][:, [0, -1]]
    if corruption != "fragment":
        assert around[:, 1].eq(3).all() and (style == "t5" or around[:, 0].eq(2).all())
        assert not inputs["missing"][inputs["targets"] < 5].any()


@pytest.mark.parametrize("corruption", ["infill", "fragment", "spans"])
def test_the_loss_is_the_mean_over_the_target(corruption) -> None:
    lm = model([corruption])
    batch = batch_of(lm, 3)
    torch.manual_seed(1)
    inputs = lm.make_inputs(batch)
    losses, hits = [], []
    for row in range(3):
        for t, target in enumerate(inputs["targets"][row]):
            position = inputs["position"][row : row + 1, : t + 1] if "position" in inputs else None
            ids = inputs["inputs"][row : row + 1, : t + 1]
            logits = lm.network.logits(lm.network(inputs["source"][row : row + 1], ids, position=position))[0, -1]
            losses.append(functional.cross_entropy(logits, target))
            hits.append(float(logits.argmax() == target))
    torch.manual_seed(1)
    out = lm(batch)
    torch.testing.assert_close(out["loss"], torch.stack(losses).mean())
    assert float(out["accuracy"]) == pytest.approx(sum(hits) / len(hits))
    assert lm.derived_metrics({"loss": 2.0}) == {"perplexity": pytest.approx(7.389, abs=1e-3)}


def test_bart_writes_the_whole_text() -> None:
    lm = model(["delete", "permute"])
    batch = batch_of(lm)
    inputs = lm.make_inputs(batch)
    assert torch.equal(inputs["targets"][:, 1:-1], batch["ids"]) and lm.row_length == CONTEXT - 2
    assert inputs["targets"][:, 0].eq(2).all() and inputs["targets"][:, -1].eq(3).all()
    assert inputs["source"].shape[1] == 2 + lm.row_length - 9
    assert inputs["missing"].sum(1).tolist() == [9] * 6  # those that were deleted, wherever the others have moved


def test_a_fragment_has_the_positions_that_it_would_have_in_the_whole_text() -> None:
    lm = model(["fragment"], mask_ratio=0.5)
    batch = batch_of(lm)
    inputs = lm.make_inputs(batch)
    whole = model(["mask"]).make_inputs(batch)
    assert inputs["targets"].shape[1] == 15 and inputs["missing"].all()
    assert torch.equal(whole["targets"].gather(1, inputs["position"]), inputs["targets"])
    first = int(inputs["position"][0, 0])
    shown = torch.cat([inputs["source"][0, :first], inputs["source"][0, first + 15 :]])
    assert torch.equal(shown, torch.cat([whole["targets"][0, :first], whole["targets"][0, first + 15 :]]))


def test_t5_has_sentinels_on_both_sides_and_longer_rows() -> None:
    lm = model(["spans"], "t5", mask_ratio=0.15)
    inputs = lm.make_inputs(batch_of(lm))
    assert lm.sizes(lm.row_length) == (CONTEXT, 5 + 2 + 1) and lm.row_length == 34
    for side in ("source", "targets"):
        assert ((inputs[side] >= 5) & (inputs[side] < 20)).sum(1).tolist() == [2] * 6
        assert inputs[side][:, -1].eq(3).all()
    assert inputs["missing"].sum(1).tolist() == [5] * 6


def test_the_same_seed_makes_the_same_inputs_and_another_one_others() -> None:
    lm = model(["permute", "infill"])
    batch, draws = batch_of(lm), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(lm.make_inputs(batch)["source"])
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])


# --- refused ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corruption": []}, "model.corruption must name one or more of mask, delete"),
        ({"corruption": ["mask", "mask"]}, "model.corruption must name each corruption once, not mask, mask"),
        ({"corruption": ["fragment", "spans"]}, "can't have both fragment and spans"),
        ({"corruption": ["spans"], "mean_span": 0.5}, "model.mean_span=0.5 is below 1, and each span of"),
        ({"corruption": ["spans"], "sentinels": []}, r"no sentinels \(<extra_id_0>, .* with tokenizer.sentinels=4 or"),
        ({"corruption": ["spans"], "sentinels": [5, 6]}, "only 2 sentinels, and model.corruption=spans puts 4 in"),
        ({"corruption": ["infill"], "specials": {"cls": 2, "sep": 3}}, "infill needs a mask token, and the"),
        ({"corruption": ["delete"], "mask_ratio": 0.99}, r"mask_ratio=0.99 leaves nothing .*corruption=\[delete\]"),
        ({"corruption": ["mask"], "specials": {"mask": 4}}, "no cls and no sep token, which model.style=bart puts"),
        ({"corruption": ["mask"], "sentinels": list(range(5, 60))}, "all of them special"),
    ],
)
def test_refusals(options, message: str) -> None:
    with pytest.raises(InputError, match=message):
        model(**options)
