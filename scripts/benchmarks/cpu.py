"""The tricks of `ssl_cli/models/cpu.py`, each on and off: does it still pay with this torch, on this CPU?

One thread. On and off take turns; times are CPU times, so other processes disturb little. Figures are medians over the
rounds, ratios are medians of each round's. A trick that no longer pays on any CPU is deleted.
"""

import argparse
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from ssl_cli.models import cpu
from ssl_cli.models.attention import same_document
from ssl_cli.models.convnet import ConvDecoder, ConvEncoder
from ssl_cli.models.generation.packed_weights import InferenceModel
from ssl_cli.models.mlp import mlp
from ssl_cli.models.transformer import Transformer

PAYS = 1.03  # times as fast
TURN_S = 0.25  # CPU time of one side in a round
Call = Callable[[], object]
Context = Callable[[], AbstractContextManager[object]]


@dataclass
class Trick:
    """A trick: what is computed with it and without, and the settings in which each is computed."""

    name: str
    on: Call
    off: Call
    on_settings: Context = nullcontext
    off_settings: Context = nullcontext


def autocast() -> AbstractContextManager[object]:
    """Return the settings of mixed precision."""
    return torch.autocast("cpu", torch.bfloat16)


def training_step(network: nn.Module, x: Tensor) -> Call:
    """Return a call that computes an output and the gradients of all weights."""

    def step() -> None:
        network.zero_grad()
        network(x).float().square().mean().backward()

    return step


def inference(network: nn.Module, x: Tensor) -> Call:
    """Return a call that computes an output without gradients."""

    def run() -> None:
        with torch.inference_mode():
            network(x)

    return run


def transformer(size: str, **options: object) -> Transformer:
    """Return a transformer with a small vocabulary: its blocks are what is measured."""
    return Transformer(vocab_size=1000, context=512, size=size, **options)  # type: ignore[arg-type]


def linear_layers() -> Iterator[Trick]:
    """Yield the layer that trains by oneDNN, in the network of a VAE of MNIST."""
    x, widths = torch.rand(256, 784), [784, 512, 256, 512, 784]
    torch_layers, own_layers = mlp(widths, "gelu"), mlp(widths, "gelu", cpu.Linear)
    yield Trick("Linear: a step of 784-512-256-512-784", training_step(own_layers, x), training_step(torch_layers, x))


def convolutions() -> Iterator[Trick]:
    """Yield the layout in which convolutions train, in the network of a VQ-VAE of MNIST."""
    shape, channels, x = [1, 28, 28], [32, 64], torch.rand(128, 1, 28, 28)

    def network() -> nn.Sequential:
        return nn.Sequential(ConvEncoder(shape, channels, "relu", 2), ConvDecoder(shape, channels, "relu", 2))

    tuned = network()
    cpu.set_layout(tuned, torch.channels_last)
    yield Trick("set_layout: a step in float32", training_step(tuned, x), training_step(network(), x))


def transformer_steps() -> Iterator[Trick]:
    """Yield the settings for large products, and bfloat16, in a step of BERT 4 x 256 on 16 x 128 tokens."""
    network, ids = Transformer(vocab_size=30_522, context=128, size="mini"), torch.randint(1000, (16, 128))

    def step() -> None:
        network.zero_grad()
        masked = network(ids)[:, ::7].flatten(0, 1)
        functional.cross_entropy(network.logits(masked).float(), ids[:, ::7].flatten()).backward()

    yield Trick("onednn_matmuls: a step in float32", step, step, cpu.onednn_matmuls)
    yield Trick("freed_memory_kept: a step in float32", step, step, cpu.freed_memory_kept)
    both = cpu.tuned_for_large_matmuls

    def in_bf16() -> AbstractContextManager[object]:
        settings = ExitStack()
        settings.enter_context(both())
        settings.enter_context(autocast())
        return settings

    yield Trick("freed_memory_kept: a step in bfloat16", step, step, in_bf16, autocast)
    yield Trick("bfloat16 beside tuned float32: a step", step, step, in_bf16, both)


def attention() -> Iterator[Trick]:
    """Yield attention by plain products: with gradients, and of a single query."""
    sizes = [(dtype, tokens) for dtype in (torch.float32, torch.bfloat16) for tokens in (128, 256, 512)]
    for dtype, tokens in sizes:
        q, k, v = (torch.randn(8, 4, tokens, 64, dtype=dtype, requires_grad=True) for _ in range(3))
        name = f"attend_by_matmul: gradients, {tokens} tokens, {str(dtype)[6:]}"
        yield Trick(
            name,
            lambda q=q, k=k, v=v: cpu.attend_by_matmul(q, k, v, None, False, 0.0).sum().backward(),
            lambda q=q, k=k, v=v: functional.scaled_dot_product_attention(q, k, v).sum().backward(),
            cpu.tuned_for_large_matmuls,
            cpu.tuned_for_large_matmuls,
        )
    for keys in (256, 1000):
        q = torch.randn(16, 12, 1, 64, dtype=torch.bfloat16)
        k, v = (torch.randn(16, 12, keys, 64, dtype=torch.bfloat16) for _ in range(2))
        yield Trick(
            f"attend_single_query: {keys} keys, bfloat16",
            lambda q=q, k=k, v=v: cpu.attend_single_query(q, k, v, None),
            lambda q=q, k=k, v=v: functional.scaled_dot_product_attention(q, k, v),
        )


