"""A stranger's run folder can't run code, reach outside itself or exhaust the machine: it is refused in words.

Each attack is made on a copy of a real run, and tried through every way that a run folder is opened.
"""

import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
import torch
from omegaconf import OmegaConf
from safetensors.numpy import load_file, save_file
from sklearn.svm import OneClassSVM

import ssl_cli
from ssl_cli.cli.main import main
from ssl_cli.console import harmless
from ssl_cli.errors import InputError
from ssl_cli.training import checkpoints
from tests.conftest import QUICK, Cli

Attack = Callable[[Path], None]
WAYS = ("load", "score", "resume")
CANARY = "hacked"  # what each attack's code would make


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, by network and by scikit-learn, and the rows that they learned from."""
    home, before = tmp_path_factory.mktemp("honest"), Path.cwd()
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(120, 3)), columns=["a", "b", "c"])
    frame["kind"] = np.where(rng.random(120) < 0.5, "x", "y")
    frame.to_csv(home / "rows.csv", index=False)
    os.chdir(home)
    try:
        for model in ("best", "ocsvm"):
            assert main(["detect", *QUICK, f"model={model}", "data=table", f"data.file={home / 'rows.csv'}"]) == 0
    finally:
        os.chdir(before)
    return home


@pytest.fixture
def refused(honest: Path, cli: Cli, workdir: Path) -> Callable[..., None]:
    """Makes an attack on a copy of a run, and holds what each of the ways says of it against a sentence."""

    def attempt(
        attack: Attack, sentence: str, ways: tuple[str, ...] = WAYS, model: str = "best", listed: bool = False
    ) -> None:
        (original,) = honest.glob(f"outputs/detect/{model}-table/*")
        folder = Path("outputs/detect/theirs") / original.name
        shutil.copytree(original, folder)
        attack(folder)
        for way in ways:
            if way == "load":
                with pytest.raises(InputError) as raised:
                    ssl_cli.load(folder)
                said = str(raised.value)
            else:
                score = ["score", f"run={folder}", f"input={honest / 'rows.csv'}", "output=o.csv"]
                code, _, said = cli(*(score if way == "score" else ["detect", f"resume={folder}"]))
                assert code == 2, said
            assert sentence in said
            assert len(said) < 1500 and "Traceback" not in said
        code, out, err = cli("list", "runs")
        assert code == 0 and err == ""
        assert not listed or ("damaged" in out and sentence[:10].replace(" ", "") in "".join(out.split()))
        assert not list(workdir.rglob(CANARY))

    return attempt


def test_an_honest_run_passes_every_way(honest: Path, cli: Cli) -> None:
    for model in ("best", "ocsvm"):
        (original,) = honest.glob(f"outputs/detect/{model}-table/*")
        folder = Path("outputs/detect") / model / original.name
        shutil.copytree(original, folder)
        assert ssl_cli.load(folder).score(pd.read_csv(honest / "rows.csv")).shape == (120,)
        assert cli("score", f"run={folder}", f"input={honest / 'rows.csv'}", f"output={model}.csv")[0] == 0
        code, _, err = cli("detect", f"resume={folder}")
        assert code == 0, err
    assert "damaged" not in cli("list", "runs")[1]


# --- 1. a pickle in place of weights ------------------------------------------------------------------------


class Runs:
    """A pickle of this runs a command when it is read."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {CANARY}",)


def pickled(name: str) -> Attack:
    return lambda folder: (folder / name).write_bytes(pickle.dumps(Runs()))


def zipped(name: str) -> Attack:
    def attack(folder: Path) -> None:
        torch.save({"global_step": 4, "state_dict": Runs()}, folder / name)
        checkpoints.seal(folder / name)  # whoever can forge a file can sign it

    return attack


@pytest.mark.parametrize("name", ["model.safetensors", "neighbors/model.safetensors", "calibration.safetensors"])
def test_a_pickle_in_place_of_weights(refused: Callable[..., None], name: str) -> None:
    refused(pickled(name), "is a pickle: it holds more than numbers, and would run code", listed=True)


