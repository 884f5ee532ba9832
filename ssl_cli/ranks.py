"""Which process of a distributed run this is."""

import os
import re

# As Lightning, torchrun and Slurm call it.
RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")


def is_worker() -> bool:
    """Whether this is one of the other processes of a distributed run: the first one writes and says everything."""
    return any(re.fullmatch(r"[1-9]\d*", os.environ.get(rank, "")) for rank in RANKS)
