"""The summary of ssl detect: what was flagged, and observed rates beside their targets."""

import pytest

from ssl_cli.commands.detect.summary import binomial_interval, flagged, rates
from ssl_cli.evaluation.thresholds import Threshold

METRICS = {"test/rows": 391, "test/flagged": 152}
LABELLED = METRICS | {"test/anomalies": 212, "test/recall": 149 / 212, "test/fpr": 3 / 179}


def test_what_was_flagged_is_said_first() -> None:
    assert flagged("rows", METRICS) == "flagged 152 of 391 rows"
    assert flagged("rows", LABELLED) == "flagged 152 of 391 rows: 149 of 212 anomalies found, 3 false alarms"
    one = {"test/flagged": 1150, "test/rows": 2000, "test/anomalies": 1632}
    found = one | {"test/recall": 1149 / 1632}
    assert flagged("images", found) == "flagged 1,150 of 2,000 images: 1,149 of 1,632 anomalies found, 1 false alarm"


@pytest.mark.parametrize(
    ("target", "where"),
    [
        (0.1, "target at most 10.00%, observed 1.97% of 152 (95 % interval 0.41% to 5.66%): the target lies above it"),
        (0.05, "(95 % interval 0.41% to 5.66%): the target lies within it"),
        (0.004, "(95 % interval 0.41% to 5.66%): the target lies below it, this is more than the target"),
    ],
)
def test_the_interval_says_whether_the_target_was_kept(target: float, where: str) -> None:
    with_target, without = rates("rows", Threshold("fdr", 1.0, "", target_fdr=target), LABELLED)
    assert with_target.startswith("false alarms among flagged rows (fdr): target at most")
    assert with_target.endswith(where)
    assert without.startswith("false alarms among normal rows (fpr): no target, observed 1.68% of 179 (95 % interval")


def test_nothing_flagged() -> None:
    nothing = LABELLED | {"test/flagged": 0, "test/recall": 0.0, "test/fpr": 0.0}
    assert flagged("rows", nothing) == "flagged 0 of 391 rows: 0 of 212 anomalies found, 0 false alarms"
    assert rates("rows", Threshold("fdr", 1.0, "", target_fdr=0.1), nothing)[0].endswith("none to observe")


def test_the_interval_is_exact() -> None:
    assert binomial_interval(0, 10) == pytest.approx((0, 1 - 0.025**0.1))  # Clopper and Pearson, 1934