@pytest.mark.parametrize("name", ["model.safetensors", "calibration.safetensors"])
def test_a_torch_zip_in_place_of_weights(refused: Callable[..., None], name: str) -> None:
    refused(zipped(name), "is a zip, as torch.save makes it: it may hold more than numbers", listed=True)


def test_a_pickle_in_place_of_a_checkpoint(refused: Callable[..., None]) -> None:
    refused(pickled("last.ckpt"), "last.ckpt is a pickle: it holds more than numbers", listed=True)


def test_a_checkpoint_with_a_command_in_it(refused: Callable[..., None]) -> None:
    refused(zipped("last.ckpt"), "holds more than numbers (posix.system), and would run code", ("resume",))


def test_an_old_pickle_in_place_of_a_checkpoint(refused: Callable[..., None]) -> None:
    attack = lambda folder: (folder / "last.ckpt").write_bytes(pickle.dumps(Runs(), protocol=0))  # noqa: E731
    refused(attack, "last.ckpt", ("resume",))


def test_a_pickle_in_place_of_an_estimator(refused: Callable[..., None]) -> None:
    refused(pickled("model.skops"), "model.skops is a pickle", model="ocsvm")


def forged_estimator(folder: Path) -> None:
    machine = OneClassSVM().fit(np.zeros((4, 5)) + np.arange(4)[:, None])
    machine.decision_function = np.sum  # a method of the instance's own
    skops.io.dump(machine, folder / "model.skops")


def short_vectors(folder: Path) -> None:
    machine = OneClassSVM().fit(np.random.default_rng(0).normal(size=(20, 5)))
    machine._n_support = np.array([10**6, 10**6], np.int32)
    skops.io.dump(machine, folder / "model.skops")


def not_skops(folder: Path) -> None:
    (folder / "model.skops").write_bytes(b"none of it")


def other_schema(folder: Path) -> None:
    with zipfile.ZipFile(folder / "model.skops", "w") as file:
        file.writestr("../../hacked", "x")
        file.writestr("schema.json", json.dumps({"__loader__": "MethodNode", "file": "../../hacked"}))


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (forged_estimator, "model.skops"),
        (short_vectors, "support vectors whose shapes don't fit"),
        (not_skops, "model.skops is damaged"),
        (other_schema, "model.skops is damaged"),
    ],
)
def test_a_forged_estimator(refused: Callable[..., None], attack: Attack, sentence: str) -> None:
    refused(attack, sentence, ("load", "score"), "ocsvm")


# --- 2 to 4. a _target_ that isn't a model -------------------------------------------------------------------


def configured(**changes: Any) -> Attack:
    """An attack that changes entries of the config, by dotted name, each dot written __."""

    def attack(folder: Path) -> None:
        cfg = OmegaConf.load(folder / "config.yaml")
        for name, value in changes.items():
            OmegaConf.update(cfg, name.replace("__", "."), value, merge=False, force_add=True)
        OmegaConf.save(cfg, folder / "config.yaml")

    return attack


SYSTEM = {"_target_": "os.system", "command": f"touch {CANARY}"}


def test_a_target_that_runs_a_command(refused: Callable[..., None]) -> None:
    refused(configured(model=SYSTEM), "names os.system, which isn't one of ssl's own classes")


@pytest.mark.parametrize(
    "where", ["model__neighbors__k", "data__drop", "trainer", "optim__algorithm", "facts", "extra"]
)
def test_a_nested_target(refused: Callable[..., None], where: str) -> None:
    deep: Any = {"a": [1, [{"b": SYSTEM}]]}
    refused(configured(**{where: deep}), "names os.system, which isn't one of ssl's own classes")


@pytest.mark.parametrize(
    "target",
    [
        "functools.partial",
        "hydra.utils.instantiate",
        "hydra.utils.get_method",
        "hydra._internal.instantiate._instantiate2.instantiate",
        "builtins.eval",
        "torch.load",
        "torch.hub.load",
        "ssl_cli.methods.detectors.sklearn.skops.io.load",
        "ssl_cli.methods.protocols.Detector",
    ],
)
def test_a_target_that_calls_another(refused: Callable[..., None], target: str) -> None:
    refused(
        configured(model={"_target_": target, "path": "os.system"}),
        f"names {target}, which isn't one of ssl's own classes",
    )


