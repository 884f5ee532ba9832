"""ABX across speakers: is a phone nearer to the same phone of another speaker than a different phone is?

A and B are of one speaker and X, of the same phone as A, is of another. The error is the share of triples in which B
is nearer to X than A; a tie counts half, and chance is 0.5. It is averaged over speakers, then over the pairs of
phones, as fastabx 0.9 does for `speaker="across"` (arXiv 2505.02692).
"""

from dataclasses import dataclass

import numpy as np

from ssl_cli.evaluation.metrics.dtw import Distance, warped_distances

MIN_FRAMES, MAX_FRAMES = 3, 100  # of a phone; what is longer is a fault of the alignment
MAX_PER_GROUP = 10  # phones of the same kind, speaker and context


@dataclass(frozen=True)
class PhoneTokens:
    """Occurrences of phones: the first frame and the length of each, its phone, speaker and context, all (I,).

    Triples are of the same context; a context that is 0 for all means "any".
    """

    begin: np.ndarray
    length: np.ndarray
    phone: np.ndarray
    speaker: np.ndarray
    context: np.ndarray

    def __len__(self) -> int:
        return len(self.begin)

    def take(self, rows: np.ndarray) -> "PhoneTokens":
        """Return some of the occurrences, by position (n,)."""
        return PhoneTokens(*(each[rows] for each in vars(self).values()))


@dataclass(frozen=True)
class AbxResult:
    """The error (0..1; NaN without a triple), and the numbers of triples and of pairs of phones behind it."""

    error: float
    triples: int
    phone_pairs: int


def phone_tokens(phone: np.ndarray, begin: np.ndarray, speaker: np.ndarray, triphones: bool = False) -> PhoneTokens:
    """Return the occurrences of phones in frames, from the phone of each frame (F,), -1 for none.

    Utterance u is frames begin[u]..begin[u + 1] and of speaker[u]. A run of the same phone is one occurrence, of 3 to
    100 frames. With `triphones` the phones before and after it are its context.
    """
    edge = np.flatnonzero(np.diff(phone)) + 1
    starts = np.union1d(edge, begin[:-1][np.diff(begin) > 0])
    length = np.diff(np.append(starts, len(phone)))
    utterance = np.searchsorted(begin, starts, "right") - 1
    label = phone[starts].astype(np.int64)
    context = np.zeros(len(starts), np.int64)
    if triphones:
        same = utterance[1:] == utterance[:-1]
        before = np.append(-1, np.where(same, label[:-1], -1))
        after = np.append(np.where(same, label[1:], -1), -1)
        context = (before + 1) * (label.max() + 2) + after + 1
    tokens = PhoneTokens(starts, length, label, speaker[utterance], context)
    return tokens.take(np.flatnonzero((label >= 0) & (length >= MIN_FRAMES) & (length <= MAX_FRAMES)))


def sample_tokens(tokens: PhoneTokens, max_per_group: int, seed: int) -> PhoneTokens:
    """Return at most so many random occurrences of each phone, speaker and context, in the order of these groups."""
    shuffled = np.random.default_rng([seed, 10]).permutation(len(tokens))
    order = shuffled[np.lexsort([each[shuffled] for each in (tokens.phone, tokens.speaker, tokens.context)])]
    ordered = tokens.take(order)
    new = np.ones(len(order), bool)
    for each in (ordered.phone, ordered.speaker, ordered.context):
        new[1:] &= each[1:] == each[:-1]
    new[1:] = ~new[1:]
    first = np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))
    return ordered.take(np.flatnonzero(np.arange(len(order)) - first < max_per_group))


def abx_across(tokens: PhoneTokens, distance: Distance) -> AbxResult:
    """Return the ABX error across speakers over all triples of the occurrences, of which `sample_tokens` takes some."""
    tokens = tokens.take(np.argsort(tokens.phone, kind="stable"))
    n_phones, n_speakers = int(tokens.phone.max(initial=0)) + 1, int(tokens.speaker.max(initial=0)) + 1
    error = np.zeros((n_phones, n_phones, n_speakers))  # summed over the cells of A and B's speaker
    cells, triples = np.zeros(error.shape, np.int64), 0
    for context in np.unique(tokens.context):
        group = tokens.take(np.flatnonzero(tokens.context == context))
        speakers = np.unique(group.speaker)
        for x_speaker in speakers:
            x = group.take(np.flatnonzero(group.speaker == x_speaker))
            for speaker in speakers[speakers != x_speaker]:
                ab = group.take(np.flatnonzero(group.speaker == speaker))
                triples += _add_cells(ab, x, distance, error[:, :, speaker], cells[:, :, speaker])
    with np.errstate(invalid="ignore"):
        by_speaker = np.ma.masked_invalid(error / cells)
    pairs = by_speaker.mean(2)  # (phones of A, phones of B)
    return AbxResult(float(pairs.mean()) if pairs.count() else float("nan"), triples, int(pairs.count()))


def _add_cells(ab: PhoneTokens, x: PhoneTokens, distance: Distance, error: np.ndarray, cells: np.ndarray) -> int:
    """Add the errors of one speaker's A and B with another's X to `error` and `cells`; return the number of triples.

    Occurrences are in the order of their phones.
    """
    phones, first = np.unique(ab.phone, return_index=True)
    counts, triples = np.diff(np.append(first, len(ab))), 0
    shared = np.intersect1d(phones, x.phone)
    if len(phones) < 2 or not len(shared):
        return 0
    x = x.take(np.flatnonzero(np.isin(x.phone, shared)))
    distances = _all_distances(ab, x, distance)  # (A and B, X)
    for phone in shared:
        columns = distances[:, x.phone == phone]
        rows = columns[ab.phone == phone]
        wrong = (rows[:, None] > columns[None]) + 0.5 * (rows[:, None] == columns[None])  # (A, B, X)
        shares = np.add.reduceat(wrong.mean(2).mean(0), first) / counts
        others = phones != phone
        error[phone, phones[others]] += shares[others]
        cells[phone, phones[others]] += 1
        triples += rows.size * int(counts[others].sum())
    return triples


def _all_distances(ab: PhoneTokens, x: PhoneTokens, distance: Distance) -> np.ndarray:
    """Return the warped distance of each of (n,) occurrences from each of (m,) others, (n, m)."""
    begin, length = np.append(ab.begin, x.begin), np.append(ab.length, x.length)
    first, second = np.divmod(np.arange(len(ab) * len(x)), len(x))
    return warped_distances(distance, begin, length, (first, second + len(ab))).reshape(len(ab), len(x))


def angular(frames: np.ndarray) -> Distance:
    """Return the angular distance (0..1) of frames (F, D); a frame of zeros has distance 0.5 from all others."""
    norm = np.linalg.norm(frames, axis=1, keepdims=True)
    unit = (frames / np.where(norm > 0, norm, 1)).astype(np.float32)

    def distance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.arccos(np.clip(unit[x] @ unit[y].transpose(0, 2, 1), -1, 1)) / np.float32(np.pi)

    return distance


def angular_of_units(units: np.ndarray, vectors: np.ndarray) -> Distance:
    """Return the angular distance of the vectors (K, D) of units, of which frame f has units[f]; equal units have 0."""
    k = np.arange(len(vectors))
    table = angular(vectors)(k[None], k[None])[0]
    np.fill_diagonal(table, 0)
    return lambda x, y: table[units[x][:, :, None], units[y][:, None]]


def different_units(units: np.ndarray) -> Distance:
    """Return the distance of units as names, of which frame f has units[f]: 0 if they are the same, else 1."""
    return lambda x, y: (units[x][:, :, None] != units[y][:, None]).astype(np.float32)
