"""Texts with gaps, restored and filled by each kind of encoder-decoder."""

from pathlib import Path
from typing import Any

import pytest
import torch

import ssl_cli
from ssl_cli.commands.pretrain.finished import PretrainRun
from ssl_cli.commands.pretrain.gap_kinds import FragmentFiller, SpanFiller, gap_filler
from ssl_cli.commands.pretrain.gaps import GapFiller
from ssl_cli.data.tokenizers.tokenizer import Tokenizer
from ssl_cli.errors import InputError
from ssl_cli.models.generation.detokenize import Completion
from ssl_cli.models.generation.phrases import Phrase
from ssl_cli.models.generation.request import GenerationRequest
from ssl_cli.models.generation.sampling import Sampling
from tests.helpers.pretrain_runs import N_SENTINELS, make_seq2seq_run, seq2seq, tokenizer_of


def filler(kind: str, tokenizer: str = "bpe", **options: Any) -> Any:
    words = tokenizer_of(tokenizer, N_SENTINELS if kind == "t5" else 0)
    return gap_filler(seq2seq(kind, words, **options), words, "32-true")


def run_of(folder: Path, kind: str, tokenizer: str = "bpe", **options: Any) -> PretrainRun:
    return ssl_cli.load(make_seq2seq_run(folder, kind, tokenizer, **options))  # type: ignore[return-value]


def names(one: GapFiller, ids: list[int]) -> list[str]:
    return [one.tokenizer.token(token) for token in ids]


# --- what the encoder reads ---


@pytest.mark.parametrize("tokenizer", ["unigram", "bpe", "wordpiece"])
def test_each_mask_is_the_next_sentinel_for_a_t5(tokenizer: str) -> None:
    one = filler("t5", tokenizer)
    assert isinstance(one, SpanFiller)
    ids = one.encode("Birds [MASK] sing, fish [MASK].")
    assert [name for name in names(one, ids) if "extra" in name] == ["<extra_id_0>", "<extra_id_1>"]
    assert ids == one.encode("Birds <extra_id_0> sing, fish <extra_id_1>.")
    assert [stop - start for start, stop in one.runs(ids)] == [1, 1]


def test_the_end_of_a_document_is_read_if_it_is_a_token_of_its_own() -> None:
    assert names(filler("bart", "bpe"), filler("bart", "bpe").encode("a [MASK]"))[-2:] == ["[MASK]", "<|endoftext|>"]
    assert names(filler("bart", "unigram"), filler("bart", "unigram").encode("a [MASK]"))[-1] == "[MASK]"


