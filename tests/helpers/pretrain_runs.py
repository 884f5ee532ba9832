"""Finished runs of `ssl pretrain`, made by hand: small, untrained, and quick to make."""

import json
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from safetensors.torch import save_model
from torch import nn

from ssl_cli.config.choices import built_in_conf
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.data.tokenizers.trainers import ByteLevelBPE, CharLevel, TrainedTokenizer, Unigram, WordLevel, WordPiece
from ssl_cli.methods.language.causal_lm import CausalLM
from ssl_cli.methods.language.masked_lm import MaskedLM

TEXT = [
    "Birds can fly. Fish can swim. A dog can run, and a bird can sing.",
    "The sun is warm, the moon is cold. Once upon a time there was a bird that could not fly.",
    "鸟会飞。鱼会游泳。 Ça va? Über 3 naïve cafés.",
] * 4
MAKERS: dict[str, TrainedTokenizer] = {
    "wordpiece": WordPiece(vocab_size=160, sample_bytes=10**6, lowercase=True),
    "bpe": ByteLevelBPE(vocab_size=300, sample_bytes=10**6),
    "unigram": Unigram(vocab_size=160, sample_bytes=10**6),
    "char": CharLevel(vocab_size=120, sample_bytes=10**6),
    "word": WordLevel(vocab_size=120, sample_bytes=10**6, lowercase=True),
}
SMALL: dict[str, Any] = {"size": None, "layers": 2, "width": 32, "heads": 2, "context": 32}
_made: dict[str, Tokenizer] = {}


def tokenizer_of(kind: str) -> Tokenizer:
    if kind not in _made:
        _made[kind] = MAKERS[kind].train(TEXT)
    return _made[kind]


def causal(vocab_size: int = 97, **options: Any) -> CausalLM:
    """A GPT whose next token depends on all those before it: its weights are large."""
    return _shaken(CausalLM(vocab_size, 4.0, **SMALL | {"norm": "pre"} | options))


def masked(tokenizer: Tokenizer, **options: Any) -> MaskedLM:
    return _shaken(MaskedLM(tokenizer.vocab_size, tokenizer.specials, **SMALL | {"norm": "pre"} | options))


def _shaken(model: Any) -> Any:
    torch.manual_seed(0)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                part.weight.normal_(std=0.6 if isinstance(part, nn.Linear) else 0.15)
    return model.eval()


def make_run(folder: Path, model: str = "gpt", tokenizer: str = "bpe", **options: Any) -> Path:
    """A run folder: what `ssl fill`, `ssl generate` and `ssl export` read of one."""
    folder.mkdir(parents=True)
    words = tokenizer_of(tokenizer)
    made = causal(words.vocab_size, **options) if model == "gpt" else masked(words, **options)
    own = {"bytes_per_token": 4.0} if model == "gpt" else {"specials": words.specials}
    defaults: Any = OmegaConf.to_container(OmegaConf.load(built_in_conf() / "model" / f"{model}.yaml"), resolve=False)
    defaults.pop("defaults", None)
    node = defaults | {"vocab_size": words.vocab_size}
    config = {
        "verb": "pretrain",
        "choices": {"model": model, "data": "pydoc", "tokenizer": tokenizer},
        "tokenizer": {"_target_": f"{type(MAKERS[tokenizer]).__module__}.{type(MAKERS[tokenizer]).__name__}"},
        "model": node | own | SMALL | options,
        "facts": {"vocab_size": words.vocab_size},
        "paths": {"data": "data", "outputs": "outputs"},
        "seed": 0,
        "summary_metrics": ["val/loss"],
    }
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    (folder / "metrics.json").write_text(json.dumps({"val/loss": 1.0}))
    save_model(made, str(folder / "model.safetensors"))
    words.save(folder / "tokenizer.json")
    return folder
