"""ABX across speakers, against a naive transcription of fastabx's definition in loops."""

from itertools import product

import numpy as np
import pytest

from ssl_cli.evaluation.metrics import abx
from tests.evaluation.metrics.test_dtw import naive_mean_path_cost


def toy(n_phones: int = 4, runs: int = 40) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return frames (F, D), the phone of each or -1, where each utterance begins, and its speaker."""
    rng = np.random.default_rng(0)
    phone = np.repeat(rng.integers(-1, n_phones, runs), rng.integers(2, 6, runs))
    begin = np.append(0, np.flatnonzero(rng.random(len(phone)) < 0.1))
    begin = np.unique(np.append(begin, len(phone)))
    means = rng.standard_normal((n_phones + 1, 4))
    frames = (means[phone + 1] + rng.standard_normal((len(phone), 4))).astype(np.float32)
    return frames, phone, begin, rng.integers(0, 3, len(begin) - 1)


def naive_tokens(phone: np.ndarray, begin: np.ndarray, speaker: np.ndarray) -> list[tuple[int, ...]]:
    """Return (begin, length, phone, speaker, phone before, phone after) of each phone of 3 frames and more."""
    tokens = []
    for u in range(len(speaker)):
        runs: list[list[int]] = []
        for f in range(begin[u], begin[u + 1]):
            if runs and phone[f] == runs[-1][2]:
                runs[-1][1] += 1
            else:
                runs.append([f, 1, phone[f]])
        labels = [-1, *(run[2] for run in runs), -1]
        tokens += [(*run, speaker[u], labels[k], labels[k + 2]) for k, run in enumerate(runs)]
    return [token for token in tokens if token[2] >= 0 and token[1] >= 3]


def naive_error(tokens: list[tuple[int, ...]], frames: np.ndarray, triphones: bool) -> tuple[float, int]:
    unit = frames.astype(np.float64) / np.linalg.norm(frames, axis=1, keepdims=True)

    def distance(a: tuple[int, ...], b: tuple[int, ...]) -> float:
        x, y = (unit[t[0] : t[0] + t[1]] for t in (a, b))
        return naive_mean_path_cost(np.arccos(np.clip(x @ y.T, -1, 1)) / np.pi)

    cells: dict[tuple[int, int, int], dict[tuple[int, tuple[int, ...]], list[float]]] = {}
    for a, b, x in product(tokens, repeat=3):
        if a[3] == b[3] != x[3] and a[2] == x[2] != b[2] and (not triphones or a[4:] == b[4:] == x[4:]):
            near, far = distance(a, x), distance(b, x)
            cell = cells.setdefault((a[2], b[2], a[3]), {}).setdefault((x[3], a[4:] if triphones else ()), [])
            cell.append(float(near > far) + 0.5 * (near == far))
    by_speaker: dict[tuple[int, int], list[float]] = {}
    for (a, b, _), inner in cells.items():
        by_speaker.setdefault((a, b), []).append(np.mean([np.mean(each) for each in inner.values()]).item())
    triples = sum(len(each) for inner in cells.values() for each in inner.values())
    return np.mean([np.mean(each) for each in by_speaker.values()]).item(), triples


@pytest.mark.parametrize("triphones", [False, True])
def test_the_error_is_that_of_loops_over_all_triples(triphones: bool) -> None:
    frames, phone, begin, speaker = toy(3, 90) if triphones else toy()
    tokens = abx.phone_tokens(phone, begin, speaker, triphones)
    naive = naive_tokens(phone, begin, speaker)
    assert list(zip(tokens.begin, tokens.length, tokens.phone, tokens.speaker, strict=True)) == [t[:4] for t in naive]
    result = abx.abx_across(tokens, abx.angular(frames))
    error, triples = naive_error(naive, frames, triphones)
    assert result.error == pytest.approx(error, abs=1e-6) and result.triples == triples > 0


def test_a_sample_has_so_many_of_each_group() -> None:
    _, phone, begin, speaker = toy()
    tokens = abx.phone_tokens(phone, begin, speaker)
    few = abx.sample_tokens(tokens, 2, 5)
    counts = dict(zip(*np.unique(tokens.phone * 10 + tokens.speaker, return_counts=True), strict=True))
    sampled = dict(zip(*np.unique(few.phone * 10 + few.speaker, return_counts=True), strict=True))
    assert sampled == {group: min(count, 2) for group, count in counts.items()} and max(counts.values()) > 2
    assert set(few.begin) <= set(tokens.begin) and len(set(few.begin)) == len(few)
    assert not np.array_equal(few.begin, abx.sample_tokens(tokens, 2, 6).begin)


def test_perfect_units_have_no_error_and_one_unit_is_chance() -> None:
    _, phone, begin, speaker = toy()
    tokens = abx.sample_tokens(abx.phone_tokens(phone, begin, speaker), 10, 0)
    assert abx.abx_across(tokens, abx.different_units(phone)).error == 0
    assert abx.abx_across(tokens, abx.different_units(phone * 0)).error == 0.5
    assert abx.abx_across(tokens, abx.angular_of_units(phone, np.eye(5))).error == 0


def test_no_triple_is_no_number() -> None:
    frames, phone, begin, speaker = toy()
    for tokens in (abx.phone_tokens(phone, begin, speaker * 0), abx.phone_tokens(phone * 0 - 1, begin, speaker)):
        result = abx.abx_across(tokens, abx.angular(frames))
        assert np.isnan(result.error) and result.triples == 0


@pytest.mark.parametrize("triphones", [False, True])
def test_the_error_is_that_of_fastabx(triphones: bool) -> None:
    accessors = pytest.importorskip("fastabx.accessor", reason="fastabx needs Python 3.12")
    import polars
    import torch
    from fastabx.dataset import Dataset
    from fastabx.score import Score
    from fastabx.task import Task

    frames, phone, begin, speaker = toy(3, 400) if triphones else toy(6, 120)
    tokens = abx.phone_tokens(phone, begin, speaker, triphones)
    spans = [(int(start), int(start + n)) for start, n in zip(tokens.begin, tokens.length, strict=True)]
    accessor = accessors.InMemoryAccessor(dict(enumerate(spans)), torch.from_numpy(frames), torch.device("cpu"))
    labels = polars.DataFrame({name: getattr(tokens, name) for name in ("phone", "speaker", "context")})
    task = Task(Dataset(labels, accessor), on="phone", by=["context"] if triphones else None, across=["speaker"])
    score = Score(task, "angular", progress=False)
    expected = score.collapse(levels=[*([("context",)] if triphones else []), "speaker"])
    result = abx.abx_across(tokens, abx.angular(frames))
    assert result.error == pytest.approx(expected, abs=1e-5) and result.triples == score.cells["size"].sum()
