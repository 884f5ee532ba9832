"""From scores to decisions: rows that score above a threshold are flagged.

Every rule says what it promises, so that the report can hold it against what was realised.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from ssl_cli.errors import InputError

CONFORMAL = ("auto", "fdr")  # the rules that compare a row with the calibration scores


@dataclass(frozen=True)
class Threshold:
    """`value` flags what scores above it. The nominal rates are None for a rule that has none.

    `guaranteed` says whether a theorem stands behind the nominal rate at any sample size.
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
    """`scores` (n,) of normal rows by a model that hasn't seen them.

    `held_out`: by the very model that scores new rows (split-conformal). Else by models fitted without the row's fold,
    `folds` of them, for a model that has seen all rows (cross-fitted): no row is lost, and no theorem holds.
    """

    scores: np.ndarray
    held_out: bool = True
    folds: int = 0


def p_values(calibration: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Conformal p-values, (N,): the share of calibration scores (and the row's own) at least as large.

    For a normal row exchangeable with held-out calibration rows, P(p <= a) <= a for every a (Vovk et al., 2005;
    Bates et al., arXiv 2104.08279, eq. 1).
    """
    return (1 + counts_above(np.sort(calibration), scores)) / (1 + len(calibration))


def counts_above(ordered: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(N,): how many of the calibration scores, in ascending order (n,), are at least as large as each score."""
    return len(ordered) - np.searchsorted(ordered, scores, side="left")


def flagged_by_fdr(calibration: np.ndarray, scores: np.ndarray, fdr: float) -> np.ndarray:
    """(N,) bool: which of these rows, judged together, Benjamini and Hochberg's procedure flags."""
    above = counts_above(np.sort(calibration), scores)
    return above <= benjamini_hochberg(np.bincount(above, minlength=len(calibration) + 1), fdr)


def benjamini_hochberg(counts: np.ndarray, fdr: float) -> int:
    """How many calibration scores may be at least as large as a flagged row's; -1 where no row is flagged.

    `counts` (n + 1,): how many rows have c = 0 ... n calibration scores at least as large, that is the p-value
    (1 + c) / (n + 1). Flags the rows up to the largest p-value that is at most `fdr` times the share of rows at or
    below it (Benjamini and Hochberg, 1995, eq. 1). Counts of p-values are all it takes: a file of any size will do.
    """
    p = np.arange(1, len(counts) + 1) / len(counts)
    rejected = np.cumsum(counts)
    holds = np.flatnonzero((counts > 0) & (p * rejected[-1] <= fdr * rejected * (1 + 1e-12)))
    return int(holds[-1]) if len(holds) else -1


def choose_threshold(
    rule: str | float,
    calibration: Calibration,
    test: np.ndarray,
    fpr: float = 0.01,
    fdr: float = 0.1,
    dev: tuple[np.ndarray, np.ndarray] | None = None,
) -> Threshold:
    """The threshold of a rule: `auto`, `fdr`, `f1`, `q0.995`, or a number taken as it is.

    `test` (N,) are the scores of the rows to be judged, which only `fdr` looks at; `dev` are scores and anomaly
    labels, for f1. Raises InputError for scores that can carry no threshold, and for f1 without labels.
    """
    refuse_degenerate("calibration", calibration.scores)
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
    return Threshold("number", float(rule), "a number given by hand: no promise")


def _conformal(fpr: float, calibration: Calibration) -> Threshold:
    """Flag p-values of at most `fpr`: scores above the k-th largest of n for calibration, k = floor(fpr (n + 1))."""
    n = len(calibration.scores)
    k = min(int(np.floor(fpr * (n + 1) + 1e-9)), n)
    warning = None
    if k < 1:
        k = 1
        warning = (
            f"{n} calibration rows can't hold a false-positive rate of {fpr:.2%}: "
            f"that takes {int(np.ceil(1 / fpr)) - 1}. The threshold holds the least they can, {1 / (n + 1):.2%}; "
            f"more rows, {'calibrate=cross, a larger data.calibration' * calibration.held_out or 'a larger table'} "
            "or a larger fpr would do."
        )
    nominal = k / (n + 1)
    # Given these calibration rows the realised rate is Beta(k, n + 1 - k) (Vovk, 2012; Bates et al., section 2).
    low, high = beta.ppf([0.025, 0.975], k, n + 1 - k)
    if calibration.held_out:
        promise = (
            f"split-conformal, no labels used: of normal rows like the {n} calibration rows, at most {nominal:.2%} "
            f"are flagged on average over draws of them; for 95 % of the draws it is between {low:.2%} and {high:.2%}"
        )
    else:
        promise = f"cross-fitted, no labels used: {nominal:.2%} of {_out_of_fold(calibration)}"
    value = float(np.sort(calibration.scores)[n - k])
    return Threshold("auto", value, promise, nominal, guaranteed=calibration.held_out, warning=warning)


def _false_discovery(fdr: float, calibration: Calibration, test: np.ndarray) -> Threshold:
    """Benjamini and Hochberg's procedure on the conformal p-values of the test rows."""
    n, rows = len(calibration.scores), len(test)
    ordered = np.sort(calibration.scores)
    above = benjamini_hochberg(np.bincount(counts_above(ordered, test), minlength=n + 1), fdr)
    # A p-value of 1 is never at most fdr < 1, so above < n. Where no row is flagged, none scores above the largest.
    value = float(ordered[n - 1 - above]) if above >= 0 else float(max(ordered[-1], test.max()))
    fewest = int(np.ceil(rows / (fdr * (n + 1)) - 1e-9))  # the least p-value is 1 / (n + 1)
    warning = None
    if fewest > 1:
        more = f"More calibration rows{' (calibrate=cross)' * calibration.held_out} would help."
        only = f"only {fewest} rows or more at once: fewer are never flagged" if fewest <= rows else "no row, ever"
        warning = f"{n} calibration rows among {rows} test rows can flag at fdr={fdr:g} {only}. {more}"
    if calibration.held_out:
        promise = (
            f"Benjamini-Hochberg on split-conformal p-values of the {rows} test rows, no labels used: of the rows "
            f"flagged, at most {fdr:.2%} are normal rows like the {n} calibration rows, on average over draws of both"
        )
    else:
        promise = (
            f"Benjamini-Hochberg on cross-fitted p-values of the {rows} test rows, no labels used; "
            f"{fdr:.2%} is aimed at over {_out_of_fold(calibration)}"
        )
    return Threshold("fdr", value, promise, nominal_fdr=fdr, guaranteed=calibration.held_out, warning=warning)


def _out_of_fold(calibration: Calibration) -> str:
    return (
        f"{len(calibration.scores)} out-of-fold scores ({calibration.folds} folds). The models that gave them are not "
        "the model that scores, so split-conformal's finite-sample bound doesn't carry over: nothing is guaranteed, "
        "and the nominal rate is approached as leaving a fold out changes the model less"
    )


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
