"""The faster norm by the root mean square, against torch's."""

import torch
from torch import nn

from ssl_cli.models.norms import RMSNorm


def test_outputs_and_gradients_are_torchs() -> None:
    ours, theirs = RMSNorm(32, 1e-3), nn.RMSNorm(32, 1e-3)
    with torch.no_grad():
        theirs.weight.normal_()
    ours.load_state_dict(theirs.state_dict())
    x, gradient = torch.randn(4, 7, 32) * torch.logspace(-3, 2, 7)[:, None], torch.randn(4, 7, 32)
    of_x = []
    for norm in (ours, theirs):
        inputs = x.clone().requires_grad_()
        out = norm(inputs)
        with torch.no_grad():
            torch.testing.assert_close(norm(x), out)
        out.backward(gradient)
        of_x.append(inputs.grad)
    torch.testing.assert_close(*of_x, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(ours.weight.grad, theirs.weight.grad)
    with torch.autocast("cpu", torch.bfloat16):
        again = x.clone().requires_grad_()
        ours(again).backward(gradient)
    torch.testing.assert_close(again.grad, of_x[0])
