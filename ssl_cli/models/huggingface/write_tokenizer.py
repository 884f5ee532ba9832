"""Writer of a tokenizer's files in a transformers checkpoint."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tokenizers import processors

from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer, bert_template
from ssl_cli.models.huggingface.files import write_json

TEMPLATE_TYPES = ("TemplateProcessing", "BertProcessing", "RobertaProcessing")  # post-processors of tokenizer.json
SPECIAL_TOKENS = {"pad": "pad_token", "unk": "unk_token", "cls": "cls_token", "sep": "sep_token", "mask": "mask_token"}


def write_tokenizer(
    folder: Path, tokenizer: Tokenizer, content: Mapping[str, Any], context: int, more: Mapping[str, int], segments: int
) -> None:
    """Write the tokenizer and the names of its special tokens: those of its roles, and `more` by transformers' names.

    `content` is that of tokenizer.json, `context` the number of tokens the model reads.
    """
    (folder / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    roles = {name: tokenizer.specials[role] for role, name in SPECIAL_TOKENS.items() if role in tokenizer.specials}
    special_tokens = {name: tokenizer.token(token_id) for name, token_id in (roles | dict(more)).items()}
    segment_ids = [] if segments < 2 else ["token_type_ids"]
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": context,
        "model_input_names": ["input_ids", *segment_ids, "attention_mask"],
        "clean_up_tokenization_spaces": False,
    }
    write_json(folder / "tokenizer_config.json", config | special_tokens)
    write_json(folder / "special_tokens_map.json", special_tokens)


def with_template(tokenizer: Tokenizer, is_causal: bool) -> dict[str, Any]:
    """Return tokenizer.json: an encoder's text is put between [CLS] and [SEP], a decoder's gets no special tokens."""
    content: dict[str, Any] = json.loads(tokenizer.to_json())
    has_template = (content.get("post_processor") or {}).get("type") in TEMPLATE_TYPES
    if is_causal and has_template:
        return content | {"post_processor": None}
    if is_causal or has_template or not {"cls", "sep"} <= tokenizer.specials.keys():
        return content
    copy = Tokenizer.from_json(tokenizer.to_json())  # of a tokenizer that was loaded without a template
    cls, sep = ((copy.token(copy.specials[role]), copy.specials[role]) for role in ("cls", "sep"))
    copy.library.post_processor = bert_template(cls, sep)
    return json.loads(copy.to_json())


def with_source_template(tokenizer: Tokenizer, template: Seq2SeqTemplate) -> dict[str, Any]:
    """Return tokenizer.json that puts an encoder-decoder's special tokens around its sources."""
    copy = Tokenizer.from_json(tokenizer.to_json())
    sample = copy.encode("a")
    if copy.library.encode("a").ids != [*template.source_prefix, *sample, *template.source_suffix]:
        before, after = (_named(copy, ids) for ids in (template.source_prefix, template.source_suffix))
        copy.library.post_processor = processors.TemplateProcessing(
            single=[*(name for name, _ in before), "$A", *(name for name, _ in after)],
            special_tokens=sorted({*before, *after}),
        )
    return json.loads(copy.to_json())


def _named(tokenizer: Tokenizer, ids: Sequence[int]) -> list[tuple[str, int]]:
    return [(tokenizer.token(token_id), token_id) for token_id in ids]