@pytest.mark.parametrize(
    ("kind", "text", "sentence"),
    [
        ("t5", "[MASK] a" * 9, r"has 9 gaps, but the run's tokenizer has 8 sentinels: split it"),
        ("t5", "[MASK] a <extra_id_0>", r"has both \[MASK\] and <extra_id_0>: write all of its gaps in the same way"),
        ("t5", "a <extra_id_8>", r"has <extra_id_8>, but the sentinels of .* are <extra_id_0> to <extra_id_7>"),
        ("t5", "<extra_id_1> a <extra_id_1>", r"has the same sentinel twice: each gap needs its own"),
        ("bart", "a " * 40, r"has 42 tokens, but the model reads at most 30: shorten it"),
        ("t5", " ", r"There is no text to restore: set prompt="),
        ("mass", "Birds can fly.", r"has 0 stretches of \[MASK\], but .* exactly one: one \[MASK\] for each token"),
        ("mass", "[MASK] can [MASK]", r"has 2 stretches of \[MASK\], but .* exactly one"),
    ],
)
def test_a_prompt_that_can_not_be_restored(kind: str, text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        filler(kind).prompt(text)


@pytest.mark.parametrize(
    ("kind", "options", "text", "sentence"),
    [
        ("t5", {}, "Birds can fly.", r"'Birds can fly.' has no \[MASK\]: write it in place of words"),
        ("t5", {}, "a [MASK][MASK]", r"has \[MASK\] twice in a row: one stands for any number of words"),
        ("bart", {}, "a [MASK][MASK]", r"has \[MASK\] twice in a row: one stands for any number of words"),
        ("bart", {"corruption": ["delete"]}, "a [MASK]", r"model.corruption=\[delete\], which masks nothing"),
        ("mass", {}, "[MASK] can [MASK]", r"has 2 stretches of \[MASK\]"),
    ],
)
def test_a_text_that_can_not_be_filled_in(kind: str, options: dict, text: str, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        filler(kind, **options).fill(text, 3)


@pytest.mark.parametrize("kind", ["bart", "t5"])
def test_the_mask_may_have_another_name_or_none(kind: str) -> None:
    words = tokenizer_of("bpe", N_SENTINELS if kind == "t5" else 0)
    renamed = Tokenizer.from_json(words.to_json().replace("[MASK]", "<mask>" if kind == "bart" else "[HOLE]"))
    one = gap_filler(seq2seq(kind, words), renamed)
    assert len(one.runs(one.encode("Birds [MASK] sing."))) == 1
    if kind == "bart":
        assert one.encode("Birds <mask> sing.") == one.encode("Birds [MASK] sing.")


def test_a_whitespace_phrase_is_not_nothing() -> None:
    one = filler("bart")
    blank = one.tokenizer.encode("a  b")[1:2]
    assert one.tokenizer.decode(blank) == " "
    assert [found.token for found in one._as_texts([Phrase(blank, -1.0), Phrase([], -2.0)], 0.0)] == [" ", ""]


# --- restored texts ---


@pytest.mark.parametrize(
    ("kind", "options", "stop", "sentence"),
    [
        ("t5", {}, ["x"], r"stop='x' ends a text .* model.corruption=\[spans\] writes only what is missing"),
        ("mass", {"min_tokens": 3}, [], r"for each \[MASK\], here 2, which min_tokens=3 and max_tokens=200 do not"),
        ("mass", {"max_tokens": 1}, [], r"for each \[MASK\], here 2, which min_tokens=0 and max_tokens=1 do not"),
    ],
)
def test_requests_that_a_kind_can_not_meet(kind: str, options: dict[str, Any], stop: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        filler(kind).check("a [MASK][MASK]", GenerationRequest(**options), stop)


def test_the_spans_of_a_target_go_where_their_sentinels_are() -> None:
    one = filler("t5")
    ids = one.encode("Birds [MASK] fly, [MASK] swim, [MASK].")
    completion = Completion([])
    for token in one.tokenizer.encode("not<extra_id_1> fish<extra_id_0> can<extra_id_1> again<extra_id_5> no"):
        completion.add(token)
    assert one.completed(ids, completion).text.startswith("Birds can fly, fish swim,<extra_id_2>.")


@pytest.mark.parametrize("kind", ["bart", "mass", "t5"])
@pytest.mark.parametrize("options", [{}, {"beams": 3}, {"n": 2}], ids=str)
def test_a_run_restores_a_text(tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
    run = run_of(tmp_path / "run", kind)
    prompts = ["Birds [MASK][MASK].", "[MASK] can swim."]
    texts = run.generate(prompts, GenerationRequest(max_tokens=9, **options), precision="32-true")
    assert [len(of_prompt) for of_prompt in texts] == [options.get("n", 1)] * 2
    assert all(len(text.tokens) <= 9 for of_prompt in texts for text in of_prompt)
    for (first, *others), start, end in zip(texts, ("Birds", ""), (".", " can swim."), strict=True):
        if kind == "bart":
            assert first.text == run.tokenizer.decode(first.tokens) and not first.target
        else:
            assert first.target == run.tokenizer.decode(first.tokens)
            assert first.text.startswith(start) and first.text.endswith((end, end + "<|endoftext|>"))
        assert all(other.tokens != first.tokens for other in others), "several texts are drawn"
    if kind == "mass":
        assert [len(of_prompt[0].tokens) for of_prompt in texts] == [2, 1]
    for prompt, (first, *_) in zip(prompts, texts, strict=True):
        ((alone, *_),) = run.generate([prompt], GenerationRequest(max_tokens=9, **options), precision="32-true")
        assert alone.tokens == first.tokens or prompt == prompts[1], "draws differ by the prompt's number"


def test_a_t5_continues_a_text_without_a_gap(tmp_path: Path) -> None:
    run = run_of(tmp_path / "run", "t5")
    ((text,),), ((same,),) = (run.generate([prompt]) for prompt in ("Birds can", "Birds can[MASK]"))
    assert text.tokens == same.tokens and text.text.startswith("Birds can")


@pytest.mark.parametrize("kind", ["bart", "t5"])
@pytest.mark.parametrize("tokenizer", ["bpe", "unigram", "wordpiece"])
def test_no_special_token_is_written(kind: str, tokenizer: str) -> None:
    one = filler(kind, tokenizer)
    texts = one.generate(["Birds can [MASK]."], GenerationRequest(n=8, max_tokens=20), Sampling(2.0))
    written = {token for text in texts[0] for token in text.tokens}
    allowed = {one.tokenizer.sentinels[0]} if kind == "t5" else set()
    assert not written & ({*one.tokenizer.specials.values(), *one.tokenizer.sentinels} - allowed)


# --- candidates ---


@pytest.mark.parametrize("kind", ["bart", "mass", "t5"])
def test_candidates_come_with_probabilities(tmp_path: Path, kind: str) -> None:
    run = run_of(tmp_path / "run", kind)
    masks = run.fill("Birds can [MASK] and sing.", 4)
    assert [len(candidates) for candidates in masks] == [4]
    shares = [candidate.probability for candidate in masks[0]]
    assert shares == sorted(shares, reverse=True) and shares[-1] > 0 and sum(shares) <= 1
    assert len({candidate.token for candidate in masks[0]}) == 4
    if kind != "mass":
        assert [len(candidates) for candidates in run.fill("[MASK] can [MASK].", 2)] == [2, 2]
    with pytest.raises(InputError, match="n must be a whole number of at least 1, not 0"):
        run.fill("[MASK]", n=0)


def test_the_probability_of_a_t5s_phrase_is_that_of_writing_it() -> None:
    """The second gap is filled after the best phrase for the first."""
    one = filler("t5", "char")
    (first, *_), (second, *_) = one.fill("ab[MASK]c[MASK]", 3)
    sentinels, encode = one.tokenizer.sentinels, one.tokenizer.encode
    source = torch.tensor([one.template.source(one.encode("ab[MASK]c[MASK]"), 32)])
    phrases = [encode(first.token), encode(second.token)]
    ids = [one.template.start, sentinels[0], *phrases[0], sentinels[1], *phrases[1]]
    with torch.inference_mode():
        log_p = one.network.logits(one.network(source, torch.tensor([ids])))[0].log_softmax(-1)
    place = 1
    for candidate, phrase, own in ((first, phrases[0], sentinels[0]), (second, phrases[1], sentinels[1])):
        total = sum(float(log_p[place + k, token]) for k, token in enumerate(phrase))
        place += len(phrase)
        closers = [one.template.end, *(token for token in sentinels if token != own)]
        total += float(log_p[place, closers].logsumexp(0))
        place += 1
        assert candidate.probability == pytest.approx(torch.tensor(total).exp().item(), rel=1e-3)


def test_a_masked_fragment_is_as_long_as_its_masks() -> None:
    one = filler("mass", "char")
    assert isinstance(one, FragmentFiller)
    assert {len(candidate.token) for candidate in one.fill("Birds [MASK][MASK][MASK] fly", 2)[0]} <= {1, 2, 3}
    masked = filler("bart", "char", corruption=["mask"])
    assert {len(candidate.token) for candidate in masked.fill("Birds[MASK]fly", 2)[0]} <= {0, 1}
