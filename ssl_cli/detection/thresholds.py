"""From scores to decisions: rows that score above a threshold are flagged.

Every rule says what it promises, so that the report can hold it against what was realised.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from ssl_cli.errors import InputError


@dataclass(frozen=True)
class Threshold:
    """`value` flags what scores above it. `promised_fpr` is None for a rule that promises nothing."""

    rule: str
    value: float
    promise: str
    promised_fpr: float | None = None
    warning: str | None = None


def p_values(calibration: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Split-conformal p-values, (N,): the share of calibration scores (and the row's own) at least as large.

    For a normal row exchangeable with the calibration rows, P(p <= a) <= a for every a (Vovk et al., 2005;
    Bates et al., arXiv 2104.08279, eq. 1).
    """
    below = np.searchsorted(np.sort(calibration), scores, side="left")
    return (1 + len(calibration) - below) / (1 + len(calibration))


def choose_threshold(
    rule: str | float, fpr: float, calibration: np.ndarray, dev: tuple[np.ndarray, np.ndarray] | None = None
) -> Threshold:
    """The threshold of a rule: `auto`, `f1`, `q0.995`, or a number taken as it is.

    `calibration` (N,) are scores of held-out training rows; `dev` are scores and anomaly labels, for f1.
    Raises InputError for scores that can carry no threshold, and for f1 without labels.
    """
    refuse_degenerate("calibration", calibration)
    if rule == "auto":
        return _conformal(fpr, calibration)
    if rule == "f1":
        if dev is None or not dev[1].any() or dev[1].all():
            raise InputError(
                "threshold=f1 needs labelled normal rows and anomalies in the data; without labels use threshold=auto."
            )
        return _best_f1(*dev)
    if isinstance(rule, str):
        return _quantile(rule, calibration)
    return Threshold("number", float(rule), "a number given by hand: no promise")


def _conformal(fpr: float, calibration: np.ndarray) -> Threshold:
    """Flag p-values of at most `fpr`: scores above the k-th largest of n for calibration, k = floor(fpr (n + 1))."""
    n = len(calibration)
    k = int(np.floor(fpr * (n + 1) + 1e-9))
    warning = None
    if k < 1:
        k = 1
        warning = (
            f"{n} calibration rows can't hold a false-positive rate of {fpr:.2%}: "
            f"that takes {int(np.ceil(1 / fpr)) - 1}. The threshold holds the least they can, {1 / (n + 1):.2%}; "
            "more rows, a larger data.calibration or a larger fpr would do."
        )
    promised = k / (n + 1)
    # Given these calibration rows the realised rate is Beta(k, n + 1 - k) (Vovk, 2012; Bates et al., section 2).
    low, high = beta.ppf([0.025, 0.975], k, n + 1 - k)
    promise = (
        f"split-conformal, no labels used: of normal rows like the {n} calibration rows, at most {promised:.2%} are "
        f"flagged on average over draws of them; for 95 % of the draws it is between {low:.2%} and {high:.2%}"
    )
    return Threshold("auto", float(np.sort(calibration)[n - k]), promise, promised, warning)


def _best_f1(scores: np.ndarray, anomaly: np.ndarray) -> Threshold:
    """The threshold, midway between two scores, with the largest F1 on the development rows."""
    refuse_degenerate("development", scores)
    levels, inverse = np.unique(scores, return_inverse=True)
    flagged = np.cumsum(np.bincount(inverse)[::-1])[::-1]  # rows scoring at or above each level
    hits = np.cumsum(np.bincount(inverse, weights=anomaly)[::-1])[::-1]
    f1 = 2 * hits / (flagged + anomaly.sum())
    best = int(np.argmax(f1))
    below = levels[best - 1] if best else np.nextafter(levels[0], -np.inf)
    promise = (
        f"labels were used: the largest F1 ({f1[best]:.3f}) on {len(scores)} labelled development rows, "
        f"{int(anomaly.sum())} of them anomalies, which are not in the test; no promise on false positives"
    )
    return Threshold("f1", float((below + levels[best]) / 2), promise)


def _quantile(rule: str, calibration: np.ndarray) -> Threshold:
    share = float(rule.removeprefix("q"))
    value = float(np.quantile(calibration, share, method="higher"))
    promise = (
        f"the {share:g} quantile of {len(calibration)} calibration scores, no labels used: "
        f"about {1 - share:.2%} of normal rows, no guarantee"
    )
    few = len(calibration) * (1 - share) < 1
    warning = f"{len(calibration)} calibration scores have no {share:g} quantile but their largest." if few else None
    return Threshold(rule, value, promise, warning=warning)


def refuse_degenerate(split: str, scores: np.ndarray) -> None:
    """Raise InputError for scores that are not finite or all the same: no threshold can mean anything then."""
    bad = int((~np.isfinite(scores)).sum())
    if bad:
        raise InputError(
            f"{bad} of {len(scores)} {split} scores are NaN or infinite: the model diverged. "
            "Try a smaller optim.lr or trainer.gradient_clip_val=1."
        )
    if len(scores) > 1 and np.ptp(scores) == 0:
        raise InputError(
            f"All {len(scores)} {split} scores are {scores[0]:g}: the model tells no row from another, "
            "so no threshold has a meaning. Train longer, or try another model."
        )
