"""Deep autoencoder initialized from a stack of restricted Boltzmann machines."""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from ssl_cli.config.types import Count, Natural, Positive
from ssl_cli.errors import InputError
from ssl_cli.methods.autoencoders.autoencoder import Autoencoder
from ssl_cli.models.images import to_float
from ssl_cli.models.mlp import MLPAutoencoder
from ssl_cli.models.rbm import RestrictedBoltzmann


class DeepBeliefAutoencoder(Autoencoder):
    """Hinton and Salakhutdinov's autoencoder (Science 313, 2006): greedy CD-1 layer by layer, unrolled, fine-tuned.

    Each machine is trained on the hidden probabilities of the one below; the last has linear hidden units, the code.
    The encoder starts from the weights, the decoder from their transposes. With `rbm_epochs=0` both start at random.
    """

    def __init__(
        self,
        network: MLPAutoencoder,
        loss: Literal["squared_error", "cross_entropy"] = "cross_entropy",
        output: Literal["linear", "sigmoid"] = "sigmoid",
        shift: Annotated[Natural, "largest random shift of a training image, in pixels"] = 0,
        rbm_epochs: Annotated[
            Natural, "passes over the training rows for each machine; 0: no machines, random initialization"
        ] = 10,
        rbm_lr: Annotated[Positive, "learning rate of the machines with logistic hidden units"] = 0.1,
        rbm_linear_lr: Annotated[Positive, "learning rate of the last, whose hidden units are linear"] = 0.001,
        rbm_batch_size: Annotated[Count, "rows in a step of contrastive divergence"] = 100,
    ):
        if len(network.shape) == 1:
            raise InputError("This model's machines are for images; for the rows of a table use model=ae.")
        super().__init__(network, loss, output, shift)
        if rbm_epochs and any(not isinstance(layer, nn.Linear | nn.Sigmoid) for layer in network.encoder):
            raise InputError("model.network.activation must be sigmoid, as its machines' units; or model.rbm_epochs=0.")
        self.rbm_epochs, self.rbm_batch_size = rbm_epochs, rbm_batch_size
        self.rbm_lr, self.rbm_linear_lr = rbm_lr, rbm_linear_lr

    def initialize_from_data(self, x: Tensor, seed: int, log: Callable[[str], None]) -> None:
        """Train the machines on rows x (N, ...), images as bytes, and copy their weights; log a line per machine."""
        if not self.rbm_epochs:
            super().initialize_from_data(x, seed, log)
            return
        random = torch.Generator().manual_seed(seed)
        rows = to_float(x).flatten(1).cpu()
        assert isinstance(self.network, MLPAutoencoder)
        encoder, decoder = _linear_layers(self.network.encoder), _linear_layers(self.network.decoder)
        with torch.no_grad():
            for up, down in zip(encoder, reversed(decoder), strict=True):
                is_code = up is encoder[-1]
                machine = RestrictedBoltzmann(up.in_features, up.out_features, is_code, random)
                lr = self.rbm_linear_lr if is_code else self.rbm_lr
                errors = machine.fit(rows, self.rbm_epochs, self.rbm_batch_size, lr)
                change = f"{errors[0]:.2f} -> {errors[-1]:.2f}"
                log(f"machine {up.in_features} - {up.out_features}: squared error per row {change}")
                up.weight.copy_(machine.weights.T)
                up.bias.copy_(machine.hidden_bias)
                down.weight.copy_(machine.weights)
                down.bias.copy_(machine.visible_bias)
                rows = machine.up(rows)


def _linear_layers(stack: nn.Sequential) -> list[nn.Linear]:
    return [layer for layer in stack if isinstance(layer, nn.Linear)]
