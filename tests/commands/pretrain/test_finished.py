"""A finished run of `ssl pretrain` in Python."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import load_file, save_file

import ssl_cli
from ssl_cli.commands.pretrain.finished import PretrainRun
from ssl_cli.errors import InputError
from ssl_cli.models.generation.decode import GenerationRequest
from ssl_cli.models.generation.sampling import Sampling
from tests.helpers.pretrain_runs import make_run, tokenizer_of


def reopened(folder: Path, *how: str, **options: Any) -> PretrainRun:
    run = ssl_cli.load(make_run(folder, *how, **options))
    assert isinstance(run, PretrainRun)
    return run


# --- blanks ---


def test_answers_are_those_of_the_model(tmp_path: Path) -> None:
    """Each mask by itself, the others left as masks; [CLS] and [SEP] around the text, as BERT has it."""
    run = reopened(tmp_path / "run", "bert", "wordpiece")
    first, second = run.fill("Birds [MASK] fly, [MASK].", n=3)
    framed = ["[CLS]", "birds", "[MASK]", "fly", ",", "[MASK]", ".", "[SEP]"]
    ids = [run.tokenizer.library.token_to_id(name) for name in framed]
    with torch.inference_mode():
        hidden = run.model.network(torch.tensor([ids]))[0]
        share = run.model.head(hidden, run.model.network.token_table.weight).softmax(-1)
    for answers, place in ((first, 2), (second, 5)):
        values, tokens = share[place].sort(descending=True)
        assert [answer.probability for answer in answers] == pytest.approx(values[:3].tolist(), rel=1e-4)
        assert [answer.token for answer in answers] == [run.spelt(token) for token in tokens[:3].tolist()]
    assert len(run.fill("[MASK]", n=10**6)[0]) == run.tokenizer.vocab_size


@pytest.mark.parametrize(("kind", "blanks"), [("bpe", [" ", "\n"]), ("char", [" "]), ("unigram", ["▁"])])
def test_an_answer_that_is_a_blank_is_kept(tmp_path: Path, kind: str, blanks: list[str]) -> None:
    run = reopened(tmp_path / "run", "bert", kind)
    said = [run.spelt(token) for token in range(run.tokenizer.vocab_size)]
    assert "" not in said and set(blanks) <= set(said)


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_the_space_before_a_mask_is_part_of_its_answer(tmp_path: Path, kind: str) -> None:
    """As a word's token has it in the training text; and no space comes between a mask and what follows at once."""
    run = reopened(tmp_path / "run", "bert", kind)
    ids = run._masked("Birds can [MASK].")
    assert ids[-2] == run.tokenizer.specials["mask"] and run.tokenizer.token(ids[-1]) == "."
    assert run.tokenizer.token(ids[-3]) in ("Ġcan", "▁can")
    assert run._masked("a[MASK]")[-2:] == run._masked("a [MASK]")[-2:]


def test_a_character_model_keeps_the_space(tmp_path: Path) -> None:
    run = reopened(tmp_path / "run", "bert", "char")
    assert [run.tokenizer.token(token) for token in run._masked("鸟会[MASK] a")] == ["鸟", "会", "[MASK]", " ", "a"]


