"""Model FLOPs utilisation: the share of a GPU's own pace that training reaches (PaLM, arXiv 2204.02311, appendix B)."""

import time

import torch

from ssl_cli.models.transformer import Transformer

SIZE, TIMES = 8192, 20  # of the product by which a GPU's pace is measured


def model_flops_utilisation(network: Transformer, guessed: float, tokens_per_s: float, pace: float) -> float:
    """`guessed`: share of the tokens whose logits are computed; `pace`: operations a second of the device."""
    return tokens_per_s * operations_a_token(network, guessed) / pace


def operations_a_token(network: Transformer, guessed: float) -> float:
    """Of a training step, in rows of the network's context: two for each weight and each number that attention
    compares, three times (forward, and twice backward)."""
    width = network.width
    block = 4 * width**2 + 2 * width * network.feedforward
    weights = network.layers * block + guessed * network.vocab_size * width
    return 6 * weights + 12 * network.layers * width * network.context


def products_per_s(device: torch.device, size: int = SIZE, times: int = TIMES) -> float:
    """Operations a second of square bfloat16 products on a GPU, measured now."""
    a, b = torch.randn(2, size, size, device=device, dtype=torch.bfloat16)
    for _ in range(2):  # the first choose a kernel
        a @ b
    torch.cuda.synchronize(device)
    started = time.perf_counter()
    for _ in range(times):
        a @ b
    torch.cuda.synchronize(device)
    return 2 * size**3 * times / (time.perf_counter() - started)
