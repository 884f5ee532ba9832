"""Clustering metrics: cases counted by hand."""

import numpy as np
import pytest

from ssl_cli.evaluation.metrics import clusters

LABELS = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2, 2])


def test_the_numbers_of_codes_do_not_matter() -> None:
    renamed = np.array([7, 3, 5])[LABELS]
    assert clusters.cluster_accuracy(renamed, LABELS) == 1
    assert clusters.nmi_and_ari(renamed, LABELS) == pytest.approx({"nmi": 1, "ari": 1})


def test_two_codes_of_one_label_count_once_one_to_one_and_both_many_to_one() -> None:
    codes = np.array([0, 0, 0, 1, 1, 1, 2, 2, 3, 3])  # label 2 in two halves
    assert clusters.cluster_accuracy(codes, LABELS) == pytest.approx(0.8)
    code_labels = clusters.majority_labels(codes, LABELS, num_codes=5)
    assert code_labels.tolist() == [0, 1, 2, 2, clusters.NO_LABEL]
    assert clusters.majority_accuracy(code_labels, codes, LABELS) == 1


def test_the_matching_is_optimal_not_greedy() -> None:
    # Code 0: 3 of label 0, 2 of label 1; code 1: 2 of label 0. Greedy takes 0 -> 0 and gets 3; the best is 4.
    codes, labels = np.array([0, 0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 0, 0])
    assert clusters.cluster_accuracy(codes, labels) == pytest.approx(4 / 7)


def test_a_code_without_a_label_is_never_correct() -> None:
    code_labels = clusters.majority_labels(np.array([0, 0, 1]), np.array([1, 1, 0]), num_codes=3)
    assert clusters.majority_accuracy(code_labels, np.array([2, 0]), np.array([0, 1])) == 0.5


def test_a_single_code_has_no_information() -> None:
    found = clusters.nmi_and_ari(np.zeros(10, int), LABELS)
    assert found == pytest.approx({"nmi": 0, "ari": 0})
    assert clusters.cluster_accuracy(np.zeros(10, int), LABELS) == pytest.approx(0.4)
