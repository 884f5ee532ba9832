"""BERT-base and GPT-2 124M on a GPU, in bfloat16 and compiled: the share of the chip's own pace that training reaches.

Never run by us: there was no GPU at hand. The chip's pace is that of a large product of bfloat16 matrices, measured on
the spot. Operations are counted as learning needs them, three times a forward pass, and for BERT with the logits of the
hidden tokens alone: transformers, which computes those of all, is credited with no more.
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
BERT = {"length": 128, "rows": 256, "vocabulary": 30_522, "guessed": 0.15}
GPT = {"length": 1024, "rows": 12, "vocabulary": 50_304, "guessed": 1.0}
COMPILED = {"use_cpu": False, "bf16": True, "torch_compile": True}  # of transformers' Trainer
ON_GPU = ["trainer=gpu", "trainer.precision=bf16-mixed", "trainer.compile=true"]  # in a first step, uncounted


def table(steps: int, news: Callable[[], list[str]], nanogpt: Path | None, shakespeare: Path, folder: Path) -> None:
    if not torch.cuda.is_available():
        sys.exit("--device cuda needs an NVIDIA GPU that torch can use, and there is none here.")
    pace = alone(1, "gpu:products_per_s")
    print(f"{torch.cuda.get_device_name()}: {pace / 1e12:,.0f} TFLOP/s in a bfloat16 product.\n")
    print("| | tokens/s, peer | share of that pace | tokens/s, ssl | share |\n|---|---|---|---|---|")
    words = [*news(), "model.size=base", "model.positions=learned", f"trainer.batch_size={BERT['rows']}", *ON_GPU]
    line("BERT base, transformers", BERT, pace, [
        alone(1, "run_mlm:seconds_a_step", folder, {}, BERT["rows"], steps, **COMPILED),
        alone(1, "ours:seconds_a_step", folder, words, steps),
    ])  # fmt: skip
    if nanogpt is None:
        return
    words = [
        "model=gpt", "data=text", f"data.files={shakespeare}", "data.val=0.1", "tokenizer=char", "model.size=base",
        f"model.context={GPT['length']}", f"model.vocab_size={GPT['vocabulary']}", "model.positions=learned",
        f"trainer.batch_size={GPT['rows']}", *ON_GPU,
    ]  # fmt: skip
    line("GPT-2 124M, nanoGPT", GPT, pace, [
        nanogpt_seconds(nanogpt, shakespeare, folder, steps),
        alone(1, "ours:seconds_a_step", folder, words, steps),
    ])  # fmt: skip


def line(name: str, model: dict[str, Any], pace: float, seconds: list[float]) -> None:
    rates = [model["rows"] * model["length"] / each for each in seconds]
    cells = [f"{rate:,.0f} | {rate * operations_a_token(**model) / pace:.1%}" for rate in rates]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def operations_a_token(length: int, vocabulary: int, guessed: float, rows: int) -> float:
    """Of a training step: two for each weight and each number that attention compares, three times"""
    weights = 12 * LAYERS * WIDTH**2 + guessed * vocabulary * WIDTH
    return 6 * weights + 12 * LAYERS * WIDTH * length


# --- what the sides do ---


def products_per_s(size: int = 8192, times: int = 20) -> float:
    """Operations a second of square bfloat16 products"""
    a, b = torch.randn(2, size, size, device="cuda", dtype=torch.bfloat16)

    def work() -> None:
        for _ in range(times):
            a @ b
        torch.cuda.synchronize()

    return 2 * size**3 * times / repeated(work)


def nanogpt_seconds(source: Path, shakespeare: Path, folder: Path, steps: int) -> float:
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
