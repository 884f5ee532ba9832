"""On a CPU attention is computed in other ways where its gradient is wanted: with the same result."""

import pytest
import torch

from ssl_cli.models.attention import attend, within_documents


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("in_documents", [False, True])
def test_it_is_the_same_with_and_without_a_gradient(causal: bool, in_documents: bool) -> None:
    q, k, v = torch.randn(3, 2, 4, 17, 8, requires_grad=True).unbind()
    document = torch.tensor([[0] * 5 + [1] * 12, [0] * 17])
    sight = within_documents(document, causal, dropout=0) if in_documents else None
    learned = attend(q, k, v, sight, causal, dropout=0)
    with torch.no_grad():
        read = attend(q, k, v, sight, causal, dropout=0)
    assert learned.requires_grad
    torch.testing.assert_close(learned, read)


def test_attention_is_dropped_only_where_asked() -> None:
    q, k = torch.randn(2, 1, 1, 50, 8, requires_grad=True).unbind()
    v = torch.ones(1, 1, 50, 8)
    torch.testing.assert_close(attend(q, k, v, None, False, dropout=0), v)
    dropped = attend(q, k, v, None, False, dropout=0.5)
    assert dropped.std() > 0.01
    assert 0.7 < dropped.mean() < 1.3