@pytest.mark.parametrize("key", ["_args_", "_partial_", "_recursive_", "_convert_"])
def test_a_partial_and_hydras_other_words(refused: Callable[..., None], key: str) -> None:
    refused(configured(**{f"model__{key}": [1] if key == "_args_" else True}), f"its config has model.{key}")


@pytest.mark.parametrize("section", ["model", "trainer"])
def test_an_own_class_in_the_wrong_place(refused: Callable[..., None], section: str) -> None:
    target = "ssl_cli.data.tables.datasets.Table"
    attack = configured(**{section: {"_target_": target, "file": "/etc/passwd"}})
    refused(attack, f"{section} names {target}, which is no class for it")


@pytest.mark.parametrize(
    ("section", "node", "sentence"),
    [
        ("model", {"_target_": "torch.nn.modules.linear.Identity"}, "needs a model that can score"),
        ("model__neighbors", {"_target_": "torch.nn.modules.linear.Identity"}, "model.neighbors must be a Residual"),
        ("model__autoencoder__level", "high", "model.autoencoder.level must be a number above 0, not 'high'"),
        ("threshold", "os.system", "threshold must be a number or auto, fdr"),
    ],
)
def test_a_model_that_is_none(refused: Callable[..., None], section: str, node: Any, sentence: str) -> None:
    refused(configured(**{section: node}), sentence)


def test_data_that_is_no_table(refused: Callable[..., None]) -> None:
    encoder = {"_target_": "ssl_cli.data.one_class.OneClassSplit", "x": 1, "anomaly": 1, "row": 1, "index": 1}
    refused(configured(data=encoder), "ssl detect can't use data=", ("resume",))


def test_a_detector_of_pyods_that_loads_a_pickle(refused: Callable[..., None]) -> None:
    pytest.importorskip("pyod", reason="needs the extra pyod")
    options = {"base_estimators": [], "cost_forecast_loc_fit": "evil.joblib"}
    node = {"_target_": "ssl_cli.methods.detectors.pyod.PyOD", "detector": "SUOD", "options": options}
    refused(configured(model=node), "SUOD is no detector of PyOD for tables")


# --- 5. a path that leaves the folder -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["../../x", "/etc", "..", "a/../b", "a//b", "x\u001b[31m"])
def test_a_choice_that_leaves_the_folder(refused: Callable[..., None], name: str) -> None:
    refused(configured(choices__model=name), "choices.model must be a plain name", listed=True)


@pytest.mark.parametrize("verb", ["../x", "detect; touch hacked", ["detect"], None, 5])
def test_a_verb_that_is_none(refused: Callable[..., None], verb: Any) -> None:
    refused(configured(verb=verb), "verb must be detect or pretrain or finetune or reconstruct, not", listed=True)


def test_a_resumed_run_writes_into_its_own_folder_only(honest: Path, cli: Cli, workdir: Path) -> None:
    (original,) = honest.glob("outputs/detect/best-table/*")
    shutil.copytree(original, workdir / "theirs")
    configured(paths__outputs=str(workdir / "elsewhere"), resume="/elsewhere")(workdir / "theirs")
    code, out, err = cli("detect", "resume=theirs")
    assert code == 0, err
    assert out.strip().endswith("theirs")
    assert [path.name for path in workdir.iterdir()] == ["theirs"]


# --- 6. YAML --------------------------------------------------------------------------------------------------


