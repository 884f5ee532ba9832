"""Thresholds: from anomaly scores to decisions. Rows that score above a threshold are flagged.

Every rule states what it promises, so that the report can compare the promise with what was realised.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from ssl_cli.errors import InputError

CONFORMAL = ("auto", "fdr")  # the rules that compare a row with the calibration scores


@dataclass(frozen=True)
class Threshold:
    """A threshold `value`: scores above it are flagged.

    The nominal rates are None if the rule has none. `guaranteed` is true if a theorem guarantees the nominal rate at
    any sample size.
    """

    rule: str
    value: float
    promise: str
    nominal_fpr: float | None = None
    nominal_fdr: float | None = None
    guaranteed: bool = False
    warning: str | None = None


@dataclass(frozen=True)
class Calibration:
    """Scores (n,) of normal rows, from a model that was not trained on them.

    If `held_out`, they come from the model that scores new rows (split-conformal). Otherwise they come from `folds`
    models, each fitted without the row's fold, while the model that scores new rows has seen all rows (cross-fitted).
    Then no row is lost, but no theorem holds.
    """

    scores: np.ndarray
    held_out: bool = True
    folds: int = 0


def p_values(calibration: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return conformal p-values, (N,): the share of calibration scores (and the row's own) at least as large.

    For a normal row exchangeable with held-out calibration rows, P(p <= a) <= a for every a (Vovk et al., 2005;
    Bates et al., arXiv 2104.08279, eq. 1).
    """
    return (1 + counts_above(np.sort(calibration), scores)) / (1 + len(calibration))


