"""Scores on one scale: how improbable a score is among those of the training rows."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

KNOTS = 128  # at which the distribution of the reference scores is kept
BODY = 0.9  # share of the reference scores that are counted; beyond them, the tail is exponential
MIN_SCALE_SHARE = 1e-3  # least scale of the tail, as a share of the mean absolute score


class TailProbability:
    """Minus the logarithm of the probability that a training row scores at least as high.

    `fit` counts up to the quantile `BODY` of reference scores; beyond, the excess over this quantile is exponential
    with the mean of theirs (as in extreme value theory: Pickands, 1975), so that scores far out stay in order.
    """

    def fit(self, scores: Tensor) -> "TailProbability":
        """Fit to reference scores (R,), and return this."""
        ordered = scores.double().sort().values
        n = len(ordered)
        edge = ordered[min(int(BODY * n), n - 1)]
        above = ordered[ordered > edge]
        body = ordered[ordered <= edge].unique()
        self.knots = body[torch.linspace(0, len(body) - 1, min(KNOTS, len(body))).round().long()]  # (K,)
        at_least = n - torch.searchsorted(ordered, self.knots)  # (K,)
        self.values = -((at_least + 1) / (n + 1)).double().log()  # (K,)
        self.start = -torch.tensor((len(above) + 1) / (n + 1), dtype=torch.float64).log()
        mean_excess = (above - edge).mean() if len(above) else torch.zeros((), dtype=torch.float64)
        # Scores are logarithms of probabilities or distances: of n rows, differences below 1 / n say nothing.
        self.scale = torch.maximum(mean_excess, MIN_SCALE_SHARE * ordered.abs().mean()).clamp(min=1 / n)
        return self

    def __call__(self, scores: Tensor) -> Tensor:
        """Return minus the log probability (B,) float64 of scores (B,)."""
        s = scores.double()
        right = torch.searchsorted(self.knots, s).clamp(1, max(len(self.knots) - 1, 1))
        left, right = right - 1, right.clamp(max=len(self.knots) - 1)
        width = (self.knots[right] - self.knots[left]).clamp(min=1e-300)
        weight = ((s - self.knots[left]) / width).clamp(0, 1)
        in_body = torch.lerp(self.values[left], self.values[right], weight)
        return torch.where(s > self.knots[-1], self.start + (s - self.knots[-1]) / self.scale, in_body)

    def state(self) -> dict[str, Tensor]:
        """Return the arrays to save."""
        return {"knots": self.knots, "values": self.values, "tail": torch.stack([self.start, self.scale])}

    def load(self, state: Mapping[str, Tensor]) -> "TailProbability":
        """Take the arrays of `state`, and return this."""
        self.knots, self.values, (self.start, self.scale) = state["knots"], state["values"], state["tail"]
        return self


def harmonic_mean(log_probabilities: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return minus the log of the weighted harmonic mean (B,) of probabilities, given minus their logs, (B,) each.

    The harmonic mean of p-values stays valid up to a small factor whatever they depend on (Wilson, PNAS 2019): it is
    low if any of them is very low, and is not diluted by those that are not.
    """
    total = torch.tensor(weights, dtype=torch.float64)
    terms = torch.stack(list(log_probabilities)) + (total / total.sum()).log()[:, None]  # (T, B)
    return terms.logsumexp(0)
