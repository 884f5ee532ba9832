"""What a variational code holds: mutual information with the data, and active units."""

import numpy as np

ACTIVE_VARIANCE = 0.01  # of a posterior mean over the data, from which a unit is active
CHUNK_ROWS = 256


def active_units(mean: np.ndarray) -> int:
    """Return how many numbers of the code change with the data: posterior means (N, Z) (arXiv 1509.00519, sec. 5)."""
    return int((mean.var(0) > ACTIVE_VARIANCE).sum())


def mutual_information(mean: np.ndarray, log_var: np.ndarray, noise: np.ndarray) -> float:
    """Return the mutual information of the data and the code in nats, from Gaussian posteriors (N, Z).

    That is the mean KL divergence from the prior less that of the aggregated posterior (Hoffman and Johnson, 2016), as
    arXiv 1901.05534 estimates it: E[log q(z|x)] - E[log q(z)], with a draw of each posterior by `noise` (N, Z), and as
    q(z) the mixture of all N posteriors. It is at most log N: with few rows it is too small.
    """
    z = mean + np.exp(0.5 * log_var) * noise
    own = -0.5 * (np.square(noise) + log_var).sum(1)  # log q(z|x) without its constant, which both terms have
    precision, mixture = np.exp(-log_var), np.empty(len(mean))
    for first in range(0, len(mean), CHUNK_ROWS):
        some = z[first : first + CHUNK_ROWS, None] - mean  # (n, N, Z)
        log_q = -0.5 * (np.square(some) * precision + log_var).sum(2)  # (n, N)
        mixture[first : first + CHUNK_ROWS] = np.logaddexp.reduce(log_q, axis=1) - np.log(len(mean))
    return float((own - mixture).mean())
