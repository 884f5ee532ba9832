import pytest
import torch

from ssl_cli.commands.finetune.adaptation import Adaptation, depth_of, n_trained
from ssl_cli.errors import InputError
from ssl_cli.methods.supervised.sequence_classification import SequenceClassificationHead
from ssl_cli.methods.supervised.text_generation import TextGenerator
from ssl_cli.models.encoder_decoder import EncoderDecoder
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


# --- an encoder and a decoder -------------------------------------------------------------------------------


def generator(tied_output: bool = True) -> TextGenerator:
    torch.manual_seed(0)
    shape = {"layers": 2, "decoder_layers": 1, "width": 32, "heads": 2}
    network = EncoderDecoder(20, 16, tied_output=tied_output, **shape)  # type: ignore[arg-type]
    return TextGenerator(network, {"pad": 0, "sep": 1}, "t5", 8)


def test_blocks_of_a_decoder_follow_those_of_its_encoder() -> None:
    one = generator(tied_output=False)
    depths = {name: depth_of(name, [2, 1]) for name, _ in one.named_parameters()}
    assert {depth for name, depth in depths.items() if ".blocks." not in name} == {0, 4}
    assert depths["network.encoder.blocks.1.up.weight"] == 2
    assert depths["network.decoder.blocks.0.cross_attention.kv.weight"] == 3
    assert depths["network.decoder.position_table.weight"] == 0 and depths["network.output.weight"] == 4
    Adaptation(layer_decay=0.5).prepare(one)
    assert one.lr_scales["network.encoder.token_table.weight"] == 0.0625


def test_what_is_frozen_and_reinitialized_of_both() -> None:
    one, before = generator(), dict(generator().named_parameters())
    Adaptation(freeze="encoder", reinit=0).prepare(one)
    trained = {name.split(".")[1] for name, weight in one.named_parameters() if weight.requires_grad}
    assert trained == {"decoder"}
    one = generator()
    Adaptation(reinit=1).prepare(one)
    changed = {name for name, weight in one.named_parameters() if not torch.equal(weight, before[name])}
    assert changed and all(name.startswith("network.decoder.blocks.0.") for name in changed)
    with pytest.raises(InputError, match="reinit=2: the decoder has 1 blocks"):
        Adaptation(reinit=2).prepare(generator())
    with pytest.raises(InputError, match="freeze=3 leaves no weight to train"):
        Adaptation(freeze=3).prepare(generator())


def test_adapters_of_both() -> None:
    one = generator()
    adaptation = Adaptation(lora=2)
    adaptation.prepare(one)
    trained = {name.split(".")[1] for name, weight in one.named_parameters() if weight.requires_grad}
    assert trained == {"encoder", "decoder"} and n_trained(one)[0] < n_trained(one)[1] / 3
    adaptation.finish(one)
    assert {name for name, _ in one.named_parameters()} == {name for name, _ in generator().named_parameters()}
