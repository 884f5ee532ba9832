"""Small, untrained models and finished runs of `ssl pretrain`, which are quick to make."""

import json
from dataclasses import replace
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
from ssl_cli.methods.language.seq2seq_lm import Seq2SeqLM
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.transformer import Transformer
from ssl_cli.runs.digests import write_digests

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
SMALL: dict[str, Any] = {"layers": 2, "width": 32, "heads": 2, "context": 32, "norm": "pre"}
SHAPE = {"size": None, "positions": "rotary", "dropout": 0.0}
GPT_OPTIONS = SHAPE | {"causal": True, "activation": "gelu_tanh", "norm_eps": 1e-5}
BERT_OPTIONS = SHAPE | {"causal": False}
MASKING_OPTIONS = {"mask_ratio", "replace", "mask_unit", "sentence_task", "causal_start", "eval_mask_ratio"}
SEQ2SEQ: dict[str, dict[str, Any]] = {  # the options of conf/model/{bart,mass,t5}.yaml
    "bart": {"style": "bart", "corruption": ["permute", "infill"], "mask_ratio": 0.3},
    "mass": {"style": "bart", "corruption": ["fragment"], "mask_ratio": 0.5},
    "t5": {"style": "t5", "corruption": ["spans"], "mask_ratio": 0.15},
}
N_SENTINELS = 8  # of the tokenizer of a T5
_tokenizers: dict[str, Tokenizer] = {}


def tokenizer_of(kind: str, sentinels: int = 0) -> Tokenizer:
    if (name := f"{kind} {sentinels}") not in _tokenizers:
        _tokenizers[name] = replace(MAKERS[kind], sentinels=sentinels).train(TEXT)
    return _tokenizers[name]


def causal_lm(vocab_size: int, **options: Any) -> CausalLM:
    """Return a GPT with the defaults of conf/model/gpt.yaml; `options` are those of its network."""
    return CausalLM(Transformer(vocab_size, **GPT_OPTIONS | options), 4.0)


def masked_lm(vocab_size: int, specials: dict[str, int], **options: Any) -> MaskedLM:
    """Return a BERT with the defaults of conf/model/bert.yaml; `options` are its own and those of its network."""
    own = {name: value for name, value in options.items() if name in MASKING_OPTIONS}
    segments = {"segments": 0 if own.get("sentence_task", "none") == "none" else 2}
    shape = {name: value for name, value in options.items() if name not in MASKING_OPTIONS}
    return MaskedLM(Transformer(vocab_size, **BERT_OPTIONS | segments | shape), specials, **own)


def causal(vocab_size: int = 97, **options: Any) -> CausalLM:
    """Return a GPT with large weights, so that its next token depends on all those before it."""
    return _with_large_weights(causal_lm(vocab_size, **SMALL | options))


def masked(tokenizer: Tokenizer, **options: Any) -> MaskedLM:
    """Return a BERT with large weights, so that its predictions differ between texts."""
    return _with_large_weights(masked_lm(tokenizer.vocab_size, tokenizer.specials, **SMALL | options))


def seq2seq(kind: str, tokenizer: Tokenizer, **options: Any) -> Seq2SeqLM:
    """Return a BART, MASS or T5 with large weights; `options` are its own and those of its network."""
    own = {name: options.pop(name, value) for name, value in SEQ2SEQ[kind].items()}
    shape = {"positions": "relative" if kind == "t5" else "rotary", "dropout": 0.0}
    network = EncoderDecoder(tokenizer.vocab_size, **SMALL | shape | options)
    return _with_large_weights(Seq2SeqLM(network, tokenizer.specials, tokenizer.sentinels, **own))


def _with_large_weights(model: Any) -> Any:
    torch.manual_seed(0)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                part.weight.normal_(std=0.6 if isinstance(part, nn.Linear) else 0.15)
    return model.eval()


def make_run(folder: Path, model: str = "gpt", tokenizer: str = "bpe", **options: Any) -> Path:
    """Make a run folder with everything that `ssl fill`, `ssl generate` and `ssl export` read, and return it."""
    folder.mkdir(parents=True)
    words = tokenizer_of(tokenizer)
    language_model = causal(words.vocab_size, **options) if model == "gpt" else masked(words, **options)
    own = {"bytes_per_token": 4.0} if model == "gpt" else {"specials": words.specials}
    defaults: Any = OmegaConf.to_container(OmegaConf.load(built_in_conf() / "model" / f"{model}.yaml"), resolve=False)
    defaults.pop("defaults", None)
    segments = {"segments": language_model.network.segments, "vocab_size": words.vocab_size}
    network = defaults["network"] | segments | SMALL | {k: v for k, v in options.items() if k not in MASKING_OPTIONS}
    node = defaults | {"network": network | {"size": None}} | {k: v for k, v in options.items() if k in MASKING_OPTIONS}
    return _write_run(folder, model, tokenizer, words, node | own, language_model)


def make_seq2seq_run(folder: Path, model: str = "bart", tokenizer: str = "bpe", **options: Any) -> Path:
    """Make the same of a bart, mass or t5, and return its folder. A T5's tokenizer has sentinels."""
    folder.mkdir(parents=True)
    words = tokenizer_of(tokenizer, N_SENTINELS if model == "t5" else 0)
    method = seq2seq(model, words, **options)
    own = {name: options.get(name, value) for name, value in SEQ2SEQ[model].items()}
    network = {"_target_": "ssl_cli.models.encoder_decoder.EncoderDecoder", **method.network.options}
    vocabulary = {"specials": words.specials, "sentinels": words.sentinels}
    target = {"_target_": "ssl_cli.methods.language.seq2seq_lm.Seq2SeqLM"}
    return _write_run(folder, model, tokenizer, words, target | own | vocabulary | {"network": network}, method)


def _write_run(folder: Path, model: str, tokenizer: str, words: Tokenizer, node: dict[str, Any], method: Any) -> Path:
    config = {
        "verb": "pretrain",
        "choices": {"model": model, "data": "pydoc", "tokenizer": tokenizer},
        "tokenizer": {"_target_": f"{type(MAKERS[tokenizer]).__module__}.{type(MAKERS[tokenizer]).__name__}"},
        "model": node,
        "facts": {"vocab_size": words.vocab_size},
        "paths": {"data": "data", "outputs": "outputs"},
        "seed": 0,
        "summary_metrics": ["val/loss"],
    }
    OmegaConf.save(OmegaConf.create(config), folder / "config.yaml")
    (folder / "metrics.json").write_text(json.dumps({"val/loss": 1.0}))
    save_model(method, str(folder / "model.safetensors"))
    words.save(folder / "tokenizer.json")
    write_digests(folder)
    return folder
