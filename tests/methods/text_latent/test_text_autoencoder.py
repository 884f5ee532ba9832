"""Generator, reconstructor and discriminator: each loss against what it says, and the run as a whole."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from ssl_cli.methods.text_latent.policy_gradient import leave_one_out
from ssl_cli.methods.text_latent.text_autoencoder import TextAutoencoder
from ssl_cli.models.generation.pointer_writing import Written, constrained
from ssl_cli.training.trainer import train
from tests.helpers.text_autoencoders import ARTICLES, make_batch, make_model, make_rows
from tests.helpers.trained_models import Unplugged, config, history, same

TURNS = ("reconstructor", "discriminator", "generator")
WARMING_UP, REWARDED = 0.1, 0.9  # shares of the run


def step(model: TextAutoencoder, batch: dict[str, Any], *turns: str) -> dict[str, dict[str, torch.Tensor]]:
    torch.manual_seed(5)
    return {turn: model.losses(batch, turn) for turn in turns or TURNS}


def test_each_weight_has_a_turn_and_learns_in_it() -> None:
    model = make_model().train()
    groups = model.parameter_groups()
    assert tuple(groups) == TURNS
    assert sum(map(len, groups.values())) == len(list(model.parameters()))
    for progress in (WARMING_UP, REWARDED):
        for turn, losses in step(model, make_batch(model, progress)).items():
            model.zero_grad()
            losses["loss"].backward()
            n_moved = sum(weight.grad is not None and bool(weight.grad.any()) for weight in groups[turn])
            assert n_moved > len(groups[turn]) / 2, turn


@pytest.mark.parametrize("progress", [WARMING_UP, REWARDED])
def test_summaries_are_drawn_once_a_step(progress: float) -> None:
    model = make_model().train()
    batch = make_batch(model, progress)
    step(model, batch, "reconstructor")
    (drawn,) = model._written.values()
    step(model, batch, "discriminator")
    assert model._written[0] is drawn
    assert len(drawn.ids) == (4 if progress == WARMING_UP else 8)
    step(model, batch, "generator")
    assert not model._written


def test_the_reconstructor_learns_the_beginning_of_the_article() -> None:
    model = make_model().eval()
    batch = make_batch(model, REWARDED)
    written = Written(batch["article_ids"][:, :3], torch.tensor([3, 2, 1, 3]))
    article = Written(batch["article_ids"], batch["article_length"])
    found = model.rebuilding_loss(model.read_summaries(written), article)
    for row in range(4):
        n = min(8, int(article.length[row]))
        targets = article.ids[row : row + 1, :n]
        length = written.length[row : row + 1]
        source = model.reconstructor.read(written.ids[row : row + 1, : length[0]], length)
        scores = model.reconstructor.log_distribution(source, targets, model.prefix)[0]
        torch.testing.assert_close(found[row], functional.nll_loss(scores, targets[0]), atol=1e-5, rtol=1e-4)


def test_the_discriminator_tells_titles_from_summaries_at_each_prefix() -> None:
    model = make_model().eval()
    batch = make_batch(model, REWARDED)
    torch.manual_seed(5)
    losses = model.losses(batch, "discriminator")
    written = model._written[0].take(torch.arange(4) * 2)  # one of each article
    assert model.discriminator is not None
    of_each: dict[int, list[torch.Tensor]] = {0: [], 1: []}
    for ids, length, label in ((batch["title_ids"], batch["title_length"], 1), (written.ids, written.length, 0)):
        for row in range(4):
            text = torch.tensor([*ids[row, : length[row]].tolist(), model.end])
            p = model.discriminator(text[None])[0].sigmoid()
            of_each[label] += [-(p if label else 1 - p).log()]
    expected = (torch.cat(of_each[1]).mean() + torch.cat(of_each[0]).mean()) / 2
    torch.testing.assert_close(losses["loss"], expected, atol=1e-5, rtol=1e-4)


def test_the_generator_is_rewarded_by_both_and_goes_on_to_find_titles() -> None:
    model = make_model(reconstruction_weight=2.0, discriminator_weight=3.0, denoising_weight=0.0).eval()
    batch = make_batch(model, REWARDED)
    torch.manual_seed(5)
    written = model._summaries(batch)
    ids, is_real = written.with_end(model.end)
    losses = model.losses(batch, "generator")
    article = Written(batch["article_ids"].repeat_interleave(2, 0), batch["article_length"].repeat_interleave(2))
    error = model.rebuilding_loss(model.read_summaries(written), article).view(4, 2)
    realness = model._realness(written).view(4, 2)
    torch.testing.assert_close(losses["rebuilding"], error.mean())
    torch.testing.assert_close(losses["realness"], realness.mean())
    advantage = (2 * leave_one_out(-error) + 3 * leave_one_out(realness)).flatten()
    scores = model.generator.log_distribution(model.generator.read(article.ids, article.length), ids, model.prefix)
    log_p = constrained(scores, ids, model.constraints).gather(2, ids[..., None])[..., 0]
    total, n_chosen = torch.zeros(()), 0
    for row in range(8):
        n = min(int(is_real[row].sum()), 5)  # an end after five tokens is no choice
        total, n_chosen = total - advantage[row] * log_p[row, :n].sum(), n_chosen + n
    torch.testing.assert_close(losses["loss"], total / n_chosen, atol=1e-5, rtol=1e-4)
    with_titles = make_model(reconstruction_weight=0.0, discriminator_weight=0.0).eval()
    losses = step(with_titles, batch, "generator")["generator"]
    torch.testing.assert_close(losses["loss"], losses["denoising"])


def test_gumbel_follows_the_gradient_of_the_others() -> None:
    model = make_model(estimator="gumbel", denoising_weight=0.0).eval()
    losses = step(model, make_batch(model, REWARDED))["generator"]
    expected = losses["rebuilding"] - losses["realness"]
    torch.testing.assert_close(losses["loss"], expected)
    losses["loss"].backward()
    assert model.generator.network.token_table.weight.grad is not None


def test_without_a_discriminator_no_title_is_read() -> None:
    model = make_model(discriminator="none").train()
    assert list(model.parameter_groups()) == ["reconstructor", "generator"] and model.warmup == 0
    batch = {name: value for name, value in make_batch(model, 0.0).items() if not name.startswith("title")}
    losses = step(model, batch, "reconstructor", "generator")["generator"]
    assert set(losses) == {"loss", "rebuilding"}


@pytest.mark.parametrize("options", [{}, {"accumulate_grad_batches": 2}])
@pytest.mark.parametrize("estimator", ["reinforce", "gumbel"])
def test_a_run_that_broke_resumes_to_the_bit(tmp_path: Path, options: dict[str, Any], estimator: Any) -> None:
    class Breaks(TextAutoencoder):
        turns_left = 10**9

        def losses(self, batch: Any, turn: str) -> dict[str, torch.Tensor]:
            self.turns_left -= 1
            if self.turns_left < 0:
                raise Unplugged
            return super().losses(batch, turn)

    def learned(folder: Path, cfg: Any, turns: int = 10**9) -> TextAutoencoder:
        folder.mkdir(exist_ok=True)
        model = make_model(estimator=estimator)
        model.__class__, model.turns_left = Breaks, turns  # type: ignore[assignment]
        train(model, make_rows(model), model.rows(ARTICLES[:8], (), 0), cfg, folder)
        return model

    cfg = config(max_steps=12, **options)
    whole = learned(tmp_path / "whole", cfg)
    with pytest.raises(Unplugged):  # after the first checkpoint, of step 5, in the second turn of a step
        learned(tmp_path / "broken", cfg, 3 * 7 * options.get("accumulate_grad_batches", 1) + 1)
    cfg.resume = "here"
    assert same(whole, learned(tmp_path / "broken", cfg))
    assert history(tmp_path / "whole") == history(tmp_path / "broken")


def test_a_text_is_summarized_and_rebuilt_alone_as_among_others() -> None:
    model = make_model().eval()
    texts = [*ARTICLES[:5], "..."]
    summaries = model.summarize(texts)
    assert summaries[5] == "" and all(1 <= len(summary.split()) <= 5 for summary in summaries[:5])
    assert [model.summarize([text])[0] for text in texts] == summaries
    assert [len(text.split()) for text in model.rebuild(summaries[:5])] == [8] * 5
    loss, accuracy = model.rebuilding(ARTICLES[:5], summaries[:5])
    alone = [model.rebuilding(ARTICLES[k : k + 1], summaries[k : k + 1]) for k in range(5)]
    torch.testing.assert_close(loss, torch.cat([pair[0] for pair in alone]), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(accuracy, torch.cat([pair[1] for pair in alone]))
    assert model.training is False


def test_a_text_has_the_same_vector_alone_and_beside_longer_ones() -> None:
    model = make_model().eval()
    texts = ["paris wheat", ARTICLES[0], "oslo copper falls again"]
    vectors = model.embed(texts)
    assert vectors.shape == (3, 16) and not torch.allclose(vectors[0], vectors[2])
    for text, vector in zip(texts, vectors, strict=True):
        torch.testing.assert_close(model.embed([text])[0], vector)
