"""ssl generate: draw new images, or go on with texts, by a finished run."""

import json
import time
from itertools import chain
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finished import load, runs_that_can
from ssl_cli.commands.pretrain.finished import PretrainRun
from ssl_cli.commands.reconstruct.finished import ReconstructRun
from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import read_yaml
from ssl_cli.config.use_verbs import GenerateConfig
from ssl_cli.data.io.lines import read_lines
from ssl_cli.errors import InputError
from ssl_cli.evaluation.plots import image_grid
from ssl_cli.files import write_text
from ssl_cli.models.generation.decode import GenerationRequest
from ssl_cli.models.generation.detokenize import Completion
from ssl_cli.models.generation.sampling import Sampling
from ssl_cli.runs.folder import find_run
from ssl_cli.runs.outputs import refuse_taken, results

SHEET, SAMPLES, TEXTS = "samples.png", "samples.npz", "texts.jsonl"
IMAGES = 64  # where nobody says how many


def run(cfg: DictConfig) -> Path | None:
    """What the run can draw: images into a folder, whose path it returns; or texts, into one only if asked."""
    refuse_taken(cfg.output, cfg.overwrite)
    trust = tuple((cfg.trust or "").split())
    draws = runs_that_can("generate", "generate", "next_logits", trust=trust)
    folder = find_run(cfg.run, cfg.paths.outputs, ("reconstruct", "pretrain"), finished=True, run_filter=draws)
    finished = load(folder, trust=trust)
    if isinstance(finished, PretrainRun):
        return texts(cfg, finished)
    assert isinstance(finished, ReconstructRun)
    return images(cfg, finished)


# --- images -------------------------------------------------------------------------------------------------


def images(cfg: DictConfig, finished: ReconstructRun) -> Path:
    refuse_of_text(cfg, finished)
    n = IMAGES if cfg.n is None else cfg.n
    console.say(f"generate n={n} seed={cfg.seed} with {finished.folder}")
    with results(cfg.output, cfg.overwrite, place_for(cfg, finished)) as (folder, place):
        x = finished.generate(n, cfg.seed)
        np.savez_compressed(folder / SAMPLES, x=x)
        image_grid.grid(folder / SHEET, x)
    shown = f" ({SHEET} shows the first {image_grid.SHOWN})" if len(x) > image_grid.SHOWN else ""
    console.say(f"{len(x):,} images of {x.shape[2]} x {x.shape[3]}{shown}")
    return place


def refuse_of_text(cfg: DictConfig, finished: ReconstructRun) -> None:
    defaults = read_yaml(built_in_conf() / "generate.yaml")
    if idle := [name for name in GenerateConfig.of_text if cfg[name] != defaults[name]]:
        raise InputError(
            f"{', '.join(idle)}: no say in images, which {finished.folder} draws; a run of `ssl pretrain model=gpt` "
            "writes texts."
        )


def place_for(cfg: DictConfig, finished: ReconstructRun | PretrainRun) -> Path:
    return Path(cfg.paths.outputs) / "generate" / finished.folder.resolve().name


# --- texts --------------------------------------------------------------------------------------------------


def texts(cfg: DictConfig, finished: PretrainRun) -> Path | None:
    prompts, stop = prompts_of(cfg), stops_of(cfg)
    wish = GenerationRequest(cfg.n or 1, cfg.max_tokens, cfg.seed, cfg.batch_size)
    sampling = Sampling(cfg.temperature, cfg.top_k, cfg.top_p, cfg.min_p, cfg.repetition_penalty)
    finished.prompted(prompts, wish, sampling)  # what is refused is so before the prompt is shown
    console.say(f"generate n={wish.n} seed={wish.seed} with {finished.folder}")
    is_one, started = len(prompts) == wish.n == 1, time.monotonic()
    if is_one:
        console.say_piece(prompts[0])
    found = finished.generate(prompts, wish, sampling, stop, cfg.precision, console.say_piece if is_one else None)
    seconds = time.monotonic() - started
    console.say_piece("\n") if is_one else print_texts(prompts, found)
    written = sum(len(writer.tokens) for writer in chain(*found))
    console.say(f"{written:,} tokens in {seconds:.1f} s: {written / seconds:,.0f} tokens/s", style="dim")
    if cfg.output is None:
        return None
    with results(cfg.output, cfg.overwrite, place_for(cfg, finished)) as (folder, place):
        write_text(folder / TEXTS, "".join(lines_of(prompts, found)))
    return place


def prompts_of(cfg: DictConfig) -> list[str]:
    if cfg.prompts is None:
        return [cfg.prompt or ""]
    if cfg.prompt is not None:
        raise InputError("prompt= and prompts= are two things to go on from: say one of them.")
    return read_lines("prompts", cfg.prompts)


def stops_of(cfg: DictConfig) -> list[str]:
    if "" in cfg.stop:
        raise InputError("stop has an empty text, at which every text would end at once: name one that may come.")
    return [text.replace("\\n", "\n") for text in cfg.stop]


def print_texts(prompts: list[str], found: list[list[Completion]]) -> None:
    for number, (prompt, writers) in enumerate(zip(prompts, found, strict=True), 1):
        for sample, writer in enumerate(writers, 1):
            console.say(f"--- prompt {number} of {len(prompts)}, text {sample} of {len(writers)}", style="dim")
            console.say(prompt + writer.text)


def lines_of(prompts: list[str], found: list[list[Completion]]) -> list[str]:
    rows = [
        {"prompt": prompt, "text": writer.text, "tokens": len(writer.tokens), "ended": writer.ended}
        for prompt, writers in zip(prompts, found, strict=True)
        for writer in writers
    ]
    return [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
