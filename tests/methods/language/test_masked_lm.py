"""MaskedLM: its inputs and targets, its losses against naive ones, and the options it rejects."""

import inspect
import math
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor
from torch.nn import functional

from ssl_cli.config.choices import built_in_conf
from ssl_cli.errors import InputError
from ssl_cli.methods.language.masked_lm import MaskedLM
from ssl_cli.models.losses import IGNORE_INDEX
from tests.helpers.pretrain_runs import masked_lm

SPECIALS = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "end": 3}
V, CONTEXT, B = 60, 32, 6
PAIRS = ["none", "nsp", "sop"]
ALL_MASKED = {"mask": 1.0, "random": 0.0, "keep": 0.0}


def model(**options: Any) -> MaskedLM:
    torch.manual_seed(1)
    return masked_lm(V, SPECIALS, **{"layers": 2, "width": 16, "heads": 2, "context": CONTEXT, **options})


def text(model: MaskedLM, n: int = B) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = n, model.row_length
    return {
        "ids": torch.randint(5, V, shape, generator=generator),
        "starts": torch.rand(shape, generator=generator) < 0.6,
        "sentence_ends": torch.rand(shape, generator=generator) < 0.2,
        "document_id": torch.arange(n),
    }


def make_inputs(model: MaskedLM, batch: dict[str, Tensor], seed: int = 5) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return model.make_inputs(batch)


# --- inputs ---


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("mask", ["token", "whole_word", "span"])
def test_rows_fill_the_context_and_targets_are_the_masked_tokens(pair: str, mask: str) -> None:
    bert = model(sentence_task=pair, mask_unit=mask, replace=ALL_MASKED)
    batch = text(bert)
    batch["ids"][:, -1] = SPECIALS["end"]
    inputs = make_inputs(bert, {name: batch[name] for name in bert.reads})
    hidden = round(0.4 * bert.row_length)
    assert inputs["inputs"].shape == (B, CONTEXT)
    assert inputs["positions"].shape == inputs["targets"].shape == (B, hidden)
    assert bool((inputs["inputs"].gather(1, inputs["positions"]) == SPECIALS["mask"]).all())
    assert (inputs["inputs"] == SPECIALS["mask"]).sum() == B * hidden
    whole = inputs["inputs"].scatter(1, inputs["positions"], inputs["targets"])
    assert bool((whole[:, 0] == SPECIALS["cls"]).all())
    frame = {"none": 1, "nsp": 3, "sop": 3}[pair]
    if pair != "nsp":  # the very tokens of the row; the second text of nsp may be another row's
        of_text = whole.sort(dim=1).values[:, frame:] if pair == "sop" else whole[:, 1:]
        wanted = batch["ids"].sort(dim=1).values if pair == "sop" else batch["ids"]
        assert torch.equal(of_text[of_text > 4].view(B, -1), wanted[wanted > 4].view(B, -1))
    assert bool((inputs["targets"] > 4).all())


def test_the_number_of_masks_follows_berts_rule() -> None:
    for share, context, hidden in [(0.15, 128, 19), (0.15, 512, 77), (0.4, 32, 12), (0.01, 32, 1)]:
        bert = model(mask_ratio=share, context=context)
        assert make_inputs(bert, {"ids": text(bert)["ids"]})["positions"].shape[1] == hidden


def test_evaluation_masks_the_same_share_whatever_training_does() -> None:
    bert = model(mask_ratio=0.4, eval_mask_ratio=0.15)
    batch, n = text(bert), bert.row_length
    for is_training, hidden in ((True, round(0.4 * n)), (False, round(0.15 * n))):
        assert make_inputs(bert.train(is_training), batch)["positions"].shape[1] == hidden


def test_a_row_of_special_tokens_has_no_targets() -> None:
    bert = model()
    batch = {"ids": text(bert)["ids"]}
    batch["ids"][0] = SPECIALS["unk"]
    inputs = make_inputs(bert, batch)
    assert bool((inputs["targets"][0] == IGNORE_INDEX).all()) and bool((inputs["targets"][1:] > 4).all())
    losses = bert({"ids": batch["ids"][:1]})
    assert losses["loss"] == 0 and losses["masked_accuracy"] == 0


