"""Classes that a model made up, against labels: cases counted by hand."""

import numpy as np
import pytest

from ssl_cli.evaluation.metrics import clusters

LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])


def test_names_of_classes_do_not_matter() -> None:
    renamed = np.array([7, 3, 5])[LABELS]
    assert clusters.cluster_accuracy(renamed, LABELS) == 1
    assert clusters.agreement(renamed, LABELS) == pytest.approx({"nmi": 1, "ari": 1})


def test_two_classes_of_one_label_count_once_one_to_one_and_both_many_to_one() -> None:
    codes = np.array([0, 0, 0, 1, 1, 1, 2, 2, 3, 3])  # label 2 in two halves
    assert clusters.cluster_accuracy(codes, LABELS) == pytest.approx(0.8)
    names = clusters.majority_labels(codes, LABELS, alphabet=5)
    assert names.tolist() == [0, 1, 2, 2, clusters.UNNAMED]
    assert clusters.majority_accuracy(names, codes, LABELS) == 1


def test_matching_is_the_best_of_all_not_the_greedy_one() -> None:
    # Class 0: 3 of label 0, 2 of label 1; class 1: 2 of label 0. Greedy takes 0 -> 0 and gets 3; the best is 4.
    codes, labels = np.array([0, 0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 0, 0])
    assert clusters.cluster_accuracy(codes, labels) == pytest.approx(4 / 7)


def test_a_class_without_a_name_hits_nothing() -> None:
    names = clusters.majority_labels(np.array([0, 0, 1]), np.array([1, 1, 0]), alphabet=3)
    assert clusters.majority_accuracy(names, np.array([2, 0]), np.array([0, 1])) == 0.5


def test_one_class_for_all_tells_nothing() -> None:
    found = clusters.agreement(np.zeros(10, int), LABELS)
    assert found == pytest.approx({"nmi": 0, "ari": 0})
    assert clusters.cluster_accuracy(np.zeros(10, int), LABELS) == pytest.approx(0.4)
