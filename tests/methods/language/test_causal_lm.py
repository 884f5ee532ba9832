"""CausalLM: its loss against a naive one, causality, isolated documents, and the cache."""

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
from tests.helpers.pretrain_runs import causal_lm

V, CONTEXT, B = 50, 24, 5


def model(**options: Any) -> CausalLM:
    torch.manual_seed(1)
    return causal_lm(V, **{"layers": 2, "width": 16, "heads": 2, "context": CONTEXT, **options})


@pytest.fixture
def ids() -> Tensor:
    return torch.randint(V, (B, CONTEXT + 1), generator=torch.Generator().manual_seed(0))


def all_logits(gpt: CausalLM, inputs: Tensor, document: Tensor | None = None) -> Tensor:
    return gpt.network.logits(gpt.network(inputs, document=document))  # (B, T, V)


def test_the_loss_is_the_mean_over_next_tokens(ids: Tensor) -> None:
    gpt = model()
    inputs = gpt.make_inputs({"ids": ids})
    for row in range(B):
        for place in range(CONTEXT):
            assert inputs["inputs"][row, place] == ids[row, place]
            assert inputs["targets"][row, place] == ids[row, place + 1]
    naive = functional.cross_entropy(all_logits(gpt, ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
    loss = gpt({"ids": ids})["loss"]
    torch.testing.assert_close(loss, naive)
    loss.backward()
    assert [name for name, weight in gpt.named_parameters() if weight.grad is None or not weight.grad.any()] == []


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "rotary"])
def test_no_token_sees_its_target(ids: Tensor, positions: str) -> None:
    gpt, place = model(positions=positions).eval(), 10
    other = ids.clone()
    other[:, place:] = (other[:, place:] + 1) % V
    before, after = (all_logits(gpt, rows[:, :-1]) for rows in (ids, other))
    torch.testing.assert_close(before[:, :place], after[:, :place])
    assert bool((before[:, place:] != after[:, place:]).any(-1).all())


def test_isolated_documents_do_not_affect_each_other(ids: Tensor) -> None:
    """The loss is that of each document of a row alone."""
    gpt, cuts = model().eval(), [0, 7, 8, 20, CONTEXT + 1]
    document = torch.zeros_like(ids)
    for cut in cuts[1:-1]:
        document[:, cut:] += 1
    losses, count = torch.zeros(()), 0
    for first, last in pairwise(cuts):
        alone = ids[:, first:last]
        if alone.shape[1] > 1:  # a document of one token has no target
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


def test_derived_metrics() -> None:
    derived = model().derived_metrics({"loss": 2.0})  # 4 bytes a token
    assert derived == {"perplexity": pytest.approx(math.exp(2)), "bits_per_byte": pytest.approx(2 / math.log(2) / 4)}
    of_lossy_tokenizer = CausalLM(model().network, None).derived_metrics({"loss": 2.0})
    assert of_lossy_tokenizer == {"perplexity": pytest.approx(math.exp(2))}


def test_the_next_token_is_the_same_with_a_cache(ids: Tensor) -> None:
    gpt = model().eval()
    whole = all_logits(gpt, ids[:, :12])
    torch.testing.assert_close(gpt.next_logits(ids[:, :12]), whole[:, -1])
    cache = gpt.network.new_cache(B)
    torch.testing.assert_close(gpt.next_logits(ids[:, :10], cache), whole[:, 9])
    torch.testing.assert_close(gpt.next_logits(ids[:, 10:12], cache), whole[:, 11])


def test_its_yaml_has_the_defaults_of_its_signature() -> None:
    node = yaml.safe_load((built_in_conf() / "model" / "gpt.yaml").read_text())
    assert node.pop("defaults")[-1] == "_self_"
    parameters = inspect.signature(CausalLM).parameters
    assert node.pop("_target_") == "ssl_cli.methods.language.causal_lm.CausalLM"
    assert set(node) == set(parameters)
    assert all(
        node[name] == parameter.default
        for name, parameter in parameters.items()
        if parameter.default is not parameter.empty
    )
