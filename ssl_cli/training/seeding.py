"""Random draws: each of step k follows from (seed, k), so that a resumed run goes on as if it had never stopped."""

import numpy as np
import torch


def reseed(seed: int, k: int, rank: int, device: torch.device) -> None:
    """Set torch's own streams for batch k of the process `rank`."""
    word = int(np.random.SeedSequence([seed, k, rank]).generate_state(1, np.uint64)[0] >> 1)
    # torch.manual_seed would note a stack trace for each kind of device that isn't there, which takes as long as half
    # a small network's step.
    torch.default_generator.manual_seed(word)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(word)