def counts_above(ordered: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return how many of the calibration scores are at least as large as each score, (N,).

    `ordered` (n,) are the calibration scores in ascending order.
    """
    return len(ordered) - np.searchsorted(ordered, scores, side="left")


def flagged_by_fdr(calibration: np.ndarray, scores: np.ndarray, fdr: float) -> np.ndarray:
    """Return which of the rows Benjamini and Hochberg's procedure flags when it judges them together, (N,) bool."""
    above = counts_above(np.sort(calibration), scores)
    return above <= benjamini_hochberg(np.bincount(above, minlength=len(calibration) + 1), fdr)


def benjamini_hochberg(counts: np.ndarray, fdr: float) -> int:
    """Return how many calibration scores may be at least as large as a flagged row's; -1 if no row is flagged.

    `counts` (n + 1,): how many rows have c = 0 ... n calibration scores at least as large, that is, the p-value
    (1 + c) / (n + 1). Rows are flagged up to the largest p-value that is at most `fdr` times the share of rows at or
    below it (Benjamini and Hochberg, 1995, eq. 1). Only counts of p-values are needed, so files can be of any size.
    """
    p = np.arange(1, len(counts) + 1) / len(counts)
    rejected = np.cumsum(counts)
    holds = np.flatnonzero((counts > 0) & (p * rejected[-1] <= fdr * rejected * (1 + 1e-12)))
    return int(holds[-1]) if len(holds) else -1


def min_calibration_rows(rule: str | float, fpr: float, fdr: float) -> int:
    """Return how many calibration rows a rule needs for its rate; 1 if its threshold does not depend on them.

    For `auto`, as many as `fpr` takes; for `fdr`, as many as let it flag a single row in a hundred; for a quantile, as
    many as have a score above it.
    """
    if rule == "auto":
        return _round_up(1 / fpr) - 1
    if rule == "fdr":
        return _round_up(100 / fdr) - 1
    return _round_up(1 / (1 - _share(rule))) if isinstance(rule, str) and rule != "f1" else 1


def choose_threshold(
    rule: str | float,
    calibration: Calibration,
    test: np.ndarray,
    fpr: float = 0.01,
    fdr: float = 0.1,
    dev: tuple[np.ndarray, np.ndarray] | None = None,
) -> Threshold:
    """Return the threshold of a rule: `auto`, `fdr`, `f1`, a quantile such as `q0.995`, or a number.

    `test` (N,) are the scores of the rows to be judged, which only `fdr` uses. `dev` are scores and anomaly labels for
    f1. Raises InputError for scores that allow no threshold, and for f1 without labels.
    """
    check_scores("calibration", calibration.scores)
    if rule == "auto":
        return _conformal(fpr, calibration)
    if rule == "fdr":
        return _false_discovery(fdr, calibration, test)
    if rule == "f1":
        if dev is None or not dev[1].any() or dev[1].all():
            raise InputError(
                "threshold=f1 needs labelled normal rows and anomalies in the data; without labels use threshold=auto."
            )
        return _best_f1(*dev)
    if isinstance(rule, str):
        return _quantile(rule, calibration.scores)
    return Threshold("number", float(rule), "set by the user: no promise")


def _conformal(fpr: float, calibration: Calibration) -> Threshold:
    """Flag p-values of at most `fpr`: scores above the k-th largest of n for calibration, k = floor(fpr (n + 1))."""
    n = len(calibration.scores)
    k = min(int(np.floor(fpr * (n + 1) + 1e-9)), n)
    warning = None
    if k < 1:
        k = 1
        remedies = "calibrate=cross, a larger data.calibration" if calibration.held_out else "a larger table"
        warning = (
            f"{n} calibration rows can't hold a false-positive rate of {fpr:.2%}: "
            f"that takes {_round_up(1 / fpr) - 1}. The threshold holds {1 / (n + 1):.2%}, the lowest rate they "
            f"allow. More rows, {remedies} or a larger fpr would help."
        )
    nominal = k / (n + 1)
    # Given these calibration rows the realised rate is Beta(k, n + 1 - k) (Vovk, 2012; Bates et al., section 2).
    low, high = beta.ppf([0.025, 0.975], k, n + 1 - k)
    if calibration.held_out:
        promise = (
            f"split-conformal, no labels used: of normal rows like the {n} calibration rows, at most {nominal:.2%} "
            f"are flagged on average over draws of the calibration rows; for 95 % of the draws the rate is between "
            f"{low:.2%} and {high:.2%}"
        )
    else:
        promise = (
            f"cross-fitted, no labels used: the target is {nominal:.2%} of normal rows, estimated from "
            f"{_cross_fitted_caveat(calibration)}"
        )
    value = float(np.sort(calibration.scores)[n - k])
    return Threshold("auto", value, promise, nominal, guaranteed=calibration.held_out, warning=warning)


def _false_discovery(fdr: float, calibration: Calibration, test: np.ndarray) -> Threshold:
    """Apply Benjamini and Hochberg's procedure to the conformal p-values of the test rows."""
    n, rows = len(calibration.scores), len(test)
    ordered = np.sort(calibration.scores)
    above = benjamini_hochberg(np.bincount(counts_above(ordered, test), minlength=n + 1), fdr)
    # A p-value of 1 is never at most fdr < 1, so above < n. If no row is flagged, the threshold is the largest score.
    value = float(ordered[n - 1 - above]) if above >= 0 else float(max(ordered[-1], test.max()))
    min_flagged = _round_up(rows / (fdr * (n + 1)))  # the smallest p-value is 1 / (n + 1)
    warning = None
    if min_flagged > 1:
        remedy = f"More calibration rows{' (calibrate=cross)' * calibration.held_out} would help."
        limit = f"only {min_flagged} rows or more at once, never fewer" if min_flagged <= rows else "no row at all"
        warning = f"{n} calibration rows among {rows} test rows can flag at fdr={fdr:g} {limit}. {remedy}"
    if calibration.held_out:
        promise = (
            f"Benjamini-Hochberg on split-conformal p-values of the {rows} test rows, no labels used: of the rows "
            f"flagged, at most {fdr:.2%} are normal rows like the {n} calibration rows, on average over draws of both"
        )
    else:
        promise = (
            f"Benjamini-Hochberg on cross-fitted p-values of the {rows} test rows, no labels used: "
            f"the target is {fdr:.2%} normal rows among the flagged ones, estimated from "
            f"{_cross_fitted_caveat(calibration)}"
        )
    return Threshold("fdr", value, promise, nominal_fdr=fdr, guaranteed=calibration.held_out, warning=warning)


def _cross_fitted_caveat(calibration: Calibration) -> str:
    return (
        f"{len(calibration.scores)} out-of-fold scores ({calibration.folds} folds). The models that gave them are not "
        "the model that scores, so the finite-sample bound of split-conformal does not carry over: nothing is "
        "guaranteed. The less a model changes when a fold is left out, the closer the rate is to the nominal one"
    )


def _best_f1(scores: np.ndarray, anomaly: np.ndarray) -> Threshold:
    """Return the threshold, midway between two scores, with the largest F1 on the development rows."""
    check_scores("development", scores)
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
    share = _share(rule)
    value = float(np.quantile(calibration, share, method="higher"))
    promise = (
        f"the {share:g} quantile of {len(calibration)} calibration scores, no labels used: "
        f"about {1 - share:.2%} of normal rows are flagged, without guarantee"
    )
    is_largest = len(calibration) < _round_up(1 / (1 - share))
    warning = (
        f"{len(calibration)} calibration scores are too few for a {share:g} quantile: the largest score is used."
        if is_largest
        else None
    )
    return Threshold(rule, value, promise, warning=warning)


def _share(rule: str) -> float:
    """Return the share of a quantile such as q0.995."""
    return float(rule.removeprefix("q"))


def _round_up(number: float) -> int:
    """Return the whole number that is at least `number`, apart from rounding errors."""
    return int(np.ceil(number - 1e-9 * number))


def check_scores(split: str, scores: np.ndarray) -> None:
    """Raise InputError if scores are not finite or all equal, because no threshold is meaningful then."""
    n_bad = int((~np.isfinite(scores)).sum())
    if n_bad:
        raise InputError(
            f"{n_bad} of {len(scores)} {split} scores are NaN or infinite: the model diverged. "
            "Try a smaller optim.lr or trainer.gradient_clip_val=1."
        )
    if len(scores) > 1 and np.ptp(scores) == 0:
        raise InputError(
            f"All {len(scores)} {split} scores are {scores[0]:g}: the model does not distinguish the rows, "
            "so no threshold is meaningful. Train longer, or try another model."
        )
