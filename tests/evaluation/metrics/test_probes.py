"""Probes find labels in separable codes, and nothing in noise."""

import numpy as np

from ssl_cli.evaluation.metrics import probes
from ssl_cli.evaluation.metrics.probes import ProbeData


def random_data(separable: bool, n: int = 400) -> ProbeData:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 2 * n)
    centres = 4 * np.eye(3, 6) if separable else np.zeros((3, 6))
    x = (centres[labels] + rng.normal(size=(2 * n, 6))).astype(np.float32)
    x[:, 5] = 7  # a feature that never changes
    return ProbeData(x[:n], x[n:], labels[:n], labels[n:])


def test_prefixes_of_a_stratified_order_have_the_labels_in_proportion() -> None:
    labels = np.repeat([0, 1, 2], [600, 300, 100])
    order = probes.stratified_order(labels, np.random.default_rng(0))
    assert sorted(order) == list(range(1000))
    for n in (50, 100, 500):
        counts = np.bincount(labels[order[:n]], minlength=3)
        assert np.abs(counts - n * np.array([0.6, 0.3, 0.1])).max() <= 1
    other = probes.stratified_order(labels, np.random.default_rng(1))
    assert not np.array_equal(order, other)


def test_a_separable_code_is_predictable_and_noise_is_not() -> None:
    rows = np.arange(100)
    for data, low, high in ((random_data(True), 0.93, 1.0), (random_data(False), 0.2, 0.47)):
        c = probes.choose_c(data.train[rows], data.train_label[rows])
        assert c in probes.C_VALUES
        assert low <= probes.linear_accuracy(data, rows, c) <= high
        assert low <= probes.knn_accuracy(data, rows) <= high


def test_neighbours_equal_a_naive_vote() -> None:
    data, rows = random_data(True), np.arange(50)
    near = np.square(data.test[:, None].astype(float) - data.train[rows]).sum(2).argsort(1)[:, :5]
    votes = [np.bincount(data.train_label[rows][five], minlength=3) for five in near]
    right = np.mean([vote.argmax() == label for vote, label in zip(votes, data.test_label, strict=True)])
    assert probes.knn_accuracy(data, rows) == right


def test_a_linear_probe_does_not_depend_on_units() -> None:
    data, rows = random_data(True), np.arange(100)
    scaled = ProbeData(data.train * 1000, data.test * 1000, data.train_label, data.test_label)
    assert probes.linear_accuracy(data, rows, 0.1) == probes.linear_accuracy(scaled, rows, 0.1)


def test_a_single_label_is_predicted_for_all() -> None:
    data = random_data(True)
    rows = np.flatnonzero(data.train_label == 1)[:20]
    assert probes.linear_accuracy(data, rows, 0.1) == (data.test_label == 1).mean()


def test_few_labels_are_drawn_in_pairs_and_in_proportion() -> None:
    rng = np.random.default_rng(0)
    label = rng.integers(0, 10, 400)
    x = np.eye(10, dtype=np.float32)[label] + rng.normal(0, 0.4, (400, 10)).astype(np.float32)
    data = probes.ProbeData(x[:300], x[300:], label[:300], label[300:])
    noise = probes.ProbeData(0 * x[:300], 0 * x[300:], label[:300], label[300:])
    found, nothing = (probes.few_label_accuracies(each, (10, 100, 1000), 5, 0) for each in (data, noise))
    assert list(found) == [10, 100] and len(found[10]) == 5 and len(set(found[10])) > 1
    assert nothing[100].mean() < 0.2 < found[10].mean() < found[100].mean()
    again = probes.few_label_accuracies(data, (10,), 5, 0)
    assert np.array_equal(found[10], again[10])
