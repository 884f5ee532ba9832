"""Each verb, stopped or killed at many moments: nothing half-written, one line, and the same result afterwards."""

import re
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ssl_cli.config.choices import verbs
from tests.commands.conftest import SHORT, SMALL
from tests.commands.speech import conftest as speech
from tests.conftest import FOUR_STEPS, QUICK, run_here
from tests.helpers import finetune_runs, pretrain_runs
from tests.helpers.articles import write_pairs
from tests.helpers.moments import Stop, digests, stop_everywhere
from tests.helpers.recordings import write_recordings
from tests.helpers.sentences import write_sentences

SIGNALS = {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130, "SIGHUP": 129}
TABLE = "a,b\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(90))
SENTIMENT = "text,label\n" + "".join(f"{word} film,{k % 2}\n" for k, word in enumerate(["bad", "good"] * 12))
NETWORK = ["model.size=tiny", "model.context=32", "tokenizer.vocab_size=60", "trainer.batch_size=8"]
RUNS = {name: f"run=outputs/{name}" for name in ("detect/knn/1", "reconstruct/vqvae/1", "pretrain/gpt/1")}
DETECT, RECONSTRUCT, PRETRAIN = RUNS.values()
VOICES, UNITS = (f"run=outputs/reconstruct/{model}/1" for model in ("voice_ae", "speech_vqvae"))
HEADLINES = "run=outputs/reconstruct/extractive_search/1"
ARTICLES = ["data=text_pairs", "data.files=a.jsonl", "data.article=body", "data.title=headline", "data.min_words=5"]
SENTENCES = ["data=sentences", "data.files=s.jsonl", "data.text=sentence", "tokenizer=word", "model.network.layers=1"]
VIEWS = ["model.network.widths=[4,8]", "model.network.depths=[1,1]", "model.network.stem=3x3", "baselines=false"]
SPEECH = [*speech.SHORT, "data.dir=recordings"]
COMMANDS = {  # by verb; "-NAME": the same verb used in another way
    "detect": ["model=dae", "data=table", "data.file=t.csv", *QUICK, "trainer.checkpoint_every_n_steps=2"],
    "detect-cross": ["model=knn", "data=table", "data.file=t.csv", *QUICK, "calibrate=cross"],
    "reconstruct": ["model=vqvae", *SHORT, *SMALL["vqvae"], "trainer.checkpoint_every_n_steps=2"],
    "reconstruct-run": [RECONSTRUCT, "input=images", "output=new"],
    "reconstruct-speech": ["model=voice_ae", *SPEECH, *speech.SMALL["voice_ae"], "clips=1"],
    "convert": [VOICES, "source=recordings", "target=bob", "output=new"],
    "convert-file": [VOICES, "source=recordings/ai_ann_0.wav", "target=bob", "output=new.wav"],
    "units": [UNITS, "input=recordings", "output=new"],
    "pretrain": ["data=text", "data.files=t.txt", "data.cache=tokens", "model=gpt", *FOUR_STEPS],
    "pretrain-images": ["model=byol", "data=digits", *VIEWS, *FOUR_STEPS, "trainer.checkpoint_every_n_steps=2"],
    "finetune": ["task=classify", "data.files.train=c.csv", "data.files.dev=c.csv", *NETWORK, *FOUR_STEPS],
    "score": [DETECT, "input=t.csv", "output=new.csv"],
    "score-parquet": [DETECT, "input=t.csv", "output=new.parquet"],
    "score-fdr": ["run=outputs/detect/knn/2", "input=t.csv", "output=new.csv"],
    "score-explain": [DETECT, "input=t.csv", "output=new.csv", "explain=true"],
    "predict": ["run=outputs/finetune/bert/1", "input=c.csv", "output=new.csv"],
    "fill": ["run=outputs/pretrain/bert/1", "text=Birds can [MASK]."],
    "generate": [RECONSTRUCT, "n=2"],
    "generate-output": [RECONSTRUCT, "n=2", "output=new"],
    "generate-text": [PRETRAIN, "prompt=Birds", "max_tokens=3", "output=new"],
    "embed": [RECONSTRUCT, "input=images", "output=new"],
    "reconstruct-articles": ARTICLES,
    "reconstruct-sentences": ["model=sentence_vae", *SENTENCES, *FOUR_STEPS, "trainer.checkpoint_every_n_steps=2"],
    "summarize": [HEADLINES, "text=The oslo market for zinc falls, it was said", "output=new.jsonl"],
    "compress": [RECONSTRUCT, "input=images", "output=new.sslz"],
    "decompress": [RECONSTRUCT, "input=images.sslz", "output=new"],
    "export": [PRETRAIN, "output=new"],
    "list": ["runs"],
}
LONG = pytest.mark.long
TRAINING = ("detect", "reconstruct", "pretrain", "finetune")


