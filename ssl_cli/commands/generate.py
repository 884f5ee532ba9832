"""ssl generate: generate images or texts with a finished run."""

import json
import time
from itertools import chain
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.finished import load, runs_that_can
from ssl_cli.commands.pretrain.finished import PretrainRun
from ssl_cli.commands.reconstruct.finished import ImageRun
from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import read_yaml
from ssl_cli.data.io.lines import read_lines
from ssl_cli.errors import InputError
from ssl_cli.evaluation.plots import image_grid
from ssl_cli.files import write_text
from ssl_cli.methods.protocols import ContinuesText, Generates, WritesText
from ssl_cli.models.generation.detokenize import Completion
from ssl_cli.models.generation.request import GenerationRequest
from ssl_cli.models.generation.sampling import Sampling
from ssl_cli.runs.folder import find_run
from ssl_cli.runs.outputs import check_output_is_free, output_folder

GRID, SAMPLES, TEXTS = "samples.png", "samples.npz", "texts.jsonl"
DEFAULT_IMAGES = 64
# Options that only affect runs that generate text.
TEXT_OPTIONS = (
    *("prompt", "prompts", "max_tokens", "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "stop"),
    *("beams", "length_penalty", "no_repeat_ngram", "min_tokens", "batch_size", "precision"),
)
DEFAULT_TEMPERATURE = 0.8  # where texts are drawn


def run(cfg: DictConfig) -> Path | None:
    """Generate what the run's model generates, and return the output folder.

    Images are always written to a folder. Texts are only printed if `cfg.output` is null, and then it returns None.
    """
    check_output_is_free(cfg.output, cfg.overwrite)
    trust = tuple((cfg.trust or "").split())
    run_filter = runs_that_can("generate", Generates, ContinuesText, WritesText, trust=trust)
    folder = find_run(cfg.run, cfg.paths.outputs, ("reconstruct", "pretrain"), finished=True, run_filter=run_filter)
    finished = load(folder, trust=trust)
    if isinstance(finished, PretrainRun):
        return generate_texts(cfg, finished)
    if not isinstance(finished, ImageRun):
        finished.require(Generates, "generate")
    assert isinstance(finished, ImageRun)
    return generate_images(cfg, finished)


# --- images -------------------------------------------------------------------------------------------------


def generate_images(cfg: DictConfig, finished: ImageRun) -> Path:
    """Write n images as an array and as a grid, and return their folder."""
    check_no_text_options(cfg, finished)
    n = DEFAULT_IMAGES if cfg.n is None else cfg.n
    console.say(f"generate n={n} seed={cfg.seed} with {finished.folder}")
    with output_folder(cfg.output, cfg.overwrite, default_parent(cfg, finished)) as (folder, place):
        x = finished.generate(n, cfg.seed)
        np.savez_compressed(folder / SAMPLES, x=x)
        image_grid.grid(folder / GRID, x)
    shown = f" ({GRID} shows the first {image_grid.MAX_IMAGES})" if len(x) > image_grid.MAX_IMAGES else ""
    console.say(f"{len(x):,} images of {x.shape[2]} x {x.shape[3]}{shown}")
    return place


def check_no_text_options(cfg: DictConfig, finished: ImageRun) -> None:
    """Raise InputError if an option for texts differs from its default."""
    defaults = read_yaml(built_in_conf() / "generate.yaml")
    if unused := [name for name in TEXT_OPTIONS if cfg[name] != defaults[name]]:
        raise InputError(
            f"{', '.join(unused)}: only for texts, but {finished.folder} generates images; use a run of "
            "`ssl pretrain model=gpt`."
        )


def default_parent(cfg: DictConfig, finished: ImageRun | PretrainRun) -> Path:
    """Return the folder of a new output folder, for output=null."""
    return Path(cfg.paths.outputs) / "generate" / finished.folder.resolve().name


# --- texts --------------------------------------------------------------------------------------------------


def generate_texts(cfg: DictConfig, finished: PretrainRun) -> Path | None:
    """Print n texts for each prompt, a single one while it is generated; return the folder, if there is one."""
    prompts, stop = read_prompts(cfg), stop_strings(cfg)
    request = GenerationRequest(
        *(cfg.n or 1, cfg.max_tokens, cfg.seed, cfg.batch_size),
        *(cfg.min_tokens, cfg.beams, cfg.length_penalty, cfg.no_repeat_ngram),
    )
    temperature = cfg.temperature
    if temperature is None:
        temperature = 0.0 if finished.draws_nothing(request) else DEFAULT_TEMPERATURE
    sampling = Sampling(temperature, cfg.top_k, cfg.top_p, cfg.min_p, cfg.repetition_penalty)
    finished.check_request(prompts, request, sampling, stop)  # raises its InputError before a prompt is printed
    console.say(f"generate n={request.n} seed={request.seed} with {finished.folder}")
    restores, start = isinstance(finished.model, WritesText), time.monotonic()
    streams = len(prompts) == request.n == request.beams == 1 and finished.writes_text
    if streams:
        console.say(prompts[0], style="dim") if restores else console.say_piece(prompts[0])
    on_text = console.say_piece if streams else None
    completions = finished.generate(prompts, request, sampling, stop, cfg.precision, on_text)
    elapsed_s = time.monotonic() - start
    console.say_piece("\n") if streams else print_texts(prompts, completions, restores)
    n_tokens = sum(len(completion.tokens) for completion in chain(*completions))
    console.say(f"{n_tokens:,} tokens in {elapsed_s:.1f} s: {n_tokens / elapsed_s:,.0f} tokens/s", style="dim")
    if cfg.output is None:
        return None
    with output_folder(cfg.output, cfg.overwrite, default_parent(cfg, finished)) as (folder, place):
        write_text(folder / TEXTS, "".join(json_lines(prompts, completions)))
    return place


def read_prompts(cfg: DictConfig) -> list[str]:
    """Return the prompts: the lines of `cfg.prompts`, or `cfg.prompt`. Raises InputError if both are set."""
    if cfg.prompts is None:
        return [cfg.prompt or ""]
    if cfg.prompt is not None:
        raise InputError("prompt= and prompts= both give prompts: set only one of them.")
    return read_lines("prompts", cfg.prompts)


def stop_strings(cfg: DictConfig) -> list[str]:
    r"""Return the stop strings, with \n as a new line. Raises InputError if one is empty."""
    if "" in cfg.stop:
        raise InputError("stop has an empty text, which would end every text at once: leave it out.")
    return [text.replace("\\n", "\n") for text in cfg.stop]


def print_texts(prompts: list[str], completions: list[list[Completion]], restores: bool) -> None:
    """Print each prompt with each of its completions, or below it the texts that it was restored to.

    Above a restored text is what the model wrote, if that is not the text itself.
    """
    for number, (prompt, of_prompt) in enumerate(zip(prompts, completions, strict=True), 1):
        if restores:
            console.say(prompt, style="dim")
        for sample, completion in enumerate(of_prompt, 1):
            if len(prompts) > 1 or len(of_prompt) > 1:
                console.say(f"--- prompt {number} of {len(prompts)}, text {sample} of {len(of_prompt)}", style="dim")
            if completion.target:
                console.say(completion.target, style="dim")
            console.say(completion.text if restores else prompt + completion.text)


def json_lines(prompts: list[str], completions: list[list[Completion]]) -> list[str]:
    """Return a line of JSON for each completion."""
    rows = [
        {
            "prompt": prompt,
            "text": completion.text,
            **({"target": completion.target} if completion.target else {}),
            "tokens": len(completion.tokens),
            "ended": completion.finish_reason,
        }
        for prompt, of_prompt in zip(prompts, completions, strict=True)
        for completion in of_prompt
    ]
    return [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
