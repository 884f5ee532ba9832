"""BERT's objective: its losses against naive ones, what it sees and must say, and what it refuses."""

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
from ssl_cli.models.losses import IGNORED

SPECIALS = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "end": 3}
V, CONTEXT, B = 60, 32, 6
PAIRS = ["none", "nsp", "sop"]
ALL_MASKED = {"mask": 1.0, "random": 0.0, "keep": 0.0}


def model(**options: Any) -> MaskedLM:
    torch.manual_seed(1)
    return MaskedLM(V, SPECIALS, **{"size": None, "layers": 2, "width": 16, "heads": 2, "context": CONTEXT, **options})


def text(of: MaskedLM, n: int = B) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = n, of.row_length
    return {
        "ids": torch.randint(5, V, shape, generator=generator),
        "starts": torch.rand(shape, generator=generator) < 0.6,
        "sentence_ends": torch.rand(shape, generator=generator) < 0.2,
        "document_id": torch.arange(n),
    }


def prepared(of: MaskedLM, batch: dict[str, Tensor], seed: int = 5) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return of.make_inputs(batch)


# --- what it sees and must say ---


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("mask", ["token", "whole_word", "span"])
def test_rows_fill_the_context_and_targets_are_what_was_hidden(pair: str, mask: str) -> None:
    bert = model(pair=pair, mask=mask, replace=ALL_MASKED)
    batch = text(bert)
    batch["ids"][:, -1] = SPECIALS["end"]
    given = prepared(bert, {name: batch[name] for name in bert.reads})
    hidden = round(0.15 * bert.row_length)
    assert given["inputs"].shape == (B, CONTEXT)
    assert given["positions"].shape == given["targets"].shape == (B, hidden)
    assert bool((given["inputs"].gather(1, given["positions"]) == SPECIALS["mask"]).all())
    assert (given["inputs"] == SPECIALS["mask"]).sum() == B * hidden
    whole = given["inputs"].scatter(1, given["positions"], given["targets"])
    assert bool((whole[:, 0] == SPECIALS["cls"]).all())
    frame = {"none": 1, "nsp": 3, "sop": 3}[pair]
    if pair != "nsp":  # the very tokens of the row; the second text of nsp may be another row's
        of_text = whole.sort(dim=1).values[:, frame:] if pair == "sop" else whole[:, 1:]
        wanted = batch["ids"].sort(dim=1).values if pair == "sop" else batch["ids"]
        assert torch.equal(of_text[of_text > 4].view(B, -1), wanted[wanted > 4].view(B, -1))
    assert bool((given["targets"] > 4).all())


def test_as_many_are_hidden_as_berts_rule_says() -> None:
    for share, context, hidden in [(0.15, 128, 19), (0.15, 512, 77), (0.4, 32, 12), (0.01, 32, 1)]:
        bert = model(share=share, context=context)
        assert prepared(bert, {"ids": text(bert)["ids"]})["positions"].shape[1] == hidden


def test_a_row_of_special_tokens_alone_has_nothing_to_say() -> None:
    bert = model()
    batch = {"ids": text(bert)["ids"]}
    batch["ids"][0] = SPECIALS["unk"]
    given = prepared(bert, batch)
    assert bool((given["targets"][0] == IGNORED).all()) and bool((given["targets"][1:] > 4).all())
    losses = bert({"ids": batch["ids"][:1]})
    assert losses["loss"] == 0 and losses["masked_accuracy"] == 0


def test_the_same_seed_prepares_the_same_and_gives_the_same_loss() -> None:
    bert = model(pair="nsp", mask="span")
    batch = text(bert)
    first, again, other = (prepared(bert, batch, seed) for seed in (5, 5, 6))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["inputs"], other["inputs"])


def test_documents_that_are_kept_apart_see_nothing_of_each_other() -> None:
    bert = model(replace=ALL_MASKED).eval()
    batch = text(bert, 1)
    length = bert.row_length
    batch["document"] = (torch.arange(length) >= 10).long()[None]
    given = prepared(bert, batch)
    assert given["document"].tolist() == [[0] * 11 + [1] * (length - 10)]  # [CLS] is of the first
    changed = given["inputs"].clone()
    changed[:, :11] = 7
    of_second = [bert.network(ids, document=given["document"])[:, 11:] for ids in (given["inputs"], changed)]
    torch.testing.assert_close(*of_second)


# --- losses ---


