"""Random draws: those of step k follow from (seed, k), so that a resumed run repeats those of an uninterrupted one."""

import numpy as np
import torch


def reseed(seed: int, k: int, rank: int, device: torch.device) -> None:
    """Seed torch's generators for batch k of the process `rank`."""
    word = int(np.random.SeedSequence([seed, k, rank]).generate_state(1, np.uint64)[0] >> 1)
    # torch.manual_seed records a stack trace for each type of device that is absent, which takes as long as half a
    # step of a small network.
    torch.default_generator.manual_seed(word)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(word)
