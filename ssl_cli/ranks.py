"""Which process of a distributed run this is, and who started it."""

import os
import re

# As Lightning, torchrun and Slurm call it.
RANKS = ("LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "SLURM_PROCID")


def is_worker() -> bool:
    """Whether this is one of the other processes of a distributed run: the first one writes and says everything."""
    return any(re.fullmatch(r"[1-9]\d*", os.environ.get(rank, "")) for rank in RANKS)


def by_torchrun() -> bool:
    return "TORCHELASTIC_RUN_ID" in os.environ


def by_srun() -> bool:
    """Whether srun has started several tasks: of a single one, the processes are ours to start."""
    return "SLURM_PROCID" in os.environ and _number("SLURM_NTASKS") > 1


def n_started() -> int | None:
    """How many processes torchrun or srun has started, on all nodes; None where that is left to us."""
    if by_torchrun():
        return _number("WORLD_SIZE")
    return _number("SLURM_NTASKS") if by_srun() else None


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else 1