def test_the_same_seed_makes_the_same_inputs() -> None:
    bert = model(sentence_task="nsp", mask_unit="span")
    batch = text(bert)
    first, again, other = (make_inputs(bert, batch, seed) for seed in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["inputs"], other["inputs"])


def test_isolated_documents_do_not_affect_each_other() -> None:
    bert = model(replace=ALL_MASKED).eval()
    batch = text(bert, 1)
    length = bert.row_length
    batch["document"] = (torch.arange(length) >= 10).long()[None]
    inputs = make_inputs(bert, batch)
    assert inputs["document"].tolist() == [[0] * 11 + [1] * (length - 10)]  # [CLS] belongs to the first
    changed = inputs["inputs"].clone()
    changed[:, :11] = 7
    of_second = [bert.network(ids, document=inputs["document"])[:, 11:] for ids in (inputs["inputs"], changed)]
    torch.testing.assert_close(*of_second)


# --- losses ---


@pytest.mark.parametrize("pair", PAIRS)
def test_the_losses_equal_those_of_all_logits(pair: str) -> None:
    bert = model(sentence_task=pair)
    batch = text(bert)
    inputs = make_inputs(bert, batch)
    torch.manual_seed(5)
    losses = bert(batch)
    hidden = bert.network(inputs["inputs"], inputs.get("segment"))  # (B, T, C)
    logits = bert.head(hidden, bert.network.token_table.weight)  # (B, T, V)
    at = torch.stack([logits[row, inputs["positions"][row]] for row in range(B)]).flatten(0, 1)
    targets = inputs["targets"].flatten()
    masked = functional.cross_entropy(at, targets)
    torch.testing.assert_close(losses["masked_accuracy"], (at.argmax(1) == targets).float().mean())
    if pair == "none":
        assert set(losses) == {"loss", "masked_accuracy"}
        torch.testing.assert_close(losses["loss"], masked)
        return
    assert bert.pair_head is not None
    decided = bert.pair_head(hidden)
    pair_loss = functional.cross_entropy(decided, inputs["pair"])
    torch.testing.assert_close(losses["masked_loss"], masked.detach())
    torch.testing.assert_close(losses["pair_loss"], pair_loss.detach())
    torch.testing.assert_close(losses["loss"], masked + pair_loss)
    torch.testing.assert_close(losses["pair_accuracy"], (decided.argmax(1) == inputs["pair"]).float().mean())
    assert [name for name, value in losses.items() if value.requires_grad] == ["loss"]


@pytest.mark.parametrize("is_isolated", [False, True])
def test_a_causal_start_predicts_each_next_token_from_those_before_it(is_isolated: bool) -> None:
    bert = model(causal_start=0.3).train()
    batch: dict[str, Any] = {"ids": text(bert)["ids"], "progress": 0.29}
    if is_isolated:
        batch["document"] = (torch.arange(bert.row_length) >= 10).long().expand(B, -1)
    losses = bert(batch)
    ids = functional.pad(batch["ids"], (1, 0), value=SPECIALS["cls"])
    causal = masked_lm(V, SPECIALS, layers=2, width=16, heads=2, context=CONTEXT).network
    causal.load_state_dict(bert.network.state_dict())
    causal.causal = True
    total = []
    starts = [0, 11] if is_isolated else [0]  # [CLS] belongs to the first document
    for start, stop in zip(starts, [*starts[1:], CONTEXT], strict=True):
        hidden = causal(ids[:, start:stop])[:, :-1]
        logits = bert.head(hidden, bert.network.token_table.weight).flatten(0, 1)
        total.append(functional.cross_entropy(logits, ids[:, start + 1 : stop].flatten(), reduction="none"))
    torch.testing.assert_close(losses["loss"], torch.cat(total).mean())
    assert losses.keys() == {"loss", "causal_loss"} and not bert.network.causal
    assert "masked_accuracy" in bert(batch | {"progress": 0.3})  # later in the run
    assert "masked_accuracy" in bert.eval()(batch) and "masked_accuracy" in bert.train()({"ids": batch["ids"]})


