"""Generation with an encoder-decoder: equal to transformers' `generate`, and to a naive loop over one text."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate
from ssl_cli.errors import InputError
from ssl_cli.models.encoder_decoder import EncoderDecoder
from ssl_cli.models.generation.packed_weights import Seq2SeqInferenceModel
from ssl_cli.models.generation.request import GenerationRequest, uniform_draws
from ssl_cli.models.generation.sampling import Sampling
from ssl_cli.models.generation.seq2seq import batch_sources, generate_from_sources
from ssl_cli.models.huggingface.read import read_pretrained

V = 24  # few, so that texts end before they are cut
GREEDY, DRAWN = Sampling(temperature=0), Sampling(0.9, 12, 0.95)
BART_TEMPLATE, T5_TEMPLATE = Seq2SeqTemplate((0,), (2,), 2, (0,), 2), Seq2SeqTemplate((), (1,), 0, (), 1)
BART = {
    **{"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 2},
    **{"decoder_attention_heads": 2, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64},
}
T5 = {"d_model": 32, "d_kv": 8, "num_layers": 2, "num_heads": 3, "d_ff": 64, "decoder_start_token_id": 0}
T5_KINDS = {"t5 v1.0": {}, "t5 v1.1": {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}}
SHAPES: dict[str, dict[str, Any]] = {
    "bart": {},
    "t5": {"positions": "relative", "norm": "pre", "normalization": "rms", "biases": False, "activation": "geglu"},
    "rotary": {"positions": "rotary", "norm": "pre", "tied_output": False},
}
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)


def texts(lengths: tuple[int, ...] = (3, 9, 9, 17, 30, 14)) -> list[list[int]]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randint(5, V, (length,), generator=generator).tolist() for length in lengths]


def network(**options: Any) -> EncoderDecoder:
    torch.manual_seed(0)
    made = EncoderDecoder(V, context=40, layers=2, width=32, heads=2, dropout=0.0, **options)
    for weight in made.parameters():
        nn.init.normal_(weight, std=0.35) if weight.dim() > 1 else None
    return made.eval()


def write(
    model: EncoderDecoder | Seq2SeqInferenceModel, sources: list[list[int]], sampling: Sampling = GREEDY, **options: Any
) -> list[list[list[int]]]:
    own = {name: options.pop(name) for name in ("numbers", "other_ends", "banned", "precision") if name in options}
    own = {"precision": "32-true"} | own
    found = generate_from_sources(
        model, sources, BART_TEMPLATE, GenerationRequest(**({"max_tokens": 16} | options)), sampling, **own
    )
    return [[completion.tokens for completion in completions] for completions in found]


# --- as transformers ---


def their_model(transformers: ModuleType, kind: str) -> Any:
    if kind == "bart":
        model = transformers.BartForConditionalGeneration(transformers.BartConfig(vocab_size=V, **BART))
        model.generation_config.forced_bos_token_id = 0
    else:
        config = transformers.T5Config(vocab_size=V, **T5, **T5_KINDS[kind])
        model = transformers.T5ForConditionalGeneration(config)
    torch.manual_seed(3)
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(std=0.35 if kind == "bart" else 0.5) if weight.dim() > 1 else None
        model.get_input_embeddings().weight[2 if kind == "bart" else 1] *= 2  # the end comes more often
    return model.eval()


@pytest.mark.parametrize("kind", ["bart", *T5_KINDS])
def test_greedy_and_beam_search_equal_transformers(tmp_path: Path, kind: str) -> None:
    """Token by token, with length penalties, n-grams that may not be repeated, and a least length."""
    transformers = pytest.importorskip("transformers")
    theirs = their_model(transformers, kind)
    theirs.save_pretrained(tmp_path)
    read, model = read_pretrained(str(tmp_path)), nn.Module()
    model.network = ours = EncoderDecoder(**(read.options | {"dropout": 0.0}))
    read.load_into(model)
    template = BART_TEMPLATE if kind == "bart" else T5_TEMPLATE
    sources, lengths = [template.source(ids, 64) for ids in texts((3, 9, 9, 17))], set()
    n_prefix = len(template.target_prefix)
    for beams, penalty, ngram, least in [
        *((1, 1.0, 0, 0), (1, 1.0, 2, 6), (2, 1.0, 0, 0), (3, 2.0, 3, 0), (4, 0.0, 2, 0), (5, -0.5, 2, 6)),
        (4, 1.0, 0, 6),
    ]:
        request = GenerationRequest(min(beams, 2), 14, 0, 16, least, beams, penalty, ngram)
        found = generate_from_sources(ours.eval(), sources, template, request, GREEDY, "32-true")
        settings = {"num_beams": beams, "length_penalty": penalty, "no_repeat_ngram_size": ngram}
        settings |= {"min_new_tokens": least + n_prefix} if least else {}
        for source, completions in zip(sources, found, strict=True):
            wanted = theirs.generate(
                torch.tensor([source]), max_new_tokens=14 + n_prefix, num_return_sequences=request.n, **settings
            )
            for ids, completion in zip(wanted[:, 1 + n_prefix :].tolist(), completions, strict=True):
                text = ids[: ids.index(template.end)] if template.end in ids else ids
                assert completion.tokens == text, (beams, penalty, ngram, least)
                lengths.add(len(text))
    assert len(lengths) > 4, "texts of a few lengths show when they end"


# --- as a naive loop ---


def naive(
    model: EncoderDecoder, source: list[int], n: int, sampling: Sampling = GREEDY, u: Tensor | None = None
) -> list[int]:
    """Read source and target again for each token."""
    ids = [BART_TEMPLATE.start, *BART_TEMPLATE.target_prefix]
    n_prefix = len(ids)
    for step in range(n - 1):  # the last token that fits is the end
        with torch.inference_mode():
            logits = model.logits(model(torch.tensor([source]), torch.tensor([ids]))[:, -1])
        token = int(sampling.choose(logits, None, torch.zeros(1) if u is None else u[step : step + 1]))
        if token == BART_TEMPLATE.end:
            break
        ids.append(token)
    return ids[n_prefix:]


@each_shape
@pytest.mark.parametrize("sampling", [GREEDY, DRAWN])
def test_a_text_equals_the_naive_loop(shape: dict[str, Any], sampling: Sampling) -> None:
    """Sources of several lengths in batches, with padding; rows that end early leave the batch."""
    model, sources = network(**shape), [BART_TEMPLATE.source(ids, 40) for ids in texts()]
    options: dict[str, Any] = {"n": 2, "max_tokens": 16, "seed": 3, "batch_size": 4}
    for number, found in enumerate(write(model, sources, sampling, **options)):
        for sample, text in enumerate(found):
            u = uniform_draws(GenerationRequest(**options), number, sample)
            assert text == naive(model, sources[number], 16, sampling, u)


@each_shape
@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
@pytest.mark.parametrize("options", [{}, {"sampling": DRAWN, "n": 3}, {"beams": 4, "n": 2}], ids=str)
def test_a_text_does_not_depend_on_its_batch(shape: dict[str, Any], precision: Any, options: dict[str, Any]) -> None:
    model = Seq2SeqInferenceModel(network(**shape), precision)
    sources = [BART_TEMPLATE.source(ids, 40) for ids in texts((3, 9, 12, 13, 17, 30, 14, 2))]
    together = write(model, sources, **{"batch_size": 32} | options)
    for number, source in enumerate(sources):
        assert write(model, [source], numbers=[number], **options) == [together[number]]


def test_fewer_texts_are_the_first_of_more() -> None:
    model, sources = network(), [BART_TEMPLATE.source(ids, 40) for ids in texts((9, 4))]
    more = write(model, sources, DRAWN, n=5, batch_size=2)
    assert write(model, sources, DRAWN, n=2) == [found[:2] for found in more]
    assert write(model, sources, DRAWN, n=2, seed=1) != [found[:2] for found in more]


def test_a_target_ends_where_the_context_does() -> None:
    model, source = network(), BART_TEMPLATE.source(texts()[0], 40)
    ((text,),) = write(model, [source], max_tokens=1000, banned=[BART_TEMPLATE.end])
    assert len(text) == 40 - 1 - 1  # a prefix before it, and an end that no room is left for after it
    with pytest.raises(InputError, match="41 tokens are more than the model's context of 40"):
        write(model, [[5] * 41])


@pytest.mark.parametrize("penalty", [-4.0, 4.0])
def test_a_beam_search_finds_all_texts_with_any_length_penalty(penalty: float) -> None:
    model = EncoderDecoder(V, context=104, layers=1, width=32, heads=2).eval()
    found = write(model, texts((3,)), n=2, beams=2, min_tokens=98, max_tokens=100, length_penalty=penalty)
    assert [len(of_source) for of_source in found] == [2]


def test_other_tokens_may_end_a_text() -> None:
    model, source = network(), BART_TEMPLATE.source(texts()[1], 40)
    ((text,),) = write(model, [source], min_tokens=8)
    end = text[5]
    ((shorter,),) = write(model, [source], other_ends=[end])
    assert end not in shorter and len(shorter) <= text.index(end) and shorter == text[: len(shorter)]


def test_batches_have_one_padded_length() -> None:
    sources = [[1] * length for length in (9, 17, 16, 5, 33, 40, 39)]
    assert list(batch_sources(sources, 40, 2)) == [[0, 2], [3], [1], [4, 5], [6]]
    assert list(batch_sources([], 40, 2)) == []


def test_a_target_may_begin_at_another_position() -> None:
    model = network()
    packed, source = Seq2SeqInferenceModel(model, "32-true"), torch.tensor([texts()[1]])
    ids, position = torch.tensor([[2, 7, 8, 9]]), torch.tensor([[4, 5, 6, 7]])
    with torch.inference_mode():
        wanted = model.logits(model(source, ids, position=position))
        moved = packed.at(4)
        cache = moved.read(source, None, 4)
        torch.testing.assert_close(moved.all_logits(ids[:, :3], cache), wanted[:, :3], atol=1e-4, rtol=0)
        torch.testing.assert_close(moved.next_logits(ids[:, 3:], cache), wanted[:, 3], atol=1e-4, rtol=0)
        assert not torch.allclose(packed.all_logits(ids, packed.read(source, None, 4)), wanted, atol=1e-2)