def yaml(text: str) -> Attack:
    return lambda folder: (folder / "config.yaml").write_text(text)


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: !!python/object/apply:os.system ['touch hacked']", "has the tag tag:yaml.org,2002:python/object"),
        ("verb: !!python/name:os.system", "has the tag"),
        ("verb: !mine detect", "has the tag !mine, which may stand for code"),
        (LAUGHS, "has an anchor or an alias (&, *), a0"),
        ("verb: " + "[" * 5000 + "]" * 5000, "more than 20 levels deep"),
        ("verb: " + "{a: " * 5000, "more than 20 levels deep"),
        ("a: " + "x" * (2 << 20), "is damaged: it has 2,097,155 bytes"),
        ("seed: " + "9" * 5000, "is no sound YAML"),
        ("verb: ${oc.env:HOME}", "${oc.env:HOME} is unresolved"),
        ("model: ${oc.decode:'[1]'}", "is unresolved"),
        ("${hydra:x}: 1", "is unresolved"),
        ("verb: ???", "??? is unresolved"),
        ("verb: \x1b]0;x\x07", "is no sound YAML"),
        ("- a\n- b", "holds no mapping"),
        ("verb: detect\nmodel: 5", "model must be a group of options"),
        ("verb: detect\noptim: {algorithm: 5}", "optim.optimizer must be a group of options"),
        ("verb: detect\nheadline: [[a]]", "summary_metrics must be a list of names"),
    ],
    ids=range(17),
)
def test_a_yaml_that_is_more_than_a_config(refused: Callable[..., None], text: str, sentence: str) -> None:
    refused(yaml(text), sentence, listed=True)


# --- 7. a tokenizer or scaling file with surprises ------------------------------------------------------------


