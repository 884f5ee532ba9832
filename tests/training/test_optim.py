"""How a text model's weights are trained."""

import torch

from ssl_cli.data.batches import ArrayDataset
from ssl_cli.training.module import Learner
from ssl_cli.training.optim import Weights
from tests.helpers.pretrain_runs import causal


def test_biases_and_norms_are_spared_the_decay() -> None:
    """As in BERT's code and GPT-2's: with no gradient at all, only matrices shrink."""
    model = causal()

    def make(weights: Weights) -> torch.optim.Optimizer:
        return torch.optim.AdamW(weights, lr=0.1, weight_decay=0.5)  # type: ignore[arg-type]

    rows = ArrayDataset({"ids": torch.zeros(2, 3)})
    learner = Learner(model, rows, rows, make, lambda *_: 1.0, batch_size=2, seed=0)
    optimizer = make(learner.weight_groups.divided()[0])
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}
    for weight in model.parameters():
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    for name, weight in model.named_parameters():
        shrunk = 0.95 if weight.dim() > 1 else 1.0
        torch.testing.assert_close(weight.detach(), shrunk * before[name], msg=name)
