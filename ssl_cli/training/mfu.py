"""Model FLOPs utilisation: the share of a GPU's speed that training reaches (PaLM, arXiv 2204.02311, appendix B)."""

import time

import torch

from ssl_cli.models.transformer import Transformer

MATRIX_SIZE, REPEATS = 8192, 20  # of the products by which a GPU's speed is measured


def model_flops_utilisation(
    network: Transformer, predicted_share: float, tokens_per_s: float, device_flops_per_s: float
) -> float:
    """Return the utilisation of a device; `predicted_share` is the share of the tokens whose logits are computed."""
    return tokens_per_s * flops_per_token(network, predicted_share) / device_flops_per_s


def flops_per_token(network: Transformer, predicted_share: float) -> float:
    """Return the operations of a training step per token, in rows of the network's full context.

    They are two for each weight and each number that attention compares, three times: forward, and twice backward.
    """
    width = network.width
    block = 4 * width**2 + 2 * width * network.feedforward
    weights = network.layers * block + predicted_share * network.vocab_size * width
    return 6 * weights + 12 * network.layers * width * network.context


def measure_flops_per_s(device: torch.device, size: int = MATRIX_SIZE, repeats: int = REPEATS) -> float:
    """Return the operations a second of square bfloat16 matrix products on a GPU, measured now."""
    a, b = torch.randn(2, size, size, device=device, dtype=torch.bfloat16)
    for _ in range(2):  # the first ones choose a kernel
        a @ b
    torch.cuda.synchronize(device)
    started_s = time.perf_counter()
    for _ in range(repeats):
        a @ b
    torch.cuda.synchronize(device)
    return 2 * size**3 * repeats / (time.perf_counter() - started_s)