def test_every_verb_has_a_command() -> None:
    assert {name.partition("-")[0] for name in COMMANDS} | {"completion"} == set(verbs())  # which touches no file


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with inputs for every command."""
    home = tmp_path_factory.mktemp("verbs") / "home"
    (home / "images").mkdir(parents=True)
    for k in range(3):
        pixels = np.random.default_rng(k).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(home / "images" / f"{k}.png")
    write_recordings(home / "recordings", takes=2)
    write_pairs(home / "a.jsonl", 100)
    write_sentences(home / "s.jsonl", 100)
    (home / "t.csv").write_text(TABLE)
    (home / "c.csv").write_text(SENTIMENT)
    (home / "t.txt").write_text("\n\n".join(pretrain_runs.TEXT * 20))
    return home


def add_runs(home: Path, words: list[str]) -> None:
    """Make the finished runs that a command uses, and the file that it decompresses."""
    for number, threshold in (("1", "auto"), ("2", "fdr")):
        if f"run=outputs/detect/knn/{number}" in words:
            options = ["model=knn", "data=table", "data.file=t.csv", f"threshold={threshold}", *QUICK]
            add_run(home / "outputs/detect/knn" / number, "detect", *options)
    if RECONSTRUCT in words:
        add_run(home / "outputs/reconstruct/vqvae/1", "reconstruct", "model=vqvae", *SHORT, *SMALL["vqvae"])
    if HEADLINES in words:
        add_run(home / "outputs/reconstruct/extractive_search/1", "reconstruct", *ARTICLES)
    for run, model in ((VOICES, "voice_ae"), (UNITS, "speech_vqvae")):
        if run in words:
            options = [f"model={model}", *SPEECH, *speech.SMALL[model]]
            add_run(home / f"outputs/reconstruct/{model}/1", "reconstruct", *options)
    if "input=images.sslz" in words and not (home / "images.sslz").exists():
        assert run_here("compress", RECONSTRUCT, "input=images", "output=images.sslz", cwd=home).returncode == 0
    for model, tokenizer in (("gpt", "bpe"), ("bert", "wordpiece")):
        folder = home / "outputs/pretrain" / model / "1"
        if {f"run=outputs/pretrain/{model}/1", "runs"} & set(words) and not folder.exists():
            pretrain_runs.make_run(folder, model, tokenizer)
    if "run=outputs/finetune/bert/1" in words:
        finetune_runs.make_run(home / "outputs/finetune/bert/1", labels=["0", "1"])


def add_run(folder: Path, *words: str) -> None:
    """Make a run, if there is none, in a folder whose name does not change."""
    if not folder.exists():
        home = folder.parents[3]
        folder.parent.mkdir(parents=True, exist_ok=True)
        done = run_here(*words, "paths.outputs=made", cwd=home)
        assert done.returncode == 0, done.stderr
        (home / done.stdout.strip().splitlines()[-1]).rename(folder)


def is_run(name: str) -> bool:
    """Return whether the command makes a run folder, which keeps what was reached."""
    return name.partition("-")[0] in TRAINING and name != "reconstruct-run"


@pytest.mark.parametrize("name", [name if name == "score" else pytest.param(name, marks=LONG) for name in COMMANDS])
def test_whatever_stops_it_nothing_is_half_written_and_once_more_it_gives_the_same(name: str, home: Path) -> None:
    verb, words = name.partition("-")[0], COMMANDS[name]
    add_runs(home, words)
    before = digests(home)
    again = [] if verb == "list" else ["sweep.skip_done=true" if is_run(name) else "overwrite=true"]
    place = home.with_name(name)
    shutil.copytree(home, place)
    n_stops = dict.fromkeys(map(signal.Signals.__getitem__, SIGNALS), 2) | {signal.SIGKILL: 12}
    if name == "score":  # the short selection
        n_stops = {signal.SIGKILL: 2, signal.SIGHUP: 1}
    stops = stop_everywhere(place, [verb, *words], [verb, *words, *again], n_stops)
    assert len(stops.stops) >= len(n_stops)
    whole = new_files(stops.files, before, is_run(name))
    for each in stops.stops:
        assert_stopped_in_order(each, signal.Signals(each.signum).name)
        if not is_run(name):  # whether the files of a run are whole shows when it is resumed
            left = new_files(each.files, before)
            assert all(UNFINISHED.search(path) or whole[path] == digest for path, digest in left.items()), each
        assert each.code_afterwards == 0, each
        assert new_files(each.files_afterwards, before, is_run(name)) == whole, each


def assert_stopped_in_order(stop: Stop, name: str) -> None:
    """Assert the exit code, and for a signal that can be handled one line and no litter."""
    assert stop.code == SIGNALS[name], stop
    if name != "SIGKILL":
        said = f"stopped by {'Ctrl-C' if name == 'SIGINT' else name}"
        assert sum(said in line for line in stop.err.splitlines()) == 1 and "Traceback" not in stop.err, stop
        assert not [path for path in stop.files if ".part" in path or ".ssl-" in path], stop


TIME = re.compile(r"\d{4}-\d\d-\d\d_\d\d-\d\d-\d\d(_\d+)?")
UNFINISHED = re.compile(r"\.ssl-unfinished-[0-9a-f]{32}")
# Of a run: they differ each time.
TIMED = ("config.yaml", "digests.json", "environment.json", "log.txt", "history.csv", "report.html", ".ckpt")


def new_files(files: dict[str, str], before: dict[str, str], of_run: bool = False) -> dict[str, str]:
    """Return the files that there were not before, without empty folders; of a run those that hold no times.

    A folder without a config is no run: it was left by a kill within the first moments.
    """
    configs = [name for name in files if name.endswith("config.yaml") and name not in before]
    runs = tuple(name.removesuffix("config.yaml") for name in configs)
    return {
        TIME.sub("TIME", name): digest
        for name, digest in files.items()
        if before.get(name) != digest and digest != "folder"
        if not of_run or (name.startswith(runs) and not name.endswith(TIMED))
    }
