"""Random checkpoints of transformers, and the model that they are loaded into."""

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ssl_cli.models.heads import MaskedLMHead, PairHead
from ssl_cli.models.huggingface.pretrained import Pretrained
from ssl_cli.models.transformer import Transformer

VOCABULARY, CONTEXT = 60, 20
BERT_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 50,
}
NEOX_SETTINGS = {"use_parallel_residual": False, "rotary_pct": 1.0, "tie_word_embeddings": True}
IDS = torch.randint(5, VOCABULARY, (3, 13), generator=torch.Generator().manual_seed(0))
SEGMENT = torch.tensor([[0] * 6 + [1] * 7] * 3)


class Model(nn.Module):
    """The parts of a language model that a checkpoint fills."""

    def __init__(self, **options: Any):
        super().__init__()
        self.network = Transformer(**({"dropout": 0.0} | options))
        if not self.network.causal:
            self.head, self.pair_head = MaskedLMHead(self.network), PairHead(self.network)

    def forward(self, ids: Tensor, segment: Tensor | None = None) -> Tensor:
        hidden = self.network(ids, segment)
        table = self.network.token_table.weight
        return self.network.logits(hidden) if self.network.causal else self.head(hidden, table)


def loaded(read: Pretrained, **changes: Any) -> Model:
    """Return a model with the checkpoint's weights and options, some of them changed."""
    model = Model(**(read.options | changes)).eval()
    read.load_into(model)
    return model


def random_model(transformers: ModuleType, kind: str, **options: Any) -> Any:
    """Return a model of transformers with random weights: its biases and norms are neither 0 nor 1."""
    torch.manual_seed(0)
    if kind == "bert":
        config = transformers.BertConfig(**BERT_SIZES, max_position_embeddings=CONTEXT, **options)
        model = transformers.BertForPreTraining(config)
    elif kind == "roberta":
        config = transformers.RobertaConfig(
            **BERT_SIZES, max_position_embeddings=CONTEXT + 2, type_vocab_size=1, **options
        )
        model = transformers.RobertaForMaskedLM(config)
    elif kind == "gpt_neox":
        settings = BERT_SIZES | NEOX_SETTINGS | {"max_position_embeddings": CONTEXT} | options
        model = transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**settings))
    else:
        sizes = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": CONTEXT}
        model = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, **options)
        )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def changed(folder: Path, **options: Any) -> str:
    """Change options in the folder's config.json, and return the folder."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | options))
    return str(folder)


def assert_close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
