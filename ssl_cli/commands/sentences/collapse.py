"""Detection of collapse on sentences: the decoder ignores the code, and is a language model without one."""

import numpy as np

from ssl_cli.commands.reconstruct.collapse import (
    MIN_NATS,
    POSTERIOR_COLLAPSE,
    CollapseWarning,
    advice,
    collapsed_posterior,
)
from ssl_cli.commands.sentences.codec import SentenceCodec
from ssl_cli.data.sentences.rows import SentenceRows
from ssl_cli.evaluation.metrics.latents import active_units, mutual_information

MAX_SENTENCES = 2000  # of the training split


def collapse_warnings(codec: SentenceCodec, rows: SentenceRows, seed: int) -> list[CollapseWarning]:
    """Return a warning if the code has next to no information about training sentences: one that training does not use
    is not used at all."""
    if not codec.model.latent:
        return []
    chosen = np.sort(np.random.default_rng([seed, 20]).permutation(len(rows))[:MAX_SENTENCES])
    mean, log_var = codec.posterior(rows.take(chosen))
    kl = (0.5 * (np.square(mean) + np.exp(log_var) - 1 - log_var)).mean(0, dtype=np.float64)
    noise = np.random.default_rng([seed, 21]).standard_normal(mean.shape)
    found = collapsed_posterior(kl, codec.model, "a sentence") or same_for_all(codec, mean, log_var, noise)
    return [] if found is None else [found]


def same_for_all(
    codec: SentenceCodec, mean: np.ndarray, log_var: np.ndarray, noise: np.ndarray
) -> CollapseWarning | None:
    """Warn if posteriors (N, Z) differ from the prior, but not from each other: free bits can be spent on nothing."""
    information, active = mutual_information(mean, log_var, noise), active_units(mean)
    if active and information >= min(MIN_NATS, 0.5 * np.log(len(mean))):
        return None
    return CollapseWarning(
        "posterior collapse",
        f"Posterior collapse: the code hardly says which sentence it is of: it has {information:.3g} nats of mutual "
        f"information with sentences, and {active} of its {mean.shape[1]} units are active. "
        f"{advice(codec.model, POSTERIOR_COLLAPSE, mean.shape[1])}",
    )
