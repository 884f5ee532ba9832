"""ssl summarize: summaries of texts by a finished run."""

import json
from pathlib import Path

from omegaconf import DictConfig

from ssl_cli import console
from ssl_cli.commands.articles.finished import reopen
from ssl_cli.commands.pretrain.fill import output_path
from ssl_cli.data.io.lines import read_numbered_lines
from ssl_cli.errors import InputError
from ssl_cli.runs.outputs import write_output_file


def run(cfg: DictConfig) -> Path | None:
    """Summarize `cfg.text`, or the lines of `cfg.input`. Return the path of the output file, if any."""
    texts, output = read_texts(cfg), output_path(cfg)
    finished = reopen(cfg.run, cfg.paths.outputs, cfg.trust)
    summaries = finished.summarize(texts)
    console.say(f"summarize with {finished.folder}")
    if output is None:
        for summary in summaries:
            console.say(summary)
        return None
    rows = ({"text": text, "summary": summary} for text, summary in zip(texts, summaries, strict=True))
    write_output_file(output, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())
    console.say(f"texts: {len(texts):,} in = {len(summaries):,} summarized")
    return output


def read_texts(cfg: DictConfig) -> list[str]:
    """Return the texts to summarize. Raises InputError if there are none, or two ways to name them."""
    if cfg.text is not None and cfg.input is not None:
        raise InputError("text= and input= both name texts to summarize: set one of them.")
    if cfg.input is not None:
        return list(read_numbered_lines("input", cfg.input).values())
    texts = [cfg.text] if isinstance(cfg.text, str) else list(cfg.text or [])
    if not texts:
        raise InputError('There is no text to summarize: set text="...", or input=FILE with a text per line.')
    return texts
