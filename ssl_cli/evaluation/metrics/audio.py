"""Metrics of speech units: how well classes of frames, found without labels, agree with phones and with speakers.

A table (P, K) counts the frames of each phone (or speaker) and unit. Definitions are those of fairseq's
measure_teacher_quality.py, with which HuBERT's units were compared (arXiv 2106.07447, sec. IV-E).
"""

from collections.abc import Iterable, Sequence

import numpy as np

from ssl_cli.evaluation.metrics.bootstrap import bootstrap_intervals

SILENCES = frozenset({"", "sil", "<sil>", "sp", "spn", "<eps>", "pau", "h#", "nsn"})  # usual names of no phone


def is_silence(phones: Sequence[str], silences: Iterable[str] = SILENCES) -> np.ndarray:
    """Return which phones are names of silence or noise, (P,) bool; upper and lower case are the same."""
    names = {name.casefold() for name in silences}
    return np.array([phone.strip().casefold() in names for phone in phones], bool)


def count_table(labels: np.ndarray, units: np.ndarray, n_labels: int, n_units: int) -> np.ndarray:
    """Return how many frames have each label and unit, (P, K), from (F,) and (F,); those without a label (-1) don't."""
    known = labels >= 0
    cell = labels[known].astype(np.int64) * n_units + units[known]
    return np.bincount(cell, minlength=n_labels * n_units).reshape(n_labels, n_units)


def entropy_bits(counts: np.ndarray) -> float:
    """Return the entropy in bits of the shares of counts, of any shape."""
    share = counts[counts > 0] / counts.sum()
    return float(-(share * np.log2(share)).sum()) + 0.0


def mutual_information_bits(table: np.ndarray) -> float:
    """Return the mutual information in bits of a table's rows and columns."""
    return entropy_bits(table.sum(1)) + entropy_bits(table.sum(0)) - entropy_bits(table)


def information_share(table: np.ndarray) -> float:
    """Return which share of the label's entropy the unit has: PNMI for phones; NaN if there is only one label."""
    entropy = entropy_bits(table.sum(1))
    return mutual_information_bits(table) / entropy if entropy > 0 else float("nan")


def phone_purity(table: np.ndarray) -> float:
    """Return the share of frames whose phone is the most frequent one of their unit."""
    return float(table.max(0).sum() / table.sum())


def cluster_purity(table: np.ndarray) -> float:
    """Return the share of frames whose unit is the most frequent one of their phone."""
    return float(table.max(1).sum() / table.sum())


def phone_metrics(table: np.ndarray) -> dict[str, float]:
    """Return how well units and phones of a table agree; nothing if it has fewer than two phones."""
    if (table.sum(1) > 0).sum() < 2:
        return {}
    purity = {"phone_purity": phone_purity(table), "cluster_purity": cluster_purity(table)}
    return {"pnmi": information_share(table), **purity}


def without_silence(table: np.ndarray, phones: Sequence[str], silences: Iterable[str] = SILENCES) -> np.ndarray:
    """Return a table (P, K) without the rows of silence."""
    return table[~is_silence(phones, silences)]


def code_metrics(counts: np.ndarray, units_per_s: float) -> dict[str, float]:
    """Return how units are used, from how often each occurs (K,): in use, perplexity, bits per second.

    `bitrate` is that of an entropy code for single units; `bitrate_fixed` has as many bits for each unit.
    """
    bits = entropy_bits(counts)
    used = {"units_used": int((counts > 0).sum()), "unit_perplexity": 2.0**bits}
    return used | {"bitrate": units_per_s * bits, "bitrate_fixed": units_per_s * float(np.log2(len(counts)))}


def pnmi_difference_interval(
    phones: np.ndarray, units: tuple[np.ndarray, np.ndarray], utterance: np.ndarray, bootstrap_samples: int, seed: int
) -> tuple[float, tuple[float, float] | None]:
    """Return the PNMI of the first units minus that of the second, and its 95 % interval over utterances.

    All are of the same frames (F,): phones (-1 is left out), two unit systems, and the utterance of each frame. Each
    bootstrap sample has the same utterances for both. There is no interval for a single utterance.
    """
    known = phones >= 0
    _, row = np.unique(utterance[known], return_inverse=True)
    tables = [_tables_of_utterances(phones[known], each[known], row) for each in units]

    def difference(rows: np.ndarray) -> dict[str, float]:
        weight = np.bincount(rows, minlength=row.max() + 1)
        first, second = (information_share(_weighted_table(*table, weight)) for table in tables)
        return {"difference": first - second}

    n = int(row.max()) + 1
    intervals = bootstrap_intervals(difference, n, bootstrap_samples, seed)
    return difference(np.arange(n))["difference"], intervals.get("difference")


def _tables_of_utterances(
    phones: np.ndarray, units: np.ndarray, row: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, tuple[int, int]]:
    """Return the utterance, the cell and the count of each cell of an utterance's table, (C,), and a table's shape."""
    shape = int(phones.max()) + 1, int(units.max()) + 1
    cells, count = np.unique((row.astype(np.int64) * shape[0] + phones) * shape[1] + units, return_counts=True)
    return cells // (shape[0] * shape[1]), cells % (shape[0] * shape[1]), count, shape


def _weighted_table(
    row: np.ndarray, cell: np.ndarray, count: np.ndarray, shape: tuple[int, int], weight: np.ndarray
) -> np.ndarray:
    """Return the table (P, K) of utterances that count `weight` times each."""
    return np.bincount(cell, count * weight[row], shape[0] * shape[1]).reshape(shape)
