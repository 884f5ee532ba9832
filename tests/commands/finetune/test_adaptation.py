import pytest
import torch

from ssl_cli.commands.finetune.adaptation import Adaptation, depth_of, n_trained
from ssl_cli.errors import InputError
from ssl_cli.methods.supervised.sequence_classification import SequenceClassificationHead
from ssl_cli.models.transformer import Transformer


def model(norm: str = "post") -> SequenceClassificationHead:
    torch.manual_seed(0)
    return SequenceClassificationHead(Transformer(20, 16, layers=3, width=32, heads=2, norm=norm, segments=2), 2)  # type: ignore[arg-type]


def frozen(adaptation: Adaptation, norm: str = "post") -> set[str]:
    one = model(norm)
    adaptation.prepare(one)
    names = {name for name, weight in one.named_parameters() if not weight.requires_grad}
    return {".".join(name.split(".")[:3]) if "blocks" in name else name.rsplit(".", 1)[0] for name in names}


EMBEDDINGS = {f"network.{name}" for name in ("token_table", "position_table", "segment_table", "first_norm")}
BLOCKS = [f"network.blocks.{number}" for number in range(3)]


def test_what_is_frozen() -> None:
    assert frozen(Adaptation()) == set()
    assert frozen(Adaptation(freeze="embeddings")) == EMBEDDINGS
    assert frozen(Adaptation(freeze=2)) == EMBEDDINGS | set(BLOCKS[:2])
    assert frozen(Adaptation(freeze="encoder")) == EMBEDDINGS | set(BLOCKS)
    pre = EMBEDDINGS - {"network.first_norm"} | {"network.last_norm"}
    assert frozen(Adaptation(freeze="encoder"), "pre") == pre | set(BLOCKS)


def test_rates_fall_with_depth() -> None:
    one = model()
    Adaptation(layer_decay=0.5).prepare(one)
    rates = {name: rate for name, rate in one.lr_scales.items() if name.endswith("weight")}
    assert rates["decide.weight"] == rates["pool.weight"] == 1
    assert rates["network.blocks.2.up.weight"] == 0.5
    assert rates["network.blocks.0.up.weight"] == 0.125
    assert rates["network.token_table.weight"] == 0.0625, "arXiv 2003.10555's get_layer_lrs: decay^(layers + 1)"


def test_top_blocks_start_anew() -> None:
    one, before = model("pre"), model("pre")
    Adaptation(reinit=1).prepare(one)
    theirs = dict(before.named_parameters())
    other = {name for name, weight in one.named_parameters() if not torch.equal(weight, theirs[name])}
    assert {name.split(".")[2] for name in other} == {"2"}
    assert {name for name in theirs if "blocks.2" in name and name.endswith("weight") and "norm" not in name} <= other


def test_adapters_leave_a_plain_model() -> None:
    one = model()
    wanted = {name: weight.shape for name, weight in one.named_parameters()}
    adaptation = Adaptation(lora=4)
    adaptation.prepare(one)
    trained, whole = n_trained(one)
    assert trained < whole / 3
    assert {name for name, weight in one.named_parameters() if weight.requires_grad} > {"pool.weight", "decide.bias"}
    adaptation.finish(one)
    assert {name: weight.shape for name, weight in one.named_parameters()} == wanted


@pytest.mark.parametrize("options", [{"freeze": 4}, {"reinit": 4}])
def test_more_blocks_than_there_are(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="=4: the network has 3 blocks"):
        Adaptation(**options).prepare(model())  # type: ignore[arg-type]


def test_every_weight_has_a_depth() -> None:
    depths = {depth_of(name, [3]) for name, _ in model().named_parameters()}
    assert depths == {0, 1, 2, 3, 4}
