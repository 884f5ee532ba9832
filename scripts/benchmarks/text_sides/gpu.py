"""BERT-base and GPT-2 124M on a GPU, in bfloat16 and compiled: the share of the chip's speed that training reaches.

Never run by us: there was no GPU at hand. The chip's speed is that of a large product of bfloat16 matrices, measured in
the same run. Only the operations that learning needs are counted: three times a forward pass, and for BERT the logits
of the masked tokens alone, although transformers computes those of all tokens.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from text_sides.nanogpt import NanoGPT
from text_sides.timing import alone, repeated

LAYERS, WIDTH = 12, 768
NETWORK = ["model.network.size=base", "model.network.positions=learned"]
BERT = {"length": 128, "rows": 256, "vocabulary": 30_522, "predicted": 0.15}
GPT = {"length": 1024, "rows": 12, "vocabulary": 50_304, "predicted": 1.0}
COMPILED = {"use_cpu": False, "bf16": True, "torch_compile": True}  # for transformers' Trainer
ON_GPU = [
    "trainer=gpu",
    "trainer.precision=bf16-mixed",
    "trainer.compile=true",
]  # it compiles in the first step, which is not measured


def table(steps: int, news: Callable[[], list[str]], nanogpt: Path | None, shakespeare: Path, folder: Path) -> None:
    """Print the table: tokens per second of each side, and the share of the chip's speed."""
    if not torch.cuda.is_available():
        sys.exit("--device cuda needs an NVIDIA GPU that torch can use, and there is none here.")
    chip_speed = alone(1, "gpu:products_per_s")
    print(f"{torch.cuda.get_device_name()}: {chip_speed / 1e12:,.0f} TFLOP/s in a bfloat16 product.\n")
    print("| | tokens/s, peer | share of that speed | tokens/s, ssl | share |\n|---|---|---|---|---|")
    words = [*news(), *NETWORK, f"trainer.batch_size={BERT['rows']}", *ON_GPU]
    print_row("BERT base, transformers", BERT, chip_speed, [
        alone(1, "run_mlm:seconds_a_step", folder, {}, BERT["rows"], steps, **COMPILED),
        alone(1, "ours:seconds_a_step", folder, words, steps),
    ])  # fmt: skip
    if nanogpt is None:
        return
    words = [
        "model=gpt", "data=text", f"data.files={shakespeare}", "data.val=0.1", "tokenizer=char", *NETWORK,
        f"model.network.context={GPT['length']}", f"model.network.vocab_size={GPT['vocabulary']}",
        f"trainer.batch_size={GPT['rows']}", "optim=adamw", *ON_GPU,
    ]  # fmt: skip
    print_row("GPT-2 124M, nanoGPT", GPT, chip_speed, [
        nanogpt_seconds(nanogpt, shakespeare, folder, steps),
        alone(1, "ours:seconds_a_step", folder, words, steps),
    ])  # fmt: skip


def print_row(name: str, model: dict[str, Any], chip_speed: float, seconds: list[float]) -> None:
    """Print a row of the table, from the seconds of a step of each side."""
    rates = [model["rows"] * model["length"] / each for each in seconds]
    cells = [f"{rate:,.0f} | {rate * operations_a_token(**model) / chip_speed:.1%}" for rate in rates]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def operations_a_token(length: int, vocabulary: int, predicted: float, rows: int) -> float:
    """Return the operations of a training step per token: two for each weight and attention score, three times."""
    weights = 12 * LAYERS * WIDTH**2 + predicted * vocabulary * WIDTH
    return 6 * weights + 12 * LAYERS * WIDTH * length


# --- what the sides do ---


def products_per_s(size: int = 8192, times: int = 20) -> float:
    """Return the operations per second of square bfloat16 products."""
    a, b = torch.randn(2, size, size, device="cuda", dtype=torch.bfloat16)

    def work() -> None:
        for _ in range(times):
            a @ b
        torch.cuda.synchronize()

    return 2 * size**3 * times / repeated(work)


def nanogpt_seconds(source: Path, shakespeare: Path, folder: Path, steps: int) -> float:
    """Return the median seconds of a step of nanoGPT on random tokens."""
    peer = NanoGPT(source, shakespeare, folder, threads=1)
    data = peer.folder / "data/random"  # without meta.pkl, so that the vocabulary is GPT-2's
    data.mkdir()
    for split in ("train", "val"):
        np.random.default_rng(0).integers(50_257, size=10**6, dtype=np.uint16).tofile(data / f"{split}.bin")
    settings = {
        "device": "cuda", "compile": True, "dtype": "bfloat16", "dataset": "random", "batch_size": GPT["rows"],
        "block_size": GPT["length"], "n_layer": LAYERS, "n_head": 12, "n_embd": WIDTH, "dropout": 0.0,
    }  # fmt: skip
    return peer.seconds_a_step(settings, steps)
