"""Model FLOPs utilisation: the share of a GPU's speed that training reaches (PaLM, arXiv 2204.02311, appendix B)."""

import time
from collections.abc import Iterable

import torch
from torch import nn

from ssl_cli.models.blocks import DecoderBlock
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.transformer import Transformer

MATRIX_SIZE, REPEATS = 8192, 20  # of the products by which a GPU's speed is measured


def flops_per_token(network: Transformer, predicted_share: float) -> float:
    """Return the operations of a training step per token, in rows of the network's full context.

    They are two for each weight and each number that attention compares, three times: forward, and twice backward.
    `predicted_share` is the share of the tokens whose logits are computed.
    """
    weights = n_weights(network.blocks) + predicted_share * network.vocab_size * network.width
    return 6 * weights + 12 * network.layers * network.heads * network.head_width * network.context


def flops_per_pair(network: EncoderDecoder, source: int, target: int) -> float:
    """Return the operations of a training step per pair of a source and a target, of so many tokens each."""
    blocks = [block for block in network.decoder.blocks if isinstance(block, DecoderBlock)]
    reads_source = n_weights(block.cross_attention.kv for block in blocks)
    per_source = n_weights(network.encoder.blocks) + reads_source
    per_target = n_weights(network.decoder.blocks) - reads_source + network.vocab_size * network.width
    compared = network.layers * source**2 + network.decoder_layers * target * (target + source)
    return 6 * (source * per_source + target * per_target) + 12 * network.heads * network.head_width * compared


def n_weights(parts: Iterable[nn.Module]) -> int:
    """Return how many weights the matrices of some layers have."""
    return sum(weight.numel() for part in parts for weight in part.parameters() if weight.dim() > 1)


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
