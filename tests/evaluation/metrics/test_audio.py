"""Metrics of units, against naive transcriptions of their definitions."""

import math

import numpy as np
import pytest
from sklearn.metrics import mutual_info_score

from ssl_cli.evaluation.metrics import audio

RNG = np.random.default_rng(0)
PHONES = RNG.integers(-1, 4, 900)
UNITS = np.where(RNG.random(900) < 0.5, PHONES + 1, RNG.integers(0, 6, 900))
TABLE = audio.count_table(PHONES, UNITS, 4, 6)


def test_the_table_counts_frames_with_a_label() -> None:
    assert TABLE.shape == (4, 6) and TABLE.sum() == (PHONES >= 0).sum()
    assert TABLE[2, 3] == sum(p == 2 and u == 3 for p, u in zip(PHONES, UNITS, strict=True))


def test_pnmi_is_mutual_information_over_the_entropy_of_phones() -> None:
    phones, units = PHONES[PHONES >= 0], UNITS[PHONES >= 0]
    entropy = mutual_info_score(phones, phones)
    assert audio.information_share(TABLE) == pytest.approx(mutual_info_score(phones, units) / entropy)


def test_purities_are_those_of_fairseq() -> None:
    pairs = [(p, u) for p, u in zip(PHONES, UNITS, strict=True) if p >= 0]
    by_unit = {u: [p for p, v in pairs if v == u] for _, u in pairs}
    by_phone = {p: [u for q, u in pairs if q == p] for p, _ in pairs}
    phone_purity = sum(max(map(each.count, each)) for each in by_unit.values()) / len(pairs)
    cluster_purity = sum(max(map(each.count, each)) for each in by_phone.values()) / len(pairs)
    assert audio.phone_metrics(TABLE) == {
        "pnmi": audio.information_share(TABLE),
        "phone_purity": pytest.approx(phone_purity),
        "cluster_purity": pytest.approx(cluster_purity),
    }


def test_one_unit_for_everything_and_one_for_each_phone() -> None:
    one, each = np.array([[3], [5]]), np.diag([3, 5])
    assert audio.information_share(one) == 0 and audio.phone_purity(one) == 5 / 8 and audio.cluster_purity(one) == 1
    assert audio.information_share(each) == pytest.approx(1) and audio.phone_purity(each) == 1
    assert audio.phone_metrics(np.array([[3, 4]])) == {}


def test_silence_by_its_usual_names() -> None:
    names = ["SIL", "a", " sp ", "", "Spn", "<sil>", "s"]
    assert audio.is_silence(names).tolist() == [True, False, True, True, True, True, False]
    assert audio.without_silence(np.arange(14).reshape(7, 2), names).tolist() == [[2, 3], [12, 13]]
    assert audio.without_silence(np.arange(4).reshape(2, 2), ["a", "b"], ["B"]).tolist() == [[0, 1]]


def test_bits_per_second() -> None:
    metrics = audio.code_metrics(np.array([8, 4, 4, 0]), 25)
    assert metrics == {"units_used": 3, "unit_perplexity": 2**1.5, "bitrate": 37.5, "bitrate_fixed": 50}


def test_a_paired_difference_of_pnmi() -> None:
    noise = RNG.integers(0, 6, 900)
    utterance = np.arange(900) // 30
    difference, interval = audio.pnmi_difference_interval(PHONES, (UNITS, noise), utterance, 200, 0)
    expected = audio.information_share(TABLE) - audio.information_share(audio.count_table(PHONES, noise, 4, 6))
    assert difference == pytest.approx(expected) and interval is not None
    assert 0 < interval[0] < difference < interval[1]
    same = audio.pnmi_difference_interval(PHONES, (UNITS, (UNITS + 1) % 6), utterance, 50, 0)
    assert same[1] == pytest.approx((0, 0), abs=1e-12)


def test_a_bootstrap_sample_counts_an_utterance_as_often_as_it_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    utterance, rows = np.arange(900) // 300, np.array([0, 0, 2])
    drawn = np.concatenate([np.flatnonzero(utterance == row) for row in rows])
    results = []
    monkeypatch.setattr(audio, "bootstrap_intervals", lambda compute, *_: results.append(compute(rows)) or {})
    audio.pnmi_difference_interval(PHONES, (UNITS, UNITS * 0), utterance, 1, 0)
    table = audio.count_table(PHONES[drawn], UNITS[drawn], 4, 6)
    assert math.isclose(results[0]["difference"], audio.information_share(table))
