"""The variational auto-encoder of sentences, against naive transcriptions of its formulas."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from ssl_cli.methods.text_latent.sentence_vae import SentenceVAE
from ssl_cli.models.transformer import Transformer

SPECIALS = {"pad": 0, "unk": 1, "cls": 2, "sep": 3, "mask": 4, "end": 5}
BATCH = {"ids": torch.tensor([[6, 7, 8, 9], [10, 11, 0, 0], [12, 0, 0, 0]]), "length": torch.tensor([4, 2, 1])}


def make_model(**options: Any) -> SentenceVAE:
    torch.manual_seed(0)
    shape = {"layers": 1, "width": 16, "heads": 2, "norm": "pre", "positions": "rotary", "dropout": 0.0}
    network = Transformer(vocab_size=20, context=8, causal=True, **shape)  # type: ignore[arg-type]
    model = SentenceVAE(network, SPECIALS, **{"latent": 3, "word_dropout": 0.0, "free_bits": 0.0} | options)
    if model.decoder.project is not None:
        model.decoder.project.weight.data.mul_(60)  # a code that is heard
    return model


def naive_log_p(model: SentenceVAE, z: Tensor, sentence: list[int], read: list[int] | None = None) -> Tensor:
    """Token by token: what is read is the beginning of the sentence, the code is added to each embedding."""
    total = torch.zeros(())
    read, targets = [SPECIALS["cls"], *(read or sentence)], [*sentence, SPECIALS["end"]]
    for place, target in enumerate(targets):
        ids = torch.tensor([read[: place + 1]])
        vectors = model.network.token_table(ids)
        if model.decoder.project is not None:
            vectors = vectors + model.decoder.loudness * model.decoder.project(z)
        logits = model.network.logits(model.network(ids, vectors=vectors)[0, -1])
        total = total - functional.cross_entropy(logits, torch.tensor(target))
    return total


def sentences() -> list[list[int]]:
    return [row[:n].tolist() for row, n in zip(BATCH["ids"], BATCH["length"], strict=True)]


def test_the_likelihood_is_that_of_each_token_and_the_end() -> None:
    model, z = make_model(), torch.randn(3, 3)
    expected = torch.stack([naive_log_p(model, z[k], sentence) for k, sentence in enumerate(sentences())])
    torch.testing.assert_close(model.decoder.log_probability(z, BATCH["ids"], BATCH["length"]), expected)


def test_the_loss_is_the_elbo() -> None:
    """KL(N(m, s²) || N(0, 1)) = log(1/s) + (s² + m²) / 2 - 1/2, and the expectation by one draw."""
    model = make_model(beta=0.7).eval()
    mean, log_var = model.posterior_of(BATCH)
    torch.manual_seed(1)
    losses = model(BATCH)
    torch.manual_seed(1)
    z = mean + torch.randn(3, 3) * (0.5 * log_var).exp()
    kl = log_p = torch.zeros(())
    for k, sentence in enumerate(sentences()):
        log_p = log_p + naive_log_p(model, z[k], sentence) / 3
        for m, s in zip(mean[k], (0.5 * log_var[k]).exp(), strict=True):
            kl = kl + (torch.log(1 / s) + (s**2 + m**2) / 2 - 0.5) / 3
    torch.testing.assert_close(losses["distortion"], -log_p)
    torch.testing.assert_close(losses["rate"], kl)
    torch.testing.assert_close(losses["loss"], (-log_p + 0.7 * kl) / (10 / 3))  # 7 tokens and 3 ends


@torch.no_grad()
def test_free_bits_are_of_each_dimension_over_the_batch() -> None:
    model = make_model(kl_warmup=0.0).train()
    mean, log_var = model.posterior_of(BATCH)
    rates = (0.5 * (mean**2 + log_var.exp() - 1 - log_var)).mean(0)
    model.free_bits = free = float(rates.median())
    losses = model(BATCH)
    charged = sum(max(free, float(rate)) for rate in rates)
    assert charged > float(losses["rate"])
    assert float(losses["loss"]) * 10 / 3 == pytest.approx(float(losses["distortion"]) + charged, rel=1e-5)
    model.eval()
    losses = model(BATCH)
    assert float(losses["loss"]) * 10 / 3 == pytest.approx(float(losses["distortion"] + losses["rate"]), rel=1e-5)


def test_the_kl_weight_rises_over_the_warmup_in_training_alone() -> None:
    model = make_model(kl_warmup=0.5, beta=2.0).train()
    weights = [model._kl_weight({"progress": share}) for share in (0.0, 0.25, 0.5, 1.0)]
    assert weights == [0.0, 1.0, 2.0, 2.0]
    assert model._kl_weight({}) == model.eval()._kl_weight({"progress": 0.0}) == 2.0
    assert make_model(kl_warmup=0.0).train()._kl_weight({"progress": 0.0}) == 1.0


def test_dropped_words_are_read_as_unknown_and_predicted_as_they_are() -> None:
    model = make_model(word_dropout=0.5)
    ids = torch.randint(6, 20, (200, 7))
    read = model.train()._dropped(ids)
    share = (read[:, 1:] == SPECIALS["mask"]).float().mean()
    assert 0.4 < share < 0.6 and (read[:, 0] == SPECIALS["cls"]).all()
    assert ((read[:, 1:] == ids) | (read[:, 1:] == SPECIALS["mask"])).all()
    assert torch.equal(model.eval()._dropped(ids)[:, 1:], ids)
    z, sentence = torch.randn(1, 3), [6, 7, 8]
    dropped = torch.tensor([[SPECIALS["cls"], 6, SPECIALS["mask"], 8]])
    log_p = model.decoder.log_probability(z, torch.tensor([sentence]), torch.tensor([3]), dropped)
    torch.testing.assert_close(log_p[0], naive_log_p(model, z[0], sentence, dropped[0, 1:].tolist()))


def test_a_token_does_not_see_those_after_it_and_all_see_the_code() -> None:
    model, ids = make_model().eval(), torch.tensor([[6, 7, 8, 9, 10]])
    z = torch.randn(1, 3)
    hidden = model.decoder.hidden(z, ids)
    changed = model.decoder.hidden(z, torch.tensor([[6, 7, 8, 15, 16]]))
    torch.testing.assert_close(hidden[:, :3], changed[:, :3])
    assert not torch.allclose(hidden[:, 3], changed[:, 3])
    assert ((hidden - model.decoder.hidden(z + 1, ids)).abs().amax(2) > 1e-4).all()


def test_padding_does_not_change_a_code() -> None:
    model = make_model().eval()
    alone = model.posterior_of({"ids": torch.tensor([[10, 11]]), "length": torch.tensor([2])})
    for one, other in zip(model.posterior_of(BATCH), alone, strict=True):
        torch.testing.assert_close(one[1], other[0])


def test_importance_weights_are_those_of_the_formula() -> None:
    """log 1/K sum of p(x|z) p(z) / q(z|x); with one sample it is a draw of the ELBO, with many it is above it."""
    model = make_model().eval()
    mean, log_var = model.posterior_of(BATCH)
    torch.manual_seed(2)
    found = model.log_likelihood(BATCH, samples=5)
    torch.manual_seed(2)
    terms = []
    for _ in range(5):
        z = mean + (0.5 * log_var).exp() * torch.randn(3, 3)
        prior = torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(1)
        posterior = torch.distributions.Normal(mean, (0.5 * log_var).exp()).log_prob(z).sum(1)
        log_p = torch.stack([naive_log_p(model, z[k], sentence) for k, sentence in enumerate(sentences())])
        terms.append(log_p + prior - posterior)
    torch.testing.assert_close(found, torch.stack(terms).logsumexp(0) - math.log(5))
    with torch.inference_mode():
        assert (model.log_likelihood(BATCH, 100) > model.lower_bound(BATCH, 100) - 0.05).all()


def test_without_a_code_it_is_a_language_model() -> None:
    model = make_model(code="none").eval()
    assert model.latent == 0 and model.encoder is None
    losses, exact = model(BATCH), model.log_likelihood(BATCH, 50)
    assert losses["rate"] == 0
    torch.testing.assert_close(losses["distortion"], -exact.mean())
    torch.testing.assert_close(exact[1], naive_log_p(model, torch.zeros(0), sentences()[1]))


def test_sentences_are_written_as_they_are_likeliest() -> None:
    """By the cache as without it; never empty, and without special tokens."""
    model, z = make_model().eval(), torch.randn(4, 3)
    ids, length = model.write(z, 7)
    for k in range(4):
        read = [SPECIALS["cls"]]
        for place in range(7):
            logits = model.network.logits(model.decoder.hidden(z[k : k + 1], torch.tensor([read]))[0, -1])
            logits[[0, 1, 2, 3, 4, *([5] if place == 0 else [])]] = -torch.inf
            read.append(int(logits.argmax()))
            if read[-1] == SPECIALS["end"]:
                break
        written = [token for token in read[1:] if token != SPECIALS["end"]]
        assert ids[k, : int(length[k])].tolist() == written
    drawn = [model.write(z, 7, temperature=1.0)[0] for _ in range(2)]
    assert drawn[0].shape != drawn[1].shape or not torch.equal(*drawn)


def test_it_names_the_cures_that_are_not_yet_in_use() -> None:
    bare = make_model(kl_warmup=0.0).collapse_advice("posterior_collapse", 3)
    assert bare == "model.free_bits=0.25 or model.word_dropout=0.3 or model.kl_warmup=0.5"
    cured = make_model(kl_warmup=0.5, word_dropout=0.3, free_bits=0.25).collapse_advice("posterior_collapse", 3)
    assert cured == "model.free_bits=0.5 or model.word_dropout=0.6"
    used = make_model(kl_warmup=0.5, word_dropout=0.6, free_bits=0.5).collapse_advice("posterior_collapse", 3)
    assert used == "more steps (trainer.max_steps)"
