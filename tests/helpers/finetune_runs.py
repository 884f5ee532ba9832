"""Finished runs of `ssl finetune`, written directly: small, untrained, and fast."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from safetensors.torch import save_model
from torch import nn

from ssl_cli.config.choices import built_in_conf
from ssl_cli.config.instantiate import build
from ssl_cli.runs.digests import write_digests
from ssl_cli.tasks.task import GeneratesText
from tests.helpers.pretrain_runs import tokenizer_of

NETWORK = {
    "_target_": "ssl_cli.models.transformer.Transformer",
    **{"context": 128, "layers": 2, "width": 32, "heads": 2, "segments": 2, "norm": "pre", "causal": False},
}


def task_node(task: str, **options: Any) -> dict[str, Any]:
    """Return a YAML of conf/task as a plain dictionary, with that of the task it inherits from."""
    node: Any = OmegaConf.to_container(OmegaConf.load(built_in_conf() / "task" / f"{task}.yaml"), resolve=False)
    parents = [name for name in node.pop("defaults", []) if isinstance(name, str) and name != "_self_"]
    for parent in parents:
        node = task_node(parent) | node
    return node | options


def make_run(
    folder: Path,
    task: str = "glue/sst2",
    labels: Sequence[str] = ("0", "1"),
    max_length: int = 32,
    learned: dict[str, Any] | None = None,
    network: dict[str, Any] | None = None,
    **options: Any,
) -> Path:
    """Write the files of a run folder that `ssl predict` reads, and return the folder."""
    folder.mkdir(parents=True)
    tokenizer, node = tokenizer_of("wordpiece"), task_node(task, **options)
    the_task = build(OmegaConf.create(node))
    writes = isinstance(the_task, GeneratesText)
    shape = {name: value for name, value in NETWORK.items() if not writes or name not in ("segments", "causal")}
    model = {
        "_target_": the_task.method,
        "network": shape | {"_target_": the_task.network, "vocab_size": tokenizer.vocab_size} | (network or {}),
        **the_task.options(labels),
        **({"style": "t5", "specials": tokenizer.specials} if writes else {"dropout": 0.1}),
    }
    config = {
        "verb": "finetune",
        "choices": {"model": "bert", "data": task.replace("/", "-"), "task": task.replace("/", "-")},
        "task": node,
        "model": model,
        "facts": {"labels": list(labels), "max_length": max_length, "style": "t5" if writes else None},
        "paths": {"data": "data", "outputs": "outputs"},
        "seed": 0,
        "summary_metrics": ["dev/accuracy"],
    }
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    (folder / "metrics.json").write_text(json.dumps({"dev/accuracy": 0.5}))
    if learned is not None:
        (folder / "learned.json").write_text(json.dumps(learned))
    save_model(_with_large_weights(build(OmegaConf.create(model))), str(folder / "model.safetensors"))
    tokenizer.save(folder / "tokenizer.json")
    write_digests(folder)
    return folder


def _with_large_weights(model: Any) -> Any:
    """Set large weights, so that predictions differ between texts."""
    torch.manual_seed(0)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                part.weight.normal_(std=0.3)
    return model.eval()