def masks() -> Iterator[Trick]:
    """Yield attention within documents by a mask of numbers and one of bool; the numbers serve all layers."""
    q, k, v = (torch.randn(16, 4, 128, 64, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))
    document = torch.arange(128).div(43, rounding_mode="floor").expand(16, -1)
    mask = same_document(document, document)
    numbers = cpu.mask_to_add(mask, torch.bfloat16)

    def attend_with(mask: Tensor) -> Call:
        return lambda: cpu.attend_by_matmul(q, k, v, mask, False, 0.0).sum().backward()

    settings = cpu.tuned_for_large_matmuls
    yield Trick("mask_to_add: gradients, 128 tokens", attend_with(numbers), attend_with(mask), settings, settings)


def weights_for_inference() -> Iterator[Trick]:
    """Yield weights laid out in advance, and weights in bfloat16."""
    for dtype in (torch.float32, torch.bfloat16):
        layer = nn.Linear(768, 3072).to(dtype).requires_grad_(False)
        packed = cpu.PackedLinear(layer.weight.detach(), layer.bias.detach())
        for rows in (1, 16):
            x = torch.randn(rows, 768, dtype=dtype)
            name = f"PackedLinear: {rows} rows, {str(dtype)[6:]}"
            yield Trick(name, inference(packed, x), inference(layer, x))
    network, ids = transformer("base", layers=4, width=768, causal=True).eval(), torch.randint(1000, (16, 1))
    models = [InferenceModel(network, precision) for precision in ("bf16-true", "32-true")]

    def next_logits(model: InferenceModel) -> Call:
        def run() -> None:
            with torch.inference_mode():
                model.next_logits(ids, model.new_cache(16, 8))

        return run

    yield Trick("bfloat16 weights: a token of GPT 4 x 768", *map(next_logits, models))


def seeding() -> Iterator[Trick]:
    """Yield the seeding of the CPU's generator alone, once a step (`training/seeding.py`)."""
    own, every = torch.default_generator.manual_seed, torch.manual_seed
    yield Trick("default_generator.manual_seed", lambda: own(1), lambda: every(1))


def turn(call: Call, settings: Context, n_calls: int) -> float:
    """Return the CPU time of a call in seconds, after an untimed one."""
    with settings():
        call()
        started = time.process_time()
        for _ in range(n_calls):
            call()
        return (time.process_time() - started) / n_calls


def measure(trick: Trick, rounds: int) -> tuple[float, float, float]:
    """Return the CPU times with and without the trick, in seconds, and how many times as fast it is."""
    n_calls = max(1, math.ceil(TURN_S / max(turn(trick.off, trick.off_settings, 1), 1e-7)))
    pairs = [
        (turn(trick.on, trick.on_settings, n_calls), turn(trick.off, trick.off_settings, n_calls))
        for _ in range(rounds)
    ]
    on, off = (statistics.median(side) for side in zip(*pairs, strict=True))
    return on, off, statistics.median(without / with_ for with_, without in pairs)


def cpu_kind() -> str:
    """Return the CPU's maker and the instructions that matter here."""
    path = Path("/proc/cpuinfo")
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    maker = next((name for name, word in {"AMD": "AuthenticAMD", "Intel": "GenuineIntel"}.items() if word in text), "")
    has_amx = "amx_tile" in text
    return (
        f"{maker or sys.platform} CPU, {torch.backends.cpu.get_cpu_capability()}, "
        f"bfloat16 {'yes' if cpu.has_bf16(torch.device('cpu')) else 'no'}, AMX {'yes' if has_amx else 'no'}"
    )


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="rounds, in each of which on and off take turns")
    parser.add_argument("--only", default="", help="tricks with this in their name")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"torch {torch.__version__}, {cpu_kind()}, one thread, medians of {options.rounds} rounds.\n")
    print("| trick | on, ms | off, ms | times as fast | |\n|---|---|---|---|---|")
    for group in (linear_layers, convolutions, transformer_steps, attention, masks, weights_for_inference, seeding):
        for trick in group():
            if options.only not in trick.name:
                continue
            on, off, ratio = measure(trick, options.rounds)
            verdict = "pays" if ratio >= PAYS else "doesn't pay"
            print(f"| {trick.name} | {1e3 * on:.3g} | {1e3 * off:.3g} | {ratio:.2f} | {verdict} |", flush=True)


if __name__ == "__main__":
    main()
