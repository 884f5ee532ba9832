"""Thresholds: from anomaly scores to decisions. Rows that score above a threshold are flagged.

Every rule states its target, and whether it is guaranteed, so that the report can compare it with what was observed.
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import beta

from ssl_cli.errors import InputError
from ssl_cli.evaluation.conformal import FdrMethod, counts_above, max_above, normal_share

CONFORMAL = ("auto", "fdr")  # the rules that compare a row with the calibration scores
NO_LABELS = "No labels were used."


@dataclass(frozen=True)
class Threshold:
    """A threshold `value`: scores above it are flagged. `promise` is its target, and why to believe in it, as text.

    The target rates are None if the rule has none. `guaranteed` is true if a theorem guarantees the target at any
    sample size. `normal_share` is the estimated share of normal rows, if the rule makes an estimate.
    """

    rule: str
    value: float
    promise: str
    target_fpr: float | None = None
    target_fdr: float | None = None
    guaranteed: bool = False
    warning: str | None = None
    normal_share: float | None = None


@dataclass(frozen=True)
class Calibration:
    """Scores (n,) of normal rows, from a model that was not trained on them.

    If `held_out`, they come from the model that scores new rows (split-conformal). Otherwise they come from `folds`
    models, each fitted without the row's fold, while the model that scores new rows has seen all rows (cross-fitted).
    Then no row is lost, but no theorem holds. None holds either if the rows are not `clean`: if there are anomalies.
    """

    scores: np.ndarray
    held_out: bool = True
    folds: int = 0
    clean: bool = True

    @property
    def guarantees(self) -> bool:
        """Return whether rates that are derived from the scores are guaranteed."""
        return self.held_out and self.clean

    def guarantee(self, condition: str) -> str:
        """Return whether a rate is guaranteed, as text: on the condition, or why not."""
        if not self.clean:
            return "not guaranteed, since there are anomalies among the calibration rows"
        if not self.held_out:
            return (
                f"not guaranteed, since the {len(self.scores):,} calibration scores are of {self.folds} other models, "
                "each fitted without a fold"
            )
        return f"guaranteed {condition}"


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
    fdr_method: FdrMethod = "storey",
) -> Threshold:
    """Return the threshold of a rule: `auto`, `fdr`, `f1`, a quantile such as `q0.995`, or a number.

    `test` (N,) are the scores of the rows to be judged, which only `fdr` uses. `dev` are scores and anomaly labels for
    f1. Raises InputError for scores that allow no threshold, and for f1 without labels.
    """
    check_finite("calibration", calibration.scores)  # they may be equal: of rows that repeat, all distances are 0
    if rule == "auto":
        return _conformal(fpr, calibration)
    if rule == "fdr":
        return _false_discovery(fdr, fdr_method, calibration, test)
    if rule == "f1":
        if dev is None or not dev[1].any() or dev[1].all():
            raise InputError(
                "threshold=f1 needs labelled normal rows and anomalies in the data; without labels use threshold=auto."
            )
        return _best_f1(*dev)
    if isinstance(rule, str):
        return _quantile(rule, calibration.scores)
    return Threshold("number", float(rule), "Set by the user, without a target.")


def _conformal(fpr: float, calibration: Calibration) -> Threshold:
    """Flag p-values of at most `fpr`: scores above the k-th largest of n for calibration, k = floor(fpr (n + 1))."""
    n = len(calibration.scores)
    k = min(int(np.floor(fpr * (n + 1) + 1e-9)), n)
    target, warning = fpr, None
    if k < 1:
        k, target = 1, 1 / (n + 1)
        remedies = "calibrate=cross, a larger data.calibration" if calibration.held_out else "a larger table"
        warning = (
            f"{n} calibration rows can't hold a false-positive rate of {fpr:.2%}: that takes "
            f"{min_calibration_rows('auto', fpr, 1)}. The target is {target:.2%} instead, the lowest rate that they "
            f"allow. More rows, {remedies} or a larger fpr would help."
        )
    # Given these calibration rows the rate is Beta(k, n + 1 - k) (Vovk, 2012; Bates et al., section 2).
    low, high = beta.ppf([0.025, 0.975], k, n + 1 - k)
    draws = f"on average over draws of the {n:,} calibration rows (95 % of the draws: {low:.2%} to {high:.2%})"
    promise = f"Target: at most {target:.2%} of normal rows; {calibration.guarantee(draws)}. {NO_LABELS}"
    value = float(np.sort(calibration.scores)[n - k])
    return Threshold("auto", value, promise, target, guaranteed=calibration.guarantees, warning=warning)


def _false_discovery(fdr: float, method: FdrMethod, calibration: Calibration, test: np.ndarray) -> Threshold:
    """Control the false discovery rate among the test rows, judged together by their conformal p-values."""
    n, ordered = len(calibration.scores), np.sort(calibration.scores)
    counts = np.bincount(counts_above(ordered, test), minlength=n + 1)
    above, share = max_above(counts, fdr, method), normal_share(counts) if method == "storey" else None
    # A p-value of 1 is never flagged, so above < n. If no row is flagged, the threshold is the largest score.
    value = float(ordered[n - 1 - above]) if above >= 0 else float(max(ordered[-1], test.max()))
    draws = f"on average over draws of the {n:,} calibration rows and of the test rows"
    estimate = "" if share is None else f"Of the test rows, {min(share, 1):.0%} are estimated to be normal. "
    target = f"at most {fdr:.2%} of the flagged rows are normal; {calibration.guarantee(draws)}"
    warning = _too_few_to_flag(fdr / (share or 1), calibration, len(test)) if above < 0 else None
    return Threshold(
        "fdr",
        value,
        f"Target: {target}. {estimate}{NO_LABELS}",
        target_fdr=fdr,
        guaranteed=calibration.guarantees,
        warning=warning,
        normal_share=share,
    )


def _too_few_to_flag(level: float, calibration: Calibration, rows: int) -> str | None:
    """Return a warning if the smallest p-value, 1 / (n + 1), is too large to flag one row, or a few, of many."""
    n = len(calibration.scores)
    fewest = _round_up(rows / (level * (n + 1)))
    if fewest <= 1:
        return None
    limit = f"{fewest:,} of {rows:,} test rows or more at once" if fewest <= rows else f"none of {rows:,} test rows"
    remedies = "More rows, calibrate=cross" if calibration.held_out else "A larger table"
    return f"No row is flagged: with {n:,} calibration rows, threshold=fdr can flag {limit}. {remedies} would help."


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
        f"Labels were used: the largest F1, {f1[best]:.3f}, on {len(scores):,} labelled rows ({int(anomaly.sum()):,} "
        "anomalies) that are not tested. No target for false alarms."
    )
    return Threshold("f1", float((below + levels[best]) / 2), promise)


def _quantile(rule: str, calibration: np.ndarray) -> Threshold:
    share = _share(rule)
    value = float(np.quantile(calibration, share, method="higher"))
    promise = (
        f"The {share:g} quantile of {len(calibration):,} calibration scores: about {1 - share:.2%} of normal rows, not "
        f"guaranteed. {NO_LABELS}"
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
    check_finite(split, scores)
    if len(scores) > 1 and np.ptp(scores) == 0:
        raise InputError(
            f"All {len(scores)} {split} scores are {scores[0]:g}: the model does not distinguish the rows, or they "
            "are all the same, so no threshold is meaningful. Train longer, or try another model."
        )


def check_finite(split: str, scores: np.ndarray) -> None:
    """Raise InputError if scores are not finite."""
    n_bad = int((~np.isfinite(scores)).sum())
    if n_bad:
        raise InputError(
            f"{n_bad} of {len(scores)} {split} scores are NaN or infinite: the model diverged. "
            "Try a smaller optim.lr or trainer.gradient_clip_val=1."
        )
