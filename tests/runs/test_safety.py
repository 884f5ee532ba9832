"""An untrusted run folder can't run code, reach outside itself or exhaust the machine: it is rejected with a message.

Each attack is made on a copy of a real run, and tried through every way that a run folder is opened.
"""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from omegaconf import OmegaConf

import ssl_cli
from ssl_cli.config.choices import built_in_conf
from ssl_cli.errors import InputError
from ssl_cli.runs.digests import write_digests
from ssl_cli.runs.safety import check_targets
from tests.conftest import Cli
from tests.helpers.untrusted_runs import SYSTEM, Attack, configured


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


def test_a_target_that_runs_a_command(refused: Callable[..., None]) -> None:
    refused(configured(model=SYSTEM), "names os.system, which isn't one of ssl's own classes")


@pytest.mark.parametrize(
    "where", ["model__neighbors__k", "data__drop", "trainer", "optim__optimizer", "facts", "extra"]
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
        "ssl_cli.methods.detectors.sklearn.rbf_kernel",
        "ssl_cli.methods.protocols.Detector",
    ],
)
def test_a_target_that_calls_another(refused: Callable[..., None], target: str) -> None:
    refused(
        configured(model={"_target_": target, "path": "os.system"}),
        f"names {target}, which isn't one of ssl's own classes",
    )


@pytest.mark.parametrize("package", ["os", "builtins", "torch", "numpy", "ssl_cli", "hydra"])
def test_advice_to_trust_is_never_given_for_others_packages(package: str) -> None:
    cfg = OmegaConf.create({"model": {"_target_": f"{package}.nothing"}})
    with pytest.raises(InputError, match=r"would run its code. It is not built.$"):
        check_targets(cfg, Path("run"))


def test_the_advice_to_trust_works_where_the_package_is(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = OmegaConf.create({"model": {"_target_": "ours_alone.Mine"}})
    with pytest.raises(InputError, match=r"`trust=ours_alone`.* Run that in the folder that has ours_alone"):
        check_targets(cfg, Path("run"))
    (workdir / "ours_alone.py").touch()
    monkeypatch.syspath_prepend(workdir)
    with pytest.raises(InputError, match=r"trust=\('ours_alone',\)\) in Python.$"):
        check_targets(cfg, Path("run"))
    check_targets(cfg, Path("run"), ("ours_alone",))


@pytest.mark.parametrize("package", ["os", "ssl_cli"])
def test_a_package_that_can_not_be_trusted(package: str) -> None:
    with pytest.raises(InputError, match=f"trust={package}: name your own package"):
        check_targets(OmegaConf.create({"model": {"_target_": f"{package}.system"}}), Path("run"), (package,))


@pytest.mark.parametrize("section", ["model", "data", "tokenizer", "task", "optim", "logger"])
def test_the_classes_of_every_choice_are_allowed_in_a_run(section: str) -> None:
    """A run that is made by a choice of ours can be opened and resumed."""
    files = list((built_in_conf() / section).rglob("*.yaml"))
    for path in files:
        for target in re.findall(r"^ *_target_: (\S+)", path.read_text(), re.MULTILINE):
            check_targets(OmegaConf.create({section: {"_target_": target}}), Path("run"))
    assert files


OLD_CLASSES = ["ssl_cli.objectives.reconstruction.Reconstruction", "ssl_cli.detection.gaussian.Gaussian"]
OLD_CLASSES += ["ssl_cli.data.tables.Table", "ssl_cli.methods.autoencoders.denoising.Denoising"]


@pytest.mark.parametrize("target", OLD_CLASSES)
def test_a_run_of_an_earlier_version(target: str) -> None:
    cfg = OmegaConf.create(
        {"model": {"_target_": "ssl_cli.methods.autoencoders.pca.PCA"}, "data": {"_target_": target}}
    )
    sentence = f"old was made by an earlier version of ssl: its config names {target}, which this version doesn't have."
    with pytest.raises(InputError, match=f"^{re.escape(sentence)} Train it again.$"):
        check_targets(cfg, Path("old"))


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
    refused(configured(data=encoder), "ssl detect can't use data._target_=", ("resume",))


def test_a_detector_of_pyods_that_loads_a_pickle(refused: Callable[..., None]) -> None:
    pytest.importorskip("pyod", reason="needs the extra pyod")
    options = {"base_estimators": [], "cost_forecast_loc_fit": "evil.joblib"}
    node = {"_target_": "ssl_cli.methods.detectors.pyod.PyOD", "detector": "SUOD", "options": options}
    refused(configured(model=node), "SUOD is no detector of PyOD for tables")


# --- a path that leaves the folder -------------------------------------------------------------------------


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
    write_digests(workdir / "theirs")
    code, out, err = cli("detect", "resume=theirs")
    assert code == 0, err
    assert out.strip().endswith("theirs")
    assert [path.name for path in workdir.iterdir()] == ["theirs"]


# --- YAML --------------------------------------------------------------------------------------------------


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
        ("verb: " + "[" * 5000 + "]" * 5000, "more than 20 levels"),
        ("verb: " + "{a: " * 5000, "more than 20 levels"),
        ("a: " + "x" * (2 << 20), "is damaged: it has 2,097,155 bytes"),
        ("seed: " + "9" * 5000, "is not a run's config: it has a number of 5,000 characters."),
        ("seed: -0x" + "f" * 5000, "has a number of 5,003 characters."),
        ('verb: detect\npaths: {outputs: "caf\\udce9"}', "it has text that is no Unicode, 'caf\\udce9'."),
        ("seed: 1" + ":59" * 300_000, "has a number of 900,001 characters."),
        ("optim: {lr: +1" + ":59" * 300_000 + ".5}", "has a number of 900,004 characters."),
        ("verb: ${oc.env:HOME}", "${oc.env:HOME} is unresolved"),
        ("model: ${oc.decode:'[1]'}", "is unresolved"),
        ("${hydra:x}: 1", "is unresolved"),
        ("verb: ???", "??? is unresolved"),
        ("verb: \x1b]0;x\x07", "is not valid YAML: its character 7 is U+001B, which YAML forbids"),
        ("verb: detect\nmodel: [a", "is not valid YAML: line 2, column 10 can't be read; write one `name: value`"),
        ("verb: detect\nverb: detect", "is not valid YAML: line 2, column 1 can't be read; write one `name: value`"),
        ("- " * 5000, "more than 20 levels"),
        ("? " * 5000, "more than 20 levels"),
        ("- a\n- b", "is not a mapping"),
        ("verb: detect\nmodel: 5", "model must be a group of options"),
        ("verb: detect\noptim: {optimizer: 5}", "optim.optimizer must be a group of options"),
        ("verb: detect\nsummary_metrics: [[a]]", "summary_metrics must be a list of names"),
    ],
    ids=range(25),
)
def test_a_yaml_that_is_more_than_a_config(refused: Callable[..., None], text: str, sentence: str) -> None:
    refused(yaml(text), sentence, listed=True)


def test_nesting_is_rejected_by_either_parser(refused: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """libyaml gives up on deep nesting by itself, and is not installed everywhere."""
    monkeypatch.delattr("yaml.CSafeLoader")
    refused(yaml("verb: " + "[" * 5000), "more than 20 levels")