@pytest.mark.parametrize("pair", PAIRS)
def test_gradients_reach_all_parameters(pair: str) -> None:
    bert = model(sentence_task=pair)
    bert(text(bert))["loss"].backward()
    assert [name for name, weight in bert.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_a_masked_token_does_not_affect_the_inputs() -> None:
    """Nor the targets of the others."""
    bert = model(replace=ALL_MASKED).eval()
    batch = text(bert)
    inputs = make_inputs(bert, batch)
    place = inputs["positions"][:, :1] - 1  # in the text, without [CLS]
    other = {"ids": batch["ids"].scatter(1, place, 5 + (batch["ids"].gather(1, place) - 4) % (V - 5))}
    again = make_inputs(bert, other)
    assert torch.equal(inputs["inputs"], again["inputs"])
    assert bool((inputs["targets"][:, 0] != again["targets"][:, 0]).all())
    assert torch.equal(inputs["targets"][:, 1:], again["targets"][:, 1:])


def test_it_learns_a_text_that_repeats_itself() -> None:
    bert = model(positions="learned")  # positions are all there is to learn
    optimizer = torch.optim.AdamW(bert.parameters(), 1e-2)
    batch = {"ids": (5 + torch.arange(bert.row_length) % 7).expand(16, -1)}
    for _ in range(40):
        losses = bert(batch)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    assert losses["loss"] < 0.5  # 4 before training


def test_derived_metrics() -> None:
    bert = model()
    assert bert.derived_metrics({"loss": 3.0, "masked_loss": 2.0}) == {"perplexity": pytest.approx(math.exp(2))}
    assert bert.derived_metrics({"loss": 1e5}) == {"perplexity": math.inf}


# --- predictions ---


def test_mask_logits() -> None:
    bert = model().eval()
    ids = torch.randint(5, V, (3, 10))
    ids[0, 2] = ids[0, 7] = ids[2, 0] = SPECIALS["mask"]
    logits = bert.mask_logits(ids)
    assert logits.shape == (3, V)
    for mask, (row, place) in zip(logits, [(0, 2), (0, 7), (2, 0)], strict=True):
        whole = torch.tensor([[SPECIALS["cls"], *ids[row].tolist(), SPECIALS["sep"]]])
        hidden = bert.network(whole)[0, place + 1]
        torch.testing.assert_close(mask, bert.head(hidden, bert.network.token_table.weight))


def test_an_embedding_is_the_mean_of_the_ordinary_tokens() -> None:
    bert = model().eval()
    ids = text(bert, 2)["ids"][:, :-1]
    ids[0, -1] = SPECIALS["end"]
    framed = functional.pad(functional.pad(ids, (1, 0), value=SPECIALS["cls"]), (0, 1), value=SPECIALS["sep"])
    hidden = bert.network(framed)
    wanted = torch.stack([hidden[0, 1:-2].mean(0), hidden[1, 1:-1].mean(0)])
    torch.testing.assert_close(bert.embed_text({"ids": ids}), wanted)


# --- options ---


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"replace": {"mask": 0.8, "random": 0.1, "keep": 0.2}}, r"model\.replace .* add up to 1, not 1\.1"),
        ({"replace": {"mask": 0.8, "random": 0.2}}, r"model\.replace must have the shares mask, random and keep"),
        ({"sentence_task": "sop", "causal_start": 0.3}, r"causal_start must be 0 with sentence_task=sop"),
        ({"sentence_task": "sop", "segments": 1}, r"model\.network\.segments must be 2 with sentence_task=sop, not 1"),
    ],
)
def test_options_that_contradict_each_other_are_rejected(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        model(**options)


def test_a_tokenizer_without_a_mask_is_rejected() -> None:
    with pytest.raises(InputError, match=r"tokenizer has no mask and no cls token, .* it has sep, unk"):
        masked_lm(V, {"sep": 0, "unk": 1}, size="tiny", context=16)
    with pytest.raises(InputError, match="all of them special"):
        masked_lm(5, SPECIALS, size="tiny", context=16)


def test_its_yaml_has_the_defaults_of_its_signature() -> None:
    node = yaml.safe_load((built_in_conf() / "model" / "bert.yaml").read_text())
    parameters = inspect.signature(MaskedLM).parameters
    assert node.pop("_target_") == "ssl_cli.methods.language.masked_lm.MaskedLM"
    assert set(node) == set(parameters)
    assert all(
        node[name] == parameter.default
        for name, parameter in parameters.items()
        if parameter.default is not parameter.empty
    )
