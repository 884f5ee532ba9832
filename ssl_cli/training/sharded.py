"""Training with the weights sharded over GPUs (fully sharded data parallel)."""

from torch.distributed.fsdp import FullyShardedDataParallel
from torch.distributed.fsdp.wrap import wrap

from ssl_cli.training.module import Learner


class ShardedLearner(Learner):
    """The LightningModule whose method is sharded.

    Lightning would shard the module itself, whose forward pass would then be a whole stretch.
    """

    def configure_model(self) -> None:
        """Shard the method."""
        if not isinstance(self.method, FullyShardedDataParallel):
            self.method = wrap(self.method)
