"""Greedy generation with random weights in the shapes of GPT-2, BART and T5: transformers' generate, and ours."""

import torch
from text_sides.timing import repeated

VOCABULARY, CONTEXT = 50257, 1024
PROMPT = 32  # tokens


def transformers_seconds(rows: int, new_tokens: int, bf16: bool) -> float:
    """Return the seconds of transformers' generate."""
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config()).eval().to(torch.bfloat16 if bf16 else torch.float32)
    prompts = torch.randint(VOCABULARY, (rows, PROMPT))
    settings = {"do_sample": False, "max_new_tokens": new_tokens, "eos_token_id": None, "pad_token_id": 0}

    def work() -> None:
        ids = model.generate(prompts, attention_mask=torch.ones_like(prompts), **settings)
        assert ids.shape == (rows, PROMPT + new_tokens)

    return repeated(work)


def our_seconds(rows: int, new_tokens: int, bf16: bool) -> float:
    """Return the seconds of our generate."""
    from ssl_cli.models.generation.decode import generate
    from ssl_cli.models.generation.packed_weights import InferenceModel
    from ssl_cli.models.generation.request import GenerationRequest
    from ssl_cli.models.generation.sampling import Sampling
    from ssl_cli.models.transformer import Transformer

    network = Transformer(VOCABULARY, CONTEXT, "base", norm="pre", causal=True, activation="gelu_tanh")
    model = InferenceModel(network.eval(), "bf16-true" if bf16 else "32-true")
    prompts = torch.randint(VOCABULARY, (rows, PROMPT)).tolist()

    def work() -> None:
        completions = generate(model, prompts, GenerationRequest(max_tokens=new_tokens), Sampling(temperature=0))
        assert all(len(completion.tokens) == new_tokens for (completion,) in completions)

    return repeated(work)


SOURCE = 128  # tokens
SEQ2SEQ_VOCABULARY = 32_128


def transformers_seq2seq_seconds(family: str, rows: int, new_tokens: int, bf16: bool) -> float:
    """Return the seconds of transformers' generate with a BART or T5 of 12 x 768 in each half."""
    from text_sides.run_seq2seq import new_model

    model = new_model(family, (12, 768, SEQ2SEQ_VOCABULARY), dropout=True).eval()
    model = model.to(torch.bfloat16 if bf16 else torch.float32)
    sources = torch.randint(10, SEQ2SEQ_VOCABULARY, (rows, SOURCE))
    settings = {"do_sample": False, "num_beams": 1, "min_new_tokens": new_tokens, "max_new_tokens": new_tokens}
    start = getattr(model.config, "decoder_start_token_id", None)
    settings["decoder_start_token_id"] = start or 0  # a T5 starts with its padding token

    def work() -> None:
        ids = model.generate(sources, attention_mask=torch.ones_like(sources), **settings)
        assert ids.shape == (rows, 1 + new_tokens)

    return repeated(work)


def our_seq2seq_seconds(family: str, rows: int, new_tokens: int, bf16: bool) -> float:
    """Return the seconds of our generate with the same shape."""
    from ssl_cli.data.tokenizers.seq2seq_template import Seq2SeqTemplate
    from ssl_cli.models.encoder_decoder import EncoderDecoder
    from ssl_cli.models.generation.packed_weights import Seq2SeqInferenceModel
    from ssl_cli.models.generation.request import GenerationRequest
    from ssl_cli.models.generation.sampling import Sampling
    from ssl_cli.models.generation.seq2seq import generate_from_sources

    t5 = {"positions": "relative", "norm": "pre", "normalization": "rms", "biases": False, "activation": "geglu"}
    shape = t5 if family == "t5" else {"positions": "learned", "norm": "post"}
    network = EncoderDecoder(SEQ2SEQ_VOCABULARY, SOURCE, "base", **shape)
    model = Seq2SeqInferenceModel(network.eval(), "bf16-true" if bf16 else "32-true")
    # BART's template without the token that its targets begin with, which transformers writes like any other here.
    template = Seq2SeqTemplate(source_prefix=(), source_suffix=(), start=2, target_prefix=(), end=2)
    sources = torch.randint(10, SEQ2SEQ_VOCABULARY, (rows, SOURCE)).tolist()
    request = GenerationRequest(max_tokens=new_tokens, min_tokens=new_tokens)

    def work() -> None:
        completions = generate_from_sources(model, sources, template, request, Sampling(temperature=0))
        assert all(len(completion.tokens) == new_tokens for (completion,) in completions)

    return repeated(work)