@pytest.mark.parametrize("pair", PAIRS)
def test_the_losses_are_those_of_all_logits(pair: str) -> None:
    bert = model(pair=pair)
    batch = text(bert)
    given = prepared(bert, batch)
    torch.manual_seed(5)
    losses = bert(batch)
    hidden = bert.network(given["inputs"], given.get("segment"))  # (B, T, C)
    logits = bert.head(hidden, bert.network.token_table.weight)  # (B, T, V)
    at = torch.stack([logits[row, given["positions"][row]] for row in range(B)]).flatten(0, 1)
    targets = given["targets"].flatten()
    masked = functional.cross_entropy(at, targets)
    torch.testing.assert_close(losses["masked_accuracy"], (at.argmax(1) == targets).float().mean())
    if pair == "none":
        assert set(losses) == {"loss", "masked_accuracy"}
        torch.testing.assert_close(losses["loss"], masked)
        return
    assert bert.pair_head is not None
    decided = bert.pair_head(hidden)
    pair_loss = functional.cross_entropy(decided, given["pair"])
    torch.testing.assert_close(losses["masked_loss"], masked.detach())
    torch.testing.assert_close(losses["pair_loss"], pair_loss.detach())
    torch.testing.assert_close(losses["loss"], masked + pair_loss)
    torch.testing.assert_close(losses["pair_accuracy"], (decided.argmax(1) == given["pair"]).float().mean())
    assert [name for name, value in losses.items() if value.requires_grad] == ["loss"]


@pytest.mark.parametrize("pair", PAIRS)
def test_every_weight_learns(pair: str) -> None:
    bert = model(pair=pair)
    bert(text(bert))["loss"].backward()
    assert [name for name, weight in bert.named_parameters() if weight.grad is None or not weight.grad.any()] == []


def test_what_is_guessed_does_not_reach_the_guess() -> None:
    """Nor does it change the loss of the others: with [MASK] in its place a target is only a target."""
    bert = model(replace=ALL_MASKED).eval()
    batch = text(bert)
    given = prepared(bert, batch)
    place = given["positions"][:, :1] - 1  # in the text, without [CLS]
    other = {"ids": batch["ids"].scatter(1, place, 5 + (batch["ids"].gather(1, place) - 4) % (V - 5))}
    again = prepared(bert, other)
    assert torch.equal(given["inputs"], again["inputs"])
    assert bool((given["targets"][:, 0] != again["targets"][:, 0]).all())
    assert torch.equal(given["targets"][:, 1:], again["targets"][:, 1:])


def test_it_learns_a_text_that_repeats_itself() -> None:
    bert = model(positions="learned")  # what stands where is all there is to learn
    optimizer = torch.optim.AdamW(bert.parameters(), 1e-2)
    batch = {"ids": (5 + torch.arange(bert.row_length) % 7).expand(16, -1)}
    for _ in range(40):
        losses = bert(batch)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
    assert losses["loss"] < 0.5  # of 4 where it knows nothing


def test_figures_that_follow_from_the_losses() -> None:
    bert = model()
    assert bert.derived_metrics({"loss": 3.0, "masked_loss": 2.0}) == {"perplexity": pytest.approx(math.exp(2))}
    assert bert.derived_metrics({"loss": 1e5}) == {"perplexity": math.inf}


# --- what it says of text ---


def test_it_predicts_each_mask_of_a_text() -> None:
    bert = model().eval()
    ids = torch.randint(5, V, (3, 10))
    ids[0, 2] = ids[0, 7] = ids[2, 0] = SPECIALS["mask"]
    logits = bert.mask_logits(ids)
    assert logits.shape == (3, V)
    for found, (row, place) in zip(logits, [(0, 2), (0, 7), (2, 0)], strict=True):
        whole = torch.tensor([[SPECIALS["cls"], *ids[row].tolist(), SPECIALS["sep"]]])
        hidden = bert.network(whole)[0, place + 1]
        torch.testing.assert_close(found, bert.head(hidden, bert.network.token_table.weight))


def test_a_text_is_the_mean_of_its_ordinary_tokens() -> None:
    bert = model().eval()
    ids = text(bert, 2)["ids"]
    ids[0, -1] = SPECIALS["end"]
    hidden = bert.network(functional.pad(ids, (1, 0), value=SPECIALS["cls"]))
    wanted = torch.stack([hidden[0, 1:-1].mean(0), hidden[1, 1:].mean(0)])
    torch.testing.assert_close(bert.embed({"ids": ids}), wanted)


# --- what it refuses, and what its YAML says ---


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"replace": {"mask": 0.8, "random": 0.1, "keep": 0.2}}, r"model\.replace .* add up to 1, not 1\.1"),
        ({"replace": {"mask": 0.8, "random": 0.2}}, r"model\.replace must have the shares mask, random and keep"),
        ({"pair": "sop", "segments": 1}, r"model\.segments must be 2 with pair=sop, not 1"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        model(**options)


def test_a_tokenizer_without_a_mask_is_refused() -> None:
    with pytest.raises(InputError, match=r"tokenizer has no mask and no cls token, .* it has sep, unk"):
        MaskedLM(V, {"sep": 0, "unk": 1}, size="tiny")
    with pytest.raises(InputError, match="all of them special"):
        MaskedLM(5, SPECIALS, size="tiny")


def test_its_yaml_says_what_its_signature_says() -> None:
    said = yaml.safe_load((built_in_conf() / "model" / "bert.yaml").read_text())
    parameters = inspect.signature(MaskedLM).parameters
    assert said.pop("_target_") == "ssl_cli.methods.language.masked_lm.MaskedLM"
    assert set(said) == set(parameters)
    assert all(said[name] == of.default for name, of in parameters.items() if of.default is not of.empty)
