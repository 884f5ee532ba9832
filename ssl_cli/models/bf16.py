"""Whether bfloat16 is worth it."""

import torch


def has_bf16(device: torch.device) -> bool:
    """Whether a product of bfloat16 numbers is one instruction there, and not many."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    tests = (getattr(torch.cpu, f"_is_{name}_supported", None) for name in ("avx512_bf16", "amx_tile"))
    return device.type == "cpu" and any(test() for test in tests if test)
