"""Writer of encoder-decoders as BART or T5 of transformers."""

from pathlib import Path
from typing import Any

from torch import Tensor

from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.huggingface.convert import to_hf
from ssl_cli.models.huggingface.files import CONFIG, GENERATION_CONFIG, write_json, write_tensors
from ssl_cli.models.huggingface.seq2seq_config import build_seq2seq_config, choose_seq2seq_family, logits_scale
from ssl_cli.models.huggingface.seq2seq_map import SEQ2SEQ_FAMILIES, seq2seq_mappings
from ssl_cli.models.huggingface.write_tokenizer import with_source_template, write_tokenizer


def write_seq2seq(network: EncoderDecoder, template: Seq2SeqTemplate, tokenizer: Tokenizer, folder: Path) -> list[str]:
    """Write an encoder-decoder and its tokenizer, and return warnings.

    Raises InputError if transformers has no such model.
    """
    kind = choose_seq2seq_family(network)
    config, generation = build_seq2seq_config(kind, network, template, tokenizer.specials)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / CONFIG, config | {"architectures": [SEQ2SEQ_FAMILIES[kind].class_name]})
    write_json(folder / GENERATION_CONFIG, {name: token for name, token in generation.items() if token is not None})
    write_tensors(folder, _hf_tensors(kind, config, network))
    more = {"eos_token": template.end} | ({"bos_token": tokenizer.specials["cls"]} if template.target_prefix else {})
    content = with_source_template(tokenizer, template)
    write_tokenizer(folder, tokenizer, content, network.context, more, segments=0)
    if kind == "t5" and network.decoder_layers > network.layers:
        return [
            "transformers' generate() fails for a T5 whose decoder has more layers than its encoder: version 5.24 "
            "makes a cache of the encoder's number. Call it with use_cache=False."
        ]
    return []


def _hf_tensors(kind: str, config: dict[str, Any], network: EncoderDecoder) -> dict[str, Tensor]:
    """Return the tensors under the names of transformers."""
    family, weights = SEQ2SEQ_FAMILIES[kind], network.state_dict()
    tensors: dict[str, Tensor] = {}
    for mapping in seq2seq_mappings(family, network.options, logits_scale(config, network.width)):
        tensors |= to_hf(mapping, weights[mapping.name].float())
    table = weights["encoder.token_table.weight"].float()
    # If the output is not tied, transformers' BART takes no other matrix for tied either.
    names = family.tables if kind == "bart" and not network.tied_output else family.tables[:1]
    tensors |= {name: table.clone() for name in names}
    return {name if name == family.output else family.trunk + name: tensor for name, tensor in tensors.items()}
