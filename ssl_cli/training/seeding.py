"""Random draws: those of step k follow from (seed, k), so that a resumed run repeats those of an uninterrupted one."""

from functools import lru_cache

import numpy as np
import torch

BLOCK = 256  # batches whose seeds are computed together, which takes a fifth of the time of one by one


def reseed(seed: int, k: int, rank: int, device: torch.device) -> None:
    """Seed torch's generators for batch k of the process `rank`."""
    word = _words(seed, k // BLOCK, rank)[k % BLOCK]
    # torch.manual_seed records a stack trace for each type of device that is absent, which takes as long as half a
    # step of a small network.
    torch.default_generator.manual_seed(word)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(word)


@lru_cache(maxsize=4)
def _words(seed: int, block: int, rank: int) -> list[int]:
    """Return the seeds of a block of batches, 63 bits each."""
    batches = range(block * BLOCK, (block + 1) * BLOCK)
    return [int(np.random.SeedSequence([seed, k, rank]).generate_state(1, np.uint64)[0] >> 1) for k in batches]
