"""Constraints on the next token, against naive transcriptions."""

import pytest
import torch

from ssl_cli.models.generation.constraints import Constraints, ban_repeated_ngrams

V = 6


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_no_n_gram_is_repeated(n: int) -> None:
    earlier = torch.randint(3, (8, 12), generator=torch.Generator().manual_seed(0))
    earlier[:2, :4] = -1  # rows that begin with padding
    scores = torch.randn(8, V)
    found = ban_repeated_ngrams(scores, earlier, n)
    n_banned = 0
    for row, tokens in enumerate(earlier.tolist()):
        text = [token for token in tokens if token >= 0]
        known = {tuple(text[k : k + n]) for k in range(len(text) - n + 1)}
        for token in range(V):
            banned = tuple([*text[len(text) - n + 1 :], token]) in known
            assert found[row, token] == (-torch.inf if banned else scores[row, token])
            n_banned += banned
    assert 0 < n_banned < 8 * V
    assert torch.equal(ban_repeated_ngrams(scores, earlier[:, : n - 1], n), scores), "nothing can be repeated yet"


def test_what_may_come_next() -> None:
    scores = torch.randn(3, V).log_softmax(1)
    rules = Constraints.of([0, 3], 2, scores.device, other_ends=[4, 5], min_tokens=2, forces_end=True)
    early, later, last = (rules.apply(scores.clone(), None, n_written=n, is_last=n == 9) for n in (1, 2, 9))
    never = torch.full((3,), -torch.inf)
    for allowed in (early, later):
        assert all(torch.equal(allowed[:, token], never) for token in (0, 3, 4, 5))
        assert torch.equal(allowed[:, 1], scores[:, 1])
    assert torch.equal(early[:, 2], never)
    torch.testing.assert_close(later[:, 2].exp(), scores[:, [2, 4, 5]].exp().sum(1))
    assert torch.equal(last.exp(), torch.eye(V)[2].expand(3, V))
