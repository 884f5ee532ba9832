"""GPT's objective: its loss against the naive one, causality, documents kept apart, and its cache."""

import inspect
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor
from torch.nn import functional

from ssl_cli.config.choices import built_in_conf
from ssl_cli.methods.language.causal_lm import CausalLM

V, CONTEXT, B = 50, 24, 5


def model(**options: Any) -> CausalLM:
    torch.manual_seed(1)
    return CausalLM(V, 4.0, **{"size": None, "layers": 2, "width": 16, "heads": 2, "context": CONTEXT, **options})


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(V, (B, CONTEXT + 1), generator=torch.Generator().manual_seed(0))


def all_logits(gpt: CausalLM, inputs: Tensor, document: Tensor | None = None) -> Tensor:
    return gpt.network.logits(gpt.network(inputs, document=document))  # (B, T, V)


def test_the_loss_is_that_of_each_next_token(ids: Tensor) -> None:
    gpt = model()
    given = gpt.make_inputs({"ids": ids})
    for row in range(B):
        for place in range(CONTEXT):
            assert given["inputs"][row, place] == ids[row, place]
            assert given["targets"][row, place] == ids[row, place + 1]
    naive = functional.cross_entropy(all_logits(gpt, ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    loss = gpt({"ids": ids})["loss"]
    torch.testing.assert_close(loss, naive)
    loss.backward()
    assert [name for name, weight in gpt.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_no_token_sees_what_it_must_guess(ids: Tensor, positions: str) -> None:
    gpt, place = model(positions=positions).eval(), 10
    other = ids.clone()
    other[:, place:] = (other[:, place:] + 1) % V
    before, after = (all_logits(gpt, rows[:, :-1]) for rows in (ids, other))
    torch.testing.assert_close(before[:, :place], after[:, :place])
    assert bool((before[:, place:] != after[:, place:]).any(-1).all())


def test_documents_that_are_kept_apart_say_nothing_of_each_other(ids: Tensor) -> None:
    """The loss is as if each document of a row had come by itself."""
    gpt, cuts = model().eval(), [0, 7, 8, 20, CONTEXT + 1]
    document = torch.zeros_like(ids)
    for cut in cuts[1:-1]:
        document[:, cut:] += 1
    losses, count = torch.zeros(()), 0
    for first, last in pairwise(cuts):
        alone = ids[:, first:last]
        if alone.shape[1] > 1:  # a document of one token has nothing to guess from
            logits = all_logits(gpt, alone[:, :-1]).flatten(0, 1)
            losses += functional.cross_entropy(logits, alone[:, 1:].flatten(), reduction="sum")
            count += alone[:, 1:].numel()
    assert count == B * (CONTEXT - 3)
    loss = gpt({"ids": ids, "document": document})["loss"]
    torch.testing.assert_close(loss, losses / count)
    weights = list(gpt.parameters())
    for ours, naive in zip(
        torch.autograd.grad(loss, weights), torch.autograd.grad(losses / count, weights), strict=True
    ):
        torch.testing.assert_close(ours, naive, atol=1e-6, rtol=1e-4)


def test_figures_that_follow_from_the_loss() -> None:
    derived = model().derived_metrics({"loss": 2.0})  # 4 bytes a token
    assert derived == {"perplexity": pytest.approx(math.exp(2)), "bits_per_byte": pytest.approx(2 / math.log(2) / 4)}
    of_lost_text = CausalLM(V, None, size="tiny").derived_metrics({"loss": 2.0})
    assert of_lost_text == {"perplexity": pytest.approx(math.exp(2))}


def test_the_next_token_is_the_same_with_a_cache(ids: Tensor) -> None:
    gpt = model().eval()
    whole = all_logits(gpt, ids[:, :12])
    torch.testing.assert_close(gpt.next_logits(ids[:, :12]), whole[:, -1])
    cache = gpt.network.cache(B)
    torch.testing.assert_close(gpt.next_logits(ids[:, :10], cache), whole[:, 9])
    torch.testing.assert_close(gpt.next_logits(ids[:, 10:12], cache), whole[:, 11])


def test_its_yaml_says_what_its_signature_says() -> None:
    said = yaml.safe_load((built_in_conf() / "model" / "gpt.yaml").read_text())
    assert said.pop("defaults")[-1] == "_self_"
    parameters = inspect.signature(CausalLM).parameters
    assert said.pop("_target_") == "ssl_cli.methods.language.causal_lm.CausalLM"
    assert set(said) == set(parameters)
    assert all(said[name] == of.default for name, of in parameters.items() if of.default is not of.empty)