def encoder(change: Callable[[dict[str, Any]], Any]) -> Attack:
    def attack(folder: Path) -> None:
        state = json.loads((folder / "encoder.json").read_text())
        change(state)
        (folder / "encoder.json").write_text(json.dumps(state))

    return attack


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda s: s["columns"][0].update(mean="0"), "columns[0].mean must be a number, not '0'"),
        (lambda s: s["columns"][0].update(mean=float("nan")), "columns[0].mean must be a number, not nan"),
        (lambda s: s["columns"][0].update(mean=10**400), "columns[0].mean must be a number, not 1000"),
        (lambda s: s["columns"][0].update(std=float("inf")), "columns[0].std must be a number above 0, not inf"),
        (lambda s: s["columns"][0].update(std=0), "columns[0].std must be a number above 0, not 0"),
        (lambda s: s["columns"][0].update(kind="code"), "columns[0].kind must be number or symbol, not 'code'"),
        (lambda s: s["columns"][0].update(type="os.system"), "columns[0].type must be one of number, truth"),
        (lambda s: s["columns"][0].pop("std"), "columns[0] must have type, name, kind, mean, std, missing"),
        (lambda s: s["columns"][0].update(name="not there"), "its columns must be some of its names"),
        (lambda s: s["columns"][0].update(power={"lambda": 1e9}), "columns[0].power must have lambda, mean, std"),
        (lambda s: s["columns"][3].update(values=[["x"]]), "columns[3].values must be a list, each a text"),
        (
            lambda s: s["columns"][3].update(values=["x"] * 10**6),
            "encoder.json is damaged: what it makes has another shape",
        ),
        (lambda s: s.update(columns={}), "it.columns must be a list"),
        (lambda s: s.update(columns=[]), "its columns must be some of its names"),
        (lambda s: s.update(columns=[5]), "it.columns must be a list"),
        (lambda s: s.update(extra=1), "it must have columns, dropped, names, layout"),
        (lambda s: s["layout"].update(delimiter=",,"), "layout.delimiter must be one character"),
        (lambda s: s["layout"].update(header="no"), "layout.header must be true or false"),
        (lambda s: s["layout"].update(columns="abc"), "layout.columns must be a list"),
        (lambda s: (s["columns"].pop(), s["names"].append("z")), "damaged"),
    ],
    ids=range(20),
)
def test_a_scaling_file_with_surprises(refused: Callable[..., None], change: Any, sentence: str) -> None:
    refused(encoder(change), sentence, ("load", "score"))


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[1]", "{", "\x00", "9" * 5000])
def test_a_scaling_file_that_is_no_object(refused: Callable[..., None], text: str) -> None:
    refused(lambda folder: (folder / "encoder.json").write_text(text), "encoder.json is damaged", ("load", "score"))


@pytest.mark.parametrize("scores", [[np.nan], [[1.0]], [], [1]])
def test_calibration_scores_that_are_none(refused: Callable[..., None], scores: list) -> None:
    def attack(folder: Path) -> None:
        save_file({"scores": np.array(scores)}, folder / "calibration.safetensors")

    refused(attack, "its scores must be finite numbers in a row, one at least", ("load", "score"))


# --- 8. links, and what is no file ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["log.txt", "model.safetensors", "config.yaml", "figures", "folds", "figures/roc.png"])
@pytest.mark.parametrize("there", [True, False])
def test_a_link(refused: Callable[..., None], workdir: Path, name: str, there: bool) -> None:
    mine = workdir / "mine"
    mine.mkdir()

    def attack(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        target = mine if name in ("figures", "folds") else mine / "secret"
        if there and not target.is_dir():
            shutil.copy(folder / "environment.json", target)
        path.symlink_to(target if there else workdir / "nowhere")

    ways = WAYS if there or name != "config.yaml" else ()
    refused(attack, "is a link: a run folder holds its own files only", ways, listed=ways == WAYS)
    assert {path.name for path in mine.iterdir()} <= {"secret"}


@pytest.mark.parametrize("name", ["log.txt", "last.ckpt", "environment.json", "encoder.json", "folds"])
def test_a_pipe(refused: Callable[..., None], name: str) -> None:
    def attack(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    refused(attack, f"{name} is neither a file nor a folder", listed=True)


def test_the_folder_itself_may_be_reached_through_a_link(honest: Path, workdir: Path) -> None:
    (workdir / "outputs").symlink_to(honest / "outputs")
    assert ssl_cli.load().config.verb == "detect"


# --- 9. enormous tensors --------------------------------------------------------------------------------------


def header(length: int, **tensors: Any) -> Attack:
    text = json.dumps(tensors).encode()
    content = struct.pack("<Q", length or len(text)) + text + b"1234"
    return lambda folder: (folder / "model.safetensors").write_bytes(content)


@pytest.mark.parametrize(
    "attack",
    [
        header(2**40),
        header(2**63),
        header(0, x={"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}),
        header(0, x={"dtype": "F32", "shape": [1], "data_offsets": [0, 2**60]}),
    ],
    ids=range(4),
)
def test_an_enormous_tensor_header(refused: Callable[..., None], attack: Attack) -> None:
    refused(attack, "is damaged: SafetensorError", ("load", "score"))


@pytest.mark.parametrize(("name", "size"), [("shape", [10**9]), ("latent", 10**8), ("hidden", [10**9])])
def test_an_enormous_model(refused: Callable[..., None], name: str, size: Any) -> None:
    attack = configured(**{f"model__autoencoder__network__{name}": size})
    refused(attack, "; the config's model has it as ", ("load", "score"))
    shutil.rmtree("outputs")
    refused(attack, "of weights, and this machine", ("resume",))


def test_a_model_beyond_all_numbers(refused: Callable[..., None]) -> None:
    refused(configured(model__autoencoder__network__latent=10**30), "The model can't be built: ")


def test_weights_of_another_model(refused: Callable[..., None]) -> None:
    def attack(folder: Path) -> None:
        weights = load_file(folder / "model.safetensors")
        weights.pop("spread")
        save_file(weights, folder / "model.safetensors")

    refused(attack, "numbers; the config's model has", ("load", "score"))


def test_a_checkpoint_of_something_else(refused: Callable[..., None]) -> None:
    def attack(folder: Path) -> None:
        torch.save({"global_step": 1, "state_dict": {}}, folder / "last.ckpt")
        checkpoints.seal(folder / "last.ckpt")

    refused(attack, "last.ckpt is damaged: it is of another model than this run's", ("resume",))


def bomb(name: str) -> Attack:
    def attack(folder: Path) -> None:
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("archive/data.pkl", b"\0" * 10**7)

    return attack


@pytest.mark.parametrize(("name", "model"), [("last.ckpt", "best"), ("model.skops", "ocsvm")])
def test_a_zip_bomb(refused: Callable[..., None], name: str, model: str) -> None:
    refused(bomb(name), f"{name} would unpack to more than its size", model=model)


# --- 10. a poisoned environment.json --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "ways"),
    [
        ("environment.json", '{"wall_time_s": "x"}', ("resume",)),
        ("environment.json", "[" * 100_000, ("resume",)),
        ("environment.json", '{"wall_time_s": 1' + "0" * 400 + "}", ("resume",)),
        ("environment.json", '{"a": "' + "x" * (2 << 20) + '"}', ("resume",)),
        ("metrics.json", '{"test/flagged": "x"}', ("load", "score")),
        ("metrics.json", '{"threshold/value": [[1]]}', ("load", "score")),
        ("metrics.json", '{"threshold/value": true}', ("load", "score")),
        ("metrics.json", '{"\x1b]0;x\x07": 1}', ("load", "score")),
        ("metrics.json", '{"test/flagged": 1}', ("load", "score")),
        ("history.csv", "step,val/loss\n1,os.system\n", ("resume",)),
        ("history.csv", "val/loss\n1\n", ("resume",)),
        ("history.csv", "step\n1,2,3\n", ("resume",)),
    ],
    ids=range(12),
)
def test_poisoned_facts(refused: Callable[..., None], name: str, text: str, ways: tuple[str, ...]) -> None:
    def attack(folder: Path) -> None:
        (folder / name).write_text(text)
        if name == "history.csv":
            (folder / "last.ckpt").unlink()

    refused(attack, f"{name} is damaged", ways)


def test_other_data_is_not_taken_for_the_runs_own(refused: Callable[..., None]) -> None:
    attack = lambda folder: (folder / "environment.json").write_text('{"data_fingerprint": [1]}')  # noqa: E731
    refused(attack, "The data has changed since", ("resume",))


def unsaid(folder: Path) -> None:
    path = folder / "environment.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "data_fingerprint": None}))


@pytest.mark.parametrize("attack", [unsaid, lambda folder: (folder / "environment.json").unlink()])
def test_data_of_which_nothing_is_known(refused: Callable[..., None], attack: Attack) -> None:
    refused(attack, "doesn't say what data the run learned from (data_fingerprint)", ("resume",))


# --- 11. a model of text --------------------------------------------------------------------------------------

SECRET = "the password of the safe is swordfish and nobody may know it"


@pytest.fixture(scope="module")
def honest_text(tmp_path_factory: pytest.TempPathFactory, published: Path) -> Path:
    """A finished run of ssl pretrain."""
    home, before = tmp_path_factory.mktemp("text"), Path.cwd()
    words = ["trainer=cpu", "trainer.max_steps=2", "trainer.batch_size=8", "model.size=tiny", "model.context=24"]
    words += ["data=text", f"data.files={published}/text/stories.txt", "data.document=block", "data.cache=tokens"]
    os.chdir(home)
    try:
        assert main(["pretrain", *words]) == 0
    finally:
        os.chdir(before)
    (folder,) = home.glob("outputs/pretrain/*/*")
    return folder


def secret(folder: Path) -> None:
    configured(data__files=str(Path("secret.txt").resolve()))(folder)


def secret_unsaid(folder: Path) -> None:
    secret(folder)
    unsaid(folder)


def secret_units(folder: Path) -> None:
    configured(data__units=str(Path("secret.txt").resolve()), model__mask="whole_word")(folder)


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (secret, "The data has changed since"),
        (secret_units, "The data has changed since"),
        (secret_unsaid, "doesn't say what data the run learned from"),
    ],
)
def test_a_text_of_mine_goes_into_no_run_of_theirs(
    honest_text: Path, cli: Cli, workdir: Path, attack: Attack, sentence: str
) -> None:
    """Whoever resumes a run gives it no file that its maker didn't have himself."""
    (workdir / "secret.txt").write_text(f"{SECRET}\n\n" * 100)
    folder = shutil.copytree(honest_text, workdir / "theirs")
    attack(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    code, _, err = cli("pretrain", "resume=theirs", "trainer.max_steps=4", "data.cache=tokens")
    assert code == 2
    assert sentence in err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("section", ["init", "tokenizer"])
def test_what_a_run_began_with_is_not_looked_for(honest_text: Path, cli: Cli, workdir: Path, section: str) -> None:
    """A pipe there would never end; the run has its tokenizer and its weights."""
    os.mkfifo(workdir / "tokenizer.json")
    os.mkfifo(workdir / "config.json")
    folder = shutil.copytree(honest_text, workdir / "theirs")
    taken = {"_target_": "ssl_cli.data.tokenizers.pretrained.PretrainedTokenizer", "folder": str(workdir)}
    configured(**{section: str(workdir) if section == "init" else taken})(folder)
    code, _, err = cli("pretrain", "resume=theirs", "trainer.max_steps=4", "data.cache=tokens")
    assert code == 0, err


@pytest.mark.parametrize(
    ("attack", "sentence"),
    [
        (
            configured(model__vocab_size=2 * 10**7),
            "model.vocab_size must be a whole number of at least 1 and of at most",
        ),
        (configured(model__layers=3000), "model.layers must be a whole number of at least 1 and of at most 1000"),
        (configured(model__context=10**7), "model.context must be a whole number of at least 8 and of at most 131072"),
        (configured(model__width=512, model__layers=1), "the config's model has it as"),
        (configured(model__specials={"mask": 4, "cls": 10**6, "sep": 3}), "is damaged: IndexError"),
        (pickled("model.safetensors"), "is a pickle: it holds more than numbers, and would run code"),
        (bomb("last.ckpt"), "last.ckpt would unpack to more than its size"),
        (lambda folder: (folder / "tokenizer.json").write_text("[" * 10**5), "is no tokenizer that can be read"),
    ],
    ids=range(8),
)
def test_a_model_of_text_with_surprises(
    honest_text: Path, cli: Cli, workdir: Path, attack: Attack, sentence: str
) -> None:
    folder = shutil.copytree(honest_text, workdir / "theirs")
    attack(folder)
    with pytest.raises(InputError) as raised:
        ssl_cli.load(folder)
    code, _, err = cli("fill", "run=theirs", "text=the [MASK]")
    assert code == 2
    for said in (str(raised.value), err):
        assert sentence in said
        assert len(said) < 1500 and "Traceback" not in said
    assert not list(workdir.rglob(CANARY))


def test_tables_that_dwarf_the_weights(honest_text: Path, workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotary positions are computed, not read: their size is the config's to say."""
    monkeypatch.setattr("ssl_cli.methods.build.SMALL", 1 << 20)
    folder = shutil.copytree(honest_text, workdir / "theirs")
    assert ssl_cli.load(folder)
    configured(model__context=131_072)(folder)
    with pytest.raises(InputError, match="is far smaller than the tables of the config's model: 34 MB"):
        ssl_cli.load(folder)


def test_a_terminal_obeys_nothing_that_a_run_says(honest: Path, cli: Cli, workdir: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202e"
    (original,) = honest.glob("outputs/detect/ocsvm-table/*")
    shutil.copytree(original, workdir / "outputs" / "detect" / "x" / evil)
    cfg = f"verb: detect\nheadline: [{json.dumps(evil)}]\n"
    (workdir / "outputs" / "detect" / "x" / evil / "config.yaml").write_text(cfg)
    (workdir / "outputs" / "detect" / "x" / evil / "metrics.json").write_text(json.dumps({evil: 1.0}))
    for words in (["list", "runs"], ["detect", f"resume={workdir / 'outputs' / 'detect' / 'x' / evil}"]):
        _, out, err = cli(*words)
        assert words[0] == "detect" or "owned" in out.replace("\n", "")
        assert not set(out + err) & set(evil[:1] + "\x07\x9b\u202e")
    assert harmless(evil + "\n\t é") == "\\x1b]0;owned\\x07\\x1b[2J\\x9b31m\\u202e\n\t é"


def test_a_date_that_no_calendar_has_is_listed(honest: Path, cli: Cli, workdir: Path) -> None:
    shutil.copytree(honest / "outputs", workdir / "outputs")
    path = next(workdir.glob("outputs/*/*/*/environment.json"))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"started": "99999-13-45T00:00:00"}))
    code, out, _ = cli("list", "runs")
    assert code == 0 and "damaged" in out


def test_a_number_that_is_none_stops_no_other_run(honest: Path, cli: Cli, workdir: Path) -> None:
    shutil.copytree(honest / "outputs", workdir / "outputs")
    path = next(workdir.glob("outputs/*/*/*/environment.json"))
    for text in ('{"number": "x"}', "{", '{"number": [1]}'):
        path.write_text(text)
        assert cli("detect", "model=gaussian", *QUICK)[0] == 0
