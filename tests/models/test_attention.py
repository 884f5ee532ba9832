"""A CPU computes attention differently when a gradient is needed; the result is the same."""

import pytest
import torch

from ssl_cli.models.attention import as_numbers, attend, document_mask


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("in_documents", [False, True])
def test_attention_is_the_same_with_and_without_a_gradient(causal: bool, in_documents: bool) -> None:
    q, k, v = torch.randn(3, 2, 4, 17, 8, requires_grad=True).unbind()
    document = torch.tensor([[0] * 5 + [1] * 12, [0] * 17])
    mask = document_mask(document, causal, dropout=0) if in_documents else None
    with_gradient = attend(q, k, v, mask, causal, dropout=0)
    with torch.no_grad():
        without = attend(q, k, v, mask, causal, dropout=0)
    assert with_gradient.requires_grad
    torch.testing.assert_close(with_gradient, without)


def test_attention_is_dropped_only_on_request() -> None:
    q, k = torch.randn(2, 1, 1, 50, 8, requires_grad=True).unbind()
    v = torch.ones(1, 1, 50, 8)
    torch.testing.assert_close(attend(q, k, v, None, False, dropout=0), v)
    dropped = attend(q, k, v, None, False, dropout=0.5)
    assert dropped.std() > 0.01
    assert 0.7 < dropped.mean() < 1.3


@pytest.mark.parametrize("with_gradient", [False, True])
@pytest.mark.parametrize("n_queries", [17, 1])
def test_a_mask_of_numbers_gives_the_same_as_one_of_bool(with_gradient: bool, n_queries: int) -> None:
    q, k, v = torch.randn(3, 2, 4, 17, 8, requires_grad=with_gradient).to(torch.bfloat16).unbind()
    document = torch.tensor([[0] * 5 + [1] * 12, [0] * 17])
    mask = document_mask(document, causal=False, dropout=0)[:, :, :n_queries]
    assert isinstance(mask, torch.Tensor)
    numbers = as_numbers(mask, torch.bfloat16)
    assert isinstance(numbers, torch.Tensor) and numbers.dtype == torch.bfloat16
    results = [attend(q[:, :, :n_queries], k, v, each, False, dropout=0) for each in (mask, numbers)]
    assert torch.equal(*results)
