"""A finished run of `ssl pretrain` in Python."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

import ssl_cli
from ssl_cli.commands.pretrain.finished import PretrainRun
from ssl_cli.errors import InputError
from ssl_cli.models.generation.request import GenerationRequest
from ssl_cli.models.generation.sampling import Sampling
from ssl_cli.runs.digests import write_digests
from tests.helpers.pretrain_runs import make_run, make_seq2seq_run, tokenizer_of


def reopened(folder: Path, *how: str, **options: Any) -> PretrainRun:
    make = make_seq2seq_run if how[:1] in (("bart",), ("t5",)) else make_run
    run = ssl_cli.load(make(folder, *how, **options))
    assert isinstance(run, PretrainRun)
    return run


# --- vectors ---


@pytest.mark.parametrize("how", [("bert", "wordpiece"), ("gpt", "bpe"), ("bart", "unigram"), ("t5", "unigram")])
def test_a_text_has_the_same_vector_alone_and_beside_others(tmp_path: Path, how: tuple[str, str]) -> None:
    run = reopened(tmp_path / "run", *how)
    texts = ["Birds can fly.", "A dog can run, and a bird can sing.", "Fish can swim.", "Birds can fly."]
    vectors = run.embed(texts)
    assert vectors.shape == (4, run.model.network.width) and vectors.dtype == np.float32
    assert np.array_equal(vectors[0], vectors[3]) and not np.allclose(vectors[0], vectors[2])
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(run.embed([text])[0], vector, atol=1e-5)
    assert run.embed([]).shape == (0, run.model.network.width)
    with pytest.raises(InputError, match="Text 2, '', has 0 tokens: the model reads 1 to"):
        run.embed(["birds", ""])


# --- masks ---


def test_candidates_are_those_of_the_model(tmp_path: Path) -> None:
    """Each mask independently, with [CLS] and [SEP] around the text, as in BERT."""
    run = reopened(tmp_path / "run", "bert", "wordpiece")
    first, second = run.fill("Birds [MASK] fly, [MASK].", n=3)
    framed = ["[CLS]", "birds", "[MASK]", "fly", ",", "[MASK]", ".", "[SEP]"]
    ids = [run.tokenizer.library.token_to_id(name) for name in framed]
    with torch.inference_mode():
        hidden = run.model.network(torch.tensor([ids]))[0]
        share = run.model.head(hidden, run.model.network.token_table.weight).softmax(-1)
    for candidates, place in ((first, 2), (second, 5)):
        values, tokens = share[place].sort(descending=True)
        assert [candidate.probability for candidate in candidates] == pytest.approx(values[:3].tolist(), rel=1e-4)
        assert [candidate.token for candidate in candidates] == [run.token_text(token) for token in tokens[:3].tolist()]
    assert len(run.fill("[MASK]", n=10**6)[0]) == run.tokenizer.vocab_size


@pytest.mark.parametrize(("kind", "whitespace"), [("bpe", [" ", "\n"]), ("char", [" "]), ("unigram", ["▁"])])
def test_a_whitespace_token_is_kept(tmp_path: Path, kind: str, whitespace: list[str]) -> None:
    run = reopened(tmp_path / "run", "bert", kind)
    texts = [run.token_text(token) for token in range(run.tokenizer.vocab_size)]
    assert "" not in texts and set(whitespace) <= set(texts)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_the_space_before_a_mask_is_part_of_its_token(tmp_path: Path, kind: str) -> None:
    """As in the tokens of the training text; and there is no space between a mask and what follows it directly."""
    run = reopened(tmp_path / "run", "bert", kind)
    ids = run._encode_masked("Birds can [MASK].")
    assert ids[-2] == run.tokenizer.specials["mask"] and run.tokenizer.token(ids[-1]) == "."
    assert run.tokenizer.token(ids[-3]) in ("Ġcan", "▁can")
    assert run._encode_masked("a[MASK]")[-2:] == run._encode_masked("a [MASK]")[-2:]


def test_a_character_model_keeps_the_space(tmp_path: Path) -> None:
    run = reopened(tmp_path / "run", "bert", "char")
    assert [run.tokenizer.token(token) for token in run._encode_masked("鸟会[MASK] a")] == [
        "鸟",
        "会",
        "[MASK]",
        " ",
        "a",
    ]


def test_the_mask_may_have_another_name(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "bert", "wordpiece")
    path = folder / "tokenizer.json"
    before = ssl_cli.load(folder).fill("Birds can [MASK].")  # type: ignore[attr-defined]
    path.write_text(path.read_text().replace("[MASK]", "<mask>"))
    write_digests(folder)
    assert ssl_cli.load(folder).fill("Birds can [MASK].") == before  # type: ignore[attr-defined]
    assert ssl_cli.load(folder).fill("Birds can <mask>.") == before  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Birds can fly.", r"'Birds can fly.' has no \[MASK\]: write it in place of a word"),
        ("a " * 40 + "[MASK]", r"has 41 tokens, but the model reads at most 30: shorten it"),
        (None, "must be a text, not a NoneType"),
    ],
)
def test_a_text_that_can_not_be_filled_in(tmp_path: Path, text: Any, sentence: str) -> None:
    run = reopened(tmp_path / "run", "bert", "wordpiece")
    with pytest.raises(InputError, match=sentence):
        run.fill(text)
    assert run.fill("a " * 29 + "[MASK]")
    with pytest.raises(InputError, match="n must be a whole number of at least 1, not 0"):
        run.fill("[MASK]", n=0)


def test_each_model_suggests_the_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model=gpt reads from left to right, so it can't fill in a mask"):
        reopened(tmp_path / "gpt", "gpt").fill("[MASK]")
    with pytest.raises(InputError, match=r"model=bert sees both sides of a gap, so it can't continue a text"):
        reopened(tmp_path / "bert", "bert").generate(["a"])


# --- generation ---


def test_generate(tmp_path: Path) -> None:
    run = reopened(tmp_path / "run", "gpt", "char")
    prompts = ["Birds", "", "The sun is warm."]
    completions = run.generate(prompts, GenerationRequest(n=2, max_tokens=9, seed=1), Sampling(), precision="32-true")
    assert [len(of_prompt) for of_prompt in completions] == [2, 2, 2]
    for of_prompt in completions:
        for completion in of_prompt:
            assert completion.text == run.tokenizer.decode(completion.tokens)
            assert len(completion.tokens) == 9 or completion.finish_reason == "end"
    streamed: list[str] = []
    ((alone,),) = run.generate(
        ["Birds"], GenerationRequest(max_tokens=9, seed=1), precision="32-true", on_text=streamed.append
    )
    assert "".join(streamed) == alone.text == completions[0][0].text
    ((cut,),) = run.generate(
        ["Birds"], GenerationRequest(max_tokens=9, seed=1), stop=[alone.text[3:5]], precision="32-true"
    )
    assert cut.text == alone.text[:3] and cut.finish_reason == "stop"


def test_an_empty_prompt_is_the_start_of_a_document(tmp_path: Path) -> None:
    run = reopened(tmp_path / "run", "gpt", "bpe")
    end = run.tokenizer.token(run.tokenizer.specials["end"])
    ((one,),), ((other,),) = (run.generate([text], GenerationRequest(max_tokens=9)) for text in ("", end))
    assert one.tokens == other.tokens


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_no_special_token_is_generated_except_the_end(tmp_path: Path, kind: str, temperature: float) -> None:
    """Even if the model gives special tokens nearly all of the probability."""
    run = reopened(tmp_path / "run", "gpt", kind)
    end, specials = run.tokenizer.specials["end"], set(run.tokenizer.specials.values())
    with torch.no_grad():
        norm, table = run.model.network.last_norm, run.model.network.token_table.weight
        norm.weight.zero_()
        norm.bias.copy_(table[6:8].sum(0))
        table[sorted(specials - {end})] = 9 * norm.bias
    request, sampling = GenerationRequest(n=4, max_tokens=12), Sampling(temperature)
    (texts,) = run.generate(["Birds"], request, sampling, precision="32-true")
    assert any(text.tokens for text in texts)
    assert not {token for text in texts for token in text.tokens} & specials
    with torch.no_grad():
        table[end] = 99 * norm.bias
    (texts,) = run.generate(["Birds"], request, sampling, precision="32-true")
    assert [(text.tokens, text.finish_reason) for text in texts] == [([], "end")] * 4


@pytest.mark.parametrize(
    ("options", "sampling", "sentence"),
    [
        ({"n": 0}, {}, "n must be a whole number of at least 1, not 0"),
        ({"max_tokens": 1.5}, {}, "max_tokens must be a whole number"),
        ({"beams": 2, "length_penalty": 5.0}, {}, "length_penalty must be a number of at least -4 and of at most 4"),
        ({"length_penalty": 2.0}, {}, "length_penalty=2 is for a beam search: set beams above 1"),
        ({}, {"top_p": 0}, "top_p must be a number above 0 and of at most 1 or null, not 0"),
        ({}, {"temperature": -1.0}, "temperature must be a number of at least 0"),
        ({}, {"repetition_penalty": 0.5}, "repetition_penalty must be a number of at least 1"),
    ],
)
def test_invalid_values(tmp_path: Path, options: Any, sampling: Any, sentence: str) -> None:
    run = reopened(tmp_path / "run")
    with pytest.raises(InputError, match=sentence):
        run.generate(["a"], GenerationRequest(**options), Sampling(**sampling))
    with pytest.raises(InputError, match="prompts must be a list of texts"):
        run.generate("a")


# --- damaged folders ---


def test_a_damaged_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "other", "bert", "bpe")
    (folder / "tokenizer.json").write_text(tokenizer_of("wordpiece").to_json().replace("[MASK]", "[HOLE]"))
    write_digests(folder)
    with pytest.raises(InputError, match=r"tokenizer.json is damaged: its mask token isn't the model's"):
        ssl_cli.load(folder)
    (folder / "tokenizer.json").write_text("{")
    write_digests(folder)
    with pytest.raises(InputError, match=r"tokenizer.json can't be read as a tokenizer"):
        ssl_cli.load(folder)
    (folder / "tokenizer.json").unlink()
    write_digests(folder)
    with pytest.raises(InputError, match=r"tokenizer.json"):
        ssl_cli.load(folder)

    folder = make_run(tmp_path / "small", "gpt", "wordpiece")
    tokenizer_of("bpe").save(folder / "tokenizer.json")
    write_digests(folder)
    with pytest.raises(InputError, match=r"is damaged: it has 300 tokens, the model"):
        ssl_cli.load(folder)


def test_weights_that_are_not_finite(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    weights = load_file(folder / "model.safetensors")
    save_file({name: value * float("nan") for name, value in weights.items()}, folder / "model.safetensors")
    write_digests(folder)
    with pytest.raises(InputError, match="NaN or infinite: train it again"):
        ssl_cli.load(folder)


def test_a_huge_model_is_rejected_before_it_is_built(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    config = OmegaConf.load(folder / "config.yaml")
    config.model.network.width = 10**7
    OmegaConf.save(config, folder / "config.yaml")
    write_digests(folder)
    with pytest.raises(InputError, match="the config's model"):
        ssl_cli.load(folder)
