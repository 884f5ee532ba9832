"""TokenClassificationHead: packed sentences against each one alone."""

import numpy as np
import pytest
import torch
from torch import nn

from ssl_cli.data.labelled.packed_examples import IGNORE_INDEX, PackedExamples, TokenizedSequences
from ssl_cli.methods.supervised.token_classification import TokenClassificationHead
from ssl_cli.models.transformer import Transformer

V, N_LABELS, CONTEXT, MAX_LENGTH = 50, 5, 128, 40


def tagger(causal: bool) -> TokenClassificationHead:
    torch.manual_seed(0)
    network = Transformer(V, CONTEXT, layers=2, width=16, heads=2, positions="rotary", dropout=0.0, causal=causal)
    model = TokenClassificationHead(network, N_LABELS, dropout=0.0)
    with torch.no_grad():
        for part in model.modules():
            if isinstance(part, nn.Linear | nn.Embedding):
                part.weight.normal_(std=0.3)
    return model.eval()


def sentences(n: int = 12) -> dict[str, list[list[int]]]:
    """Return sentences in which some tokens begin a word, and some words have no known tag; the second has no words."""
    rng = np.random.default_rng(0)
    lists: dict[str, list[list[int]]] = {"ids": [], "word": [], "label": []}
    for k in range(n):
        length = int(rng.integers(2, MAX_LENGTH))
        word = (rng.random(length) < 0.6) & (k != 1)
        label = np.where(word & (rng.random(length) < 0.8), rng.integers(0, N_LABELS, length), IGNORE_INDEX)
        for name, values in (("ids", rng.integers(0, V, length)), ("word", word.astype(int)), ("label", label)):
            lists[name].append(values.tolist())
    return lists


def rows(lists: dict[str, list[list[int]]]) -> PackedExamples:
    return PackedExamples(
        TokenizedSequences.from_lists(lists, {"label": IGNORE_INDEX}), {}, np.arange(len(lists["ids"]))
    )


@pytest.mark.parametrize("causal", [False, True])
def test_predictions_and_loss_are_those_of_each_sentence_alone(causal: bool) -> None:
    model, lists = tagger(causal), sentences()
    batch = rows(lists)[0, slice(None), 1.0]
    assert batch["ids"].shape[0] < len(lists["ids"])  # several in a row
    with torch.no_grad():
        predictions, loss = model.predict_batch(batch), model(batch)["loss"]
        losses = []
        for k, ids in enumerate(lists["ids"]):
            logits = model.decide(model.network(torch.tensor([ids]))[0])  # (T, N_LABELS)
            at = [place for place, word in enumerate(lists["word"][k]) if word]
            assert predictions[k].shape == (len(at), N_LABELS)
            np.testing.assert_allclose(predictions[k], logits[at].numpy(), atol=1e-5)
            for place in at:
                if (label := lists["label"][k][place]) != IGNORE_INDEX:
                    losses.append(-logits.log_softmax(1)[place, label])
    assert float(loss) == pytest.approx(float(torch.stack(losses).mean()), abs=1e-5)


def test_a_batch_without_a_known_tag_has_no_loss_and_no_gradient() -> None:
    model, lists = tagger(causal=False), sentences(3)
    lists["label"] = [[IGNORE_INDEX] * len(labels) for labels in lists["label"]]
    loss = model(rows(lists)[0, slice(None), 1.0])["loss"]
    loss.backward()
    assert float(loss.detach()) == 0.0
    assert model.decide.weight.grad is not None and not model.decide.weight.grad.any()


def test_validation_metrics_get_the_predictions_of_evaluation() -> None:
    model, lists = tagger(causal=False), sentences()
    model.validation_metrics = lambda predictions: {"words": float(sum(len(scores) for scores in predictions))}
    with torch.no_grad():
        model(rows(lists)[0, slice(0, 5), 1.0])
        model(rows(lists)[0, slice(5, 12), 1.0])
    assert model.epoch_metrics() == {"words": float(sum(map(sum, lists["word"])))}