def test_the_mask_may_have_another_name(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run", "bert", "wordpiece")
    path = folder / "tokenizer.json"
    before = ssl_cli.load(folder).fill("Birds can [MASK].")  # type: ignore[attr-defined]
    path.write_text(path.read_text().replace("[MASK]", "<mask>"))
    assert ssl_cli.load(folder).fill("Birds can [MASK].") == before  # type: ignore[attr-defined]
    assert ssl_cli.load(folder).fill("Birds can <mask>.") == before  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Birds can fly.", r"'Birds can fly.' has no \[MASK\]: write it where a word is wanted"),
        ("a " * 40 + "[MASK]", r"has 41 tokens, and the model reads 30 at most: shorten it"),
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


def test_each_model_names_the_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model=gpt reads from left to right, so it can't fill in a mask"):
        reopened(tmp_path / "gpt", "gpt").fill("[MASK]")
    with pytest.raises(InputError, match=r"model=bert sees both sides of a gap, so it can't go on with a text"):
        reopened(tmp_path / "bert", "bert").generate(["a"])


# --- going on ---


def test_texts_of_prompts(tmp_path: Path) -> None:
    run = reopened(tmp_path / "run", "gpt", "char")
    prompts = ["Birds", "", "The sun is warm."]
    found = run.generate(prompts, GenerationRequest(n=2, max_tokens=9, seed=1), Sampling(), precision="32-true")
    assert [len(writers) for writers in found] == [2, 2, 2]
    for writers in found:
        for writer in writers:
            assert writer.text == run.tokenizer.decode(writer.tokens)
            assert len(writer.tokens) == 9 or writer.ended == "end"
    heard: list[str] = []
    ((alone,),) = run.generate(
        ["Birds"], GenerationRequest(max_tokens=9, seed=1), precision="32-true", hear=heard.append
    )
    assert "".join(heard) == alone.text == found[0][0].text
    ((cut,),) = run.generate(
        ["Birds"], GenerationRequest(max_tokens=9, seed=1), stop=[alone.text[3:5]], precision="32-true"
    )
    assert cut.text == alone.text[:3] and cut.ended == "stop"


def test_an_empty_prompt_is_the_start_of_a_document(tmp_path: Path) -> None:
    run = reopened(tmp_path / "run", "gpt", "bpe")
    end = run.tokenizer.token(run.tokenizer.specials["end"])
    ((one,),), ((other,),) = (run.generate([text], GenerationRequest(max_tokens=9)) for text in ("", end))
    assert one.tokens == other.tokens


@pytest.mark.parametrize("temperature", [0, 1.0])
@pytest.mark.parametrize("kind", ["wordpiece", "bpe"])
def test_no_special_token_is_drawn_but_the_end(tmp_path: Path, kind: str, temperature: float) -> None:
    """Of a model that wants to say nothing else."""
    run = reopened(tmp_path / "run", "gpt", kind)
    end, specials = run.tokenizer.specials["end"], set(run.tokenizer.specials.values())
    with torch.no_grad():
        norm, table = run.model.network.last_norm, run.model.network.token_table.weight
        norm.weight.zero_()
        norm.bias.copy_(table[6:8].sum(0))
        table[sorted(specials - {end})] = 9 * norm.bias
    wish, sampling = GenerationRequest(n=4, max_tokens=12), Sampling(temperature)
    (texts,) = run.generate(["Birds"], wish, sampling, precision="32-true")
    assert any(text.tokens for text in texts)
    assert not {token for text in texts for token in text.tokens} & specials
    with torch.no_grad():
        table[end] = 99 * norm.bias
    (texts,) = run.generate(["Birds"], wish, sampling, precision="32-true")
    assert [(text.tokens, text.ended) for text in texts] == [([], "end")] * 4


@pytest.mark.parametrize(
    ("wish", "sampling", "sentence"),
    [
        ({"n": 0}, {}, "n must be a whole number of at least 1, not 0"),
        ({"max_tokens": 1.5}, {}, "max_tokens must be a whole number"),
        ({}, {"top_p": 0}, "top_p must be a number above 0 and of at most 1 or null, not 0"),
        ({}, {"temperature": -1.0}, "temperature must be a number of at least 0"),
        ({}, {"repetition_penalty": 0.5}, "repetition_penalty must be a number of at least 1"),
    ],
)
def test_numbers_that_are_none(tmp_path: Path, wish: Any, sampling: Any, sentence: str) -> None:
    run = reopened(tmp_path / "run")
    with pytest.raises(InputError, match=sentence):
        run.generate(["a"], GenerationRequest(**wish), Sampling(**sampling))
    with pytest.raises(InputError, match="prompts must be a list of texts"):
        run.generate("a")


# --- a folder that isn't what it should be ---


def test_a_damaged_run(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "other", "bert", "bpe")
    (folder / "tokenizer.json").write_text(tokenizer_of("wordpiece").to_json().replace("[MASK]", "[HOLE]"))
    with pytest.raises(InputError, match=r"tokenizer.json is damaged: its mask token isn't the model's"):
        ssl_cli.load(folder)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(InputError, match=r"tokenizer.json is no tokenizer that can be read"):
        ssl_cli.load(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer.json"):
        ssl_cli.load(folder)

    folder = make_run(tmp_path / "small", "gpt", "wordpiece")
    tokenizer_of("bpe").save(folder / "tokenizer.json")
    with pytest.raises(InputError, match=r"is damaged: it has 300 tokens, the model"):
        ssl_cli.load(folder)


def test_weights_that_are_no_numbers(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    weights = load_file(folder / "model.safetensors")
    save_file({name: value * float("nan") for name, value in weights.items()}, folder / "model.safetensors")
    with pytest.raises(InputError, match="NaN or infinite: train it again"):
        ssl_cli.load(folder)


def test_a_giant_is_refused_before_it_is_built(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    config = OmegaConf.load(folder / "config.yaml")
    config.model.width = 10**7
    OmegaConf.save(config, folder / "config.yaml")
    with pytest.raises(InputError, match="the config's model"):
        ssl_cli.load(folder)
