"""The projector, against its layers one by one."""

import pytest
import torch

from ssl_cli.models.projector import Projector


@pytest.mark.parametrize("last_norm", [False, True])
def test_layers_have_norms_between_them_and_at_the_end_if_asked(last_norm: bool) -> None:
    torch.manual_seed(0)
    projector, x = Projector(6, [5, 4, 3], last_norm).train(), torch.randn(9, 6)
    linear = [module for module in projector if isinstance(module, torch.nn.Linear)]
    assert [layer.bias is not None for layer in linear] == [False, False, not last_norm]
    expected = x
    for k, layer in enumerate(linear):
        expected = layer(expected)
        if k < 2 or last_norm:
            expected = (expected - expected.mean(0)) / (expected.var(0, correction=0) + 1e-5).sqrt()
        if k < 2:
            expected = expected.clamp(min=0)
    torch.testing.assert_close(projector(x), expected)


def test_one_layer_is_linear() -> None:
    projector = Projector(6, [3])
    x = torch.randn(4, 6)
    torch.testing.assert_close(projector(x), x @ projector[0].weight.T + projector[0].bias)
