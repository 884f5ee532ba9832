"""Generation equals a naive loop: the whole text is read again for each token, one text at a time."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ssl_cli.methods.language.causal_lm import CausalLM
from ssl_cli.models import cpu
from ssl_cli.models.cpu import PackedLinear, can_pack
from ssl_cli.models.generation.decode import batch_prompts, generate, generate_tokens
from ssl_cli.models.generation.detokenize import Completion, Detokenizer
from ssl_cli.models.generation.packed_weights import InferenceModel
from ssl_cli.models.generation.request import GenerationRequest, uniform_draws
from ssl_cli.models.generation.sampling import Sampling
from tests.helpers.pretrain_runs import causal, tokenizer_of

GREEDY = Sampling(temperature=0)
PROMPTS = [[5], [7, 8, 9, 10, 11], [3, 1, 4], [20, 21, 22, 23, 24, 25, 26, 27, 28]]


def tokens(
    model: CausalLM, prompts: list[list[int]], sampling: Sampling = GREEDY, **request: Any
) -> list[list[list[int]]]:
    found = generate(InferenceModel(model.network, "32-true"), prompts, GenerationRequest(**request), sampling)
    return [[completion.tokens for completion in completions] for completions in found]


def naive(
    model: CausalLM, prompt: list[int], n: int, sampling: Sampling = GREEDY, u: Tensor | None = None
) -> list[int]:
    """Read the whole text for each token; when the context is full, restart at its last half."""
    context, ids, begin = model.network.context, list(prompt), 0
    for step in range(n):
        if len(ids) - begin > context:
            begin = len(ids) - context // 2
        with torch.inference_mode():
            logits = model.network.logits(model.network(torch.tensor([ids[begin:]]))[:, -1])
        seen = torch.zeros_like(logits, dtype=torch.bool)
        seen[0, ids] = True
        ids.append(int(sampling.choose(logits, seen, torch.zeros(1) if u is None else u[step : step + 1])))
    return ids[len(prompt) :]


@pytest.mark.parametrize("options", [{}, {"positions": "rotary"}, {"positions": "sinusoidal"}, {"norm": "post"}])
def test_greedy_decoding_equals_the_naive_loop(options: dict[str, Any]) -> None:
    model = causal(**options)
    (((found,),),) = (tokens(model, [PROMPTS[1]], max_tokens=20),)
    assert found == naive(model, PROMPTS[1], 20)
    assert len(set(found)) > 3, "a model that repeats itself shows nothing"


def test_a_padded_batch_equals_each_prompt_alone() -> None:
    model = causal()
    found = tokens(model, PROMPTS, max_tokens=16)
    for prompt, (text,) in zip(PROMPTS, found, strict=True):
        assert text == naive(model, prompt, 16)


def test_a_text_that_outgrows_the_context_continues_from_its_last_half() -> None:
    """Prompts of several lengths, one longer than the context, and more text than the context holds twice."""
    model = causal(context=16)
    prompts = [*PROMPTS, list(range(30, 60))]
    for prompt, (text,) in zip(prompts, tokens(model, prompts, max_tokens=40), strict=True):
        assert text == naive(model, prompt[-16:] if len(prompt) > 16 else prompt, 40)


@pytest.mark.parametrize(
    "sampling",
    [Sampling(), Sampling(0.7, 10, 0.9, 0.05, 1.3), Sampling(0, repetition_penalty=1.5), Sampling(top_p=0.5)],
)
def test_sampling_equals_the_naive_loop(sampling: Sampling) -> None:
    model, request = causal(context=16), {"n": 3, "max_tokens": 24, "seed": 7, "batch_size": 2}
    for number, texts in enumerate(tokens(model, PROMPTS[:2], sampling, **request)):
        for sample, text in enumerate(texts):
            u = uniform_draws(GenerationRequest(**request), number, sample)
            assert text == naive(model, PROMPTS[number], 24, sampling, u)


@pytest.mark.parametrize("precision", ["32-true", "bf16-true"])
def test_fewer_texts_are_the_first_of_more(precision: Any) -> None:
    packed, prompts = InferenceModel(causal().network, precision), PROMPTS[1:2]

    def of(n: int, seed: int, max_tokens: int = 12) -> list[list[int]]:
        (found,) = generate(packed, prompts, GenerationRequest(n, max_tokens, seed), Sampling())
        return [completion.tokens for completion in found]

    more = of(18, seed=1)
    assert of(3, seed=1) == more[:3] and of(3, seed=1, max_tokens=5) == [text[:5] for text in more[:3]]
    assert len({tuple(text) for text in more}) == 18
    assert not {tuple(text) for text in of(3, seed=2)} & {tuple(text) for text in more}


def test_batches_hold_each_prompt_once_and_one_length_if_the_window_may_slide() -> None:
    prompts = [[1] * length for length in (9, 2, 2, 5, 30, 2, 12, 9, 40, 30)]
    parts = list(batch_prompts(prompts, context=32, request=GenerationRequest(max_tokens=20, batch_size=3)))
    assert sorted(index for part in parts for index, _ in part) == list(range(10))
    assert all(len(part) <= 3 for part in parts)
    lengths = [[len(ids) for _, ids in part] for part in parts]
    assert lengths == [[2, 2, 2], [5, 9, 9], [12], [30, 30], [40]]
    assert list(batch_prompts([], 32, GenerationRequest())) == []


@pytest.mark.parametrize("sampling", [GREEDY, Sampling(), Sampling(0.7, 10, 0.9, 0.05, 1.3)])
def test_a_banned_token_is_never_drawn_and_the_others_keep_their_shares(sampling: Sampling) -> None:
    model, request = causal(context=16), GenerationRequest(n=3, max_tokens=30)
    (free,) = tokens(model, PROMPTS[1:2], sampling, n=3, max_tokens=30)
    banned = sorted(set(free[0]))[::2]
    (found,) = generate(InferenceModel(model.network, "32-true"), PROMPTS[1:2], request, sampling, banned=banned)
    assert not {token for completion in found for token in completion.tokens} & set(banned)

    def never(logits: Tensor, seen: Tensor | None, u: Tensor) -> Tensor:
        return sampling.choose(logits.index_fill(1, torch.tensor(banned), -torch.inf), seen, u)

    plain: Any = SimpleNamespace(choose=never)
    for sample, completion in enumerate(found):
        assert completion.tokens == naive(model, PROMPTS[1], 30, plain, uniform_draws(request, 0, sample))


def test_tokens_without_a_detokenizer() -> None:
    model = causal()
    found = generate_tokens(model, PROMPTS, max_tokens=6, temperature=0, seed=0)
    assert found == [naive(model, prompt, 6) for prompt in PROMPTS]


# --- the packed network ---


def test_packing_changes_neither_logits_nor_the_model() -> None:
    model, ids = causal(), torch.randint(0, 97, (3, 12), generator=torch.Generator().manual_seed(0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.inference_mode():
        wanted = model.next_logits(ids)
        for precision, tolerance in (("32-true", 1e-5), ("bf16-true", 0.3)):
            packed = InferenceModel(model.network, precision)  # type: ignore[arg-type]
            found = packed.next_logits(ids, packed.new_cache(3, 12))
            assert found.dtype == torch.float32
            assert (found - wanted).abs().max() < tolerance * wanted.std()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]) and value.dtype == torch.float32


def test_a_packed_layer_on_a_machine_without_packed_layouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    weight, bias, x = torch.randn(5, 8), torch.randn(5), torch.randn(2, 3, 8)
    layer = PackedLinear(weight, bias)
    assert not can_pack(weight) and not layer.is_packed
    torch.testing.assert_close(layer(x), torch.nn.functional.linear(x, weight, bias))


def test_half_the_bits_are_packed_only_where_onednn_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_has_onednn_avx512", lambda: False)
    weight, x = torch.randn(5, 8).bfloat16(), torch.randn(2, 8).bfloat16()
    layer = PackedLinear(weight, None)
    assert not layer.is_packed and torch.equal(layer(x), torch.nn.functional.linear(x, weight))


# --- detokenization ---


def complete(text: str, kind: str, stop: tuple[str, ...] = (), prompt: str = "") -> tuple[Completion, list[str]]:
    """Return a text that is completed token by token, and the pieces passed to `on_text`."""
    tokenizer, pieces = tokenizer_of(kind), list[str]()
    completion = Completion(
        tokenizer.encode(prompt), Detokenizer(tokenizer.decode, tokenizer.specials["end"], stop, pieces.append)
    )
    for token in tokenizer.encode(prompt + text)[len(tokenizer.encode(prompt)) :]:
        completion.add(token)
    completion.finish()
    return completion, pieces


@pytest.mark.parametrize("kind", ["bpe", "char", "wordpiece", "unigram"])
def test_pieces_join_to_the_text(kind: str) -> None:
    text = " a bird can sing. the sun is warm. 鸟会飞。"
    completion, pieces = complete(text, kind, prompt="birds can fly.")
    assert "".join(pieces) == completion.text and len(pieces) > 5
    assert "".join(completion.text.split()) == "".join(text.split()) and completion.text[0] == " "
    if kind in ("bpe", "char"):
        assert completion.text == text


def test_a_character_of_several_tokens_is_one_piece() -> None:
    text = "猫🐈é"  # none is in the training text: each is three or four tokens
    _, pieces = complete(text, "bpe")
    assert pieces == ["猫", "🐈", "é"]
    cut = Completion([], Detokenizer(tokenizer_of("bpe").decode))
    for token in tokenizer_of("bpe").encode("猫")[:2]:
        cut.add(token)
    cut.finish()
    assert cut.text == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("stop", "left"),
    [
        (("sing",), " A bird can "),
        (("d can s", "sing"), " A bir"),
        (("can", "bird"), " A "),
        (("zebra",), " A bird can sing."),
    ],
)
def test_a_stop_string_ends_a_text_and_is_never_sent(stop: tuple[str, ...], left: str) -> None:
    completion, pieces = complete(" A bird can sing.", "char", stop)
    assert completion.text == "".join(pieces) == left
    assert completion.finish_reason == ("length" if "zebra" in stop else "stop")


def test_a_stop_string_in_the_prompt_ends_nothing() -> None:
    completion, _ = complete(" They can.", "char", stop=("fly", "y T"), prompt="Birds fly")
    assert (completion.text, completion.finish_reason) == (" They can.", "length")


def test_the_end_token_ends_a_text_and_is_not_part_of_it() -> None:
    tokenizer, pieces = tokenizer_of("bpe"), list[str]()
    completion = Completion([9], Detokenizer(tokenizer.decode, tokenizer.specials["end"], ("zebra",), pieces.append))
    for token in [*tokenizer.encode("ab"), tokenizer.specials["end"], *tokenizer.encode("cd")]:
        completion.add(token)
    assert (completion.text, completion.finish_reason, "".join(pieces)) == ("ab", "end", "ab")
    assert completion.tokens == tokenizer.encode("ab")


def test_rows_finish_independently() -> None:
    """A finished row waits for the others, also past the end of the context."""
    model = causal(context=16)
    prompts, sampling = [[5], [6], [40]], Sampling()
    free = tokens(model, prompts, sampling, max_tokens=30)
    end = next(token for token in free[0][0] if token not in free[2][0])  # used as the end token
    found = generate(
        InferenceModel(model.network, "32-true"),
        prompts,
        GenerationRequest(max_tokens=30),
        sampling,
        Detokenizer(str, end),
    )
    for (whole,), (completion,) in zip(free, found, strict=True):
        stops = whole.index(end) if end in whole else 30
        assert completion.tokens == whole[:stops] and completion.finish_reason == ("end" if end in whole else "length")
    assert {completion.finish_reason for (completion,) in found} == {"end", "length"}


@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_bfloat16_reads_one_token_as_it_reads_many(positions: str) -> None:
    """A single query is computed by another function, also with rows padded on the left."""
    packed = InferenceModel(causal(positions=positions).network, "bf16-true")
    ids = torch.randint(0, 97, (2, 12), generator=torch.Generator().manual_seed(0))
    for padding in (None, torch.tensor([0, 4])):
        with torch.inference_mode():
            cache = packed.new_cache(2, 12, padding)
            packed.next_logits(ids[:, :8], cache)
            steps = [packed.next_logits(ids[:, k : k + 1], cache) for k in range(8, 12)]
            all_at_once = packed.next_logits(ids, packed.new_cache(2, 12, padding))
        assert (steps[-1] - all_at_once).abs().max() < 0.3 * all_at_once.std()


# --- beam search ---


def test_beam_search_finds_the_likeliest_texts_whatever_the_batch() -> None:
    """Of all texts of two tokens, after prompts of several lengths."""
    model = causal()
    request = GenerationRequest(n=3, max_tokens=2, beams=48)
    found = generate(InferenceModel(model.network, "32-true"), PROMPTS, request, GREEDY)
    for prompt, texts in zip(PROMPTS, found, strict=True):
        with torch.inference_mode():
            first = model.next_logits(torch.tensor([prompt])).log_softmax(1)  # (1, V)
            pairs = torch.tensor([[*prompt, token] for token in range(97)])
            totals = (first[0, :, None] + model.next_logits(pairs).log_softmax(1)).flatten()  # (V * V,)
        best = totals.topk(3)
        assert [text.tokens for text in texts] == [[int(k) // 97, int(k) % 97] for k in best.indices]
        assert [text.log_probability for text in texts] == pytest.approx(best.values.tolist(), abs=1e-3)


@pytest.mark.parametrize("beams", [1, 3])
def test_no_n_gram_occurs_twice_in_prompt_and_text(beams: int) -> None:
    model, prompt = causal(), [5, 6, 5, 6, 7, 5]
    request = GenerationRequest(max_tokens=20, beams=beams, no_repeat_ngram=2)
    ((text,),) = generate(InferenceModel(model.network, "32-true"), [prompt], request, GREEDY)
    pairs = list(pairwise([*prompt, *text.tokens]))
    assert len(text.tokens) == 20 and not set(pairs[5:]) & set(pairs[:5]) and len(set(pairs[5:])) == 20
