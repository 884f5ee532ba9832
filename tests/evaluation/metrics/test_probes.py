"""Probes find what is there, and nothing where there is nothing."""

import numpy as np

from ssl_cli.evaluation.metrics import probes
from ssl_cli.evaluation.metrics.probes import Features


def made(separable: bool, n: int = 400) -> Features:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 2 * n)
    centres = 4 * np.eye(3, 6) if separable else np.zeros((3, 6))
    x = (centres[labels] + rng.normal(size=(2 * n, 6))).astype(np.float32)
    x[:, 5] = 7  # a feature that never changes
    return Features(x[:n], x[n:], labels[:n], labels[n:])


def test_beginnings_of_a_stratified_order_have_each_label_by_its_share() -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    order = probes.stratified(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(1000))
    for n in (50, 100, 500):
        counts = np.bincount(labels[order[:n]], minlength=3)
        assert np.abs(counts - n * np.array([0.6, 0.3, 0.1])).max() <= 1
    other = probes.stratified(labels, np.random.default_rng(1))
    assert not np.array_equal(order, other)


def test_a_separable_code_is_read_off_and_noise_is_not() -> None:
    rows = np.arange(100)
    for data, low, high in ((made(True), 0.93, 1.0), (made(False), 0.2, 0.47)):
        strength = probes.choose_strength(data.train[rows], data.train_label[rows])
        assert strength in probes.STRENGTHS
        assert low <= probes.linear_accuracy(data, rows, strength) <= high
        assert low <= probes.neighbor_accuracy(data, rows) <= high


def test_neighbours_agree_with_a_naive_vote() -> None:
    data, rows = made(True), np.arange(50)
    near = np.square(data.test[:, None].astype(float) - data.train[rows]).sum(2).argsort(1)[:, :5]
    votes = [np.bincount(data.train_label[rows][five], minlength=3) for five in near]
    right = np.mean([vote.argmax() == label for vote, label in zip(votes, data.test_label, strict=True)])
    assert probes.neighbor_accuracy(data, rows) == right


def test_features_in_other_units_are_as_good_to_a_linear_probe() -> None:
    data, rows = made(True), np.arange(100)
    scaled = Features(data.train * 1000, data.test * 1000, data.train_label, data.test_label)
    assert probes.linear_accuracy(data, rows, 0.1) == probes.linear_accuracy(scaled, rows, 0.1)


def test_one_label_only_is_said_of_all() -> None:
    data = made(True)
    rows = np.flatnonzero(data.train_label == 1)[:20]
    assert probes.linear_accuracy(data, rows, 0.1) == (data.test_label == 1).mean()
