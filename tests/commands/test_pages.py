"""Report pages in a real browser: nothing breaks, every text is shown as it is, figures enlarge, a phone has room."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ssl_cli.commands.detect import page as detect_page
from ssl_cli.commands.detect import report as detect_report
from ssl_cli.commands.detect.contributions import FeatureContribution
from ssl_cli.commands.detect.explanations import Anomaly
from ssl_cli.commands.pretrain import curves as pretrain_curves
from ssl_cli.commands.pretrain import report as pretrain_report
from ssl_cli.commands.pretrain.predicted_text import PredictedText, TextPiece
from ssl_cli.commands.reconstruct import report as reconstruct_report
from ssl_cli.commands.reconstruct.collapse import CollapseWarning
from ssl_cli.data.one_class import OneClassSplit
from ssl_cli.data.tables.one_class import TableData
from ssl_cli.data.tables.preprocessing import TablePreprocessor
from ssl_cli.evaluation import html
from ssl_cli.evaluation.html import Figure, Section
from ssl_cli.evaluation.metrics.classification import ClassScores
from ssl_cli.evaluation.metrics.token_classification import TagScores
from ssl_cli.evaluation.plots import images
from ssl_cli.evaluation.sounds import write_players
from ssl_cli.evaluation.thresholds import Calibration, Threshold
from ssl_cli.tasks.question_answering import AnswerScores
from tests.conftest import QUICK, Cli
from tests.helpers.browser import OpenedPage, started_browser
from tests.helpers.finetune_outputs import Predictions, Toy, written

LABELS = ["<script>alert(1)</script>", "[red]", "中文"]
TEXT = " ".join([*LABELS, "{{ 7 * 7 }} &amp; <b>bold</b> مرحبا 한국어"])
CONFIG = f"verb: any\nnote: </pre>{TEXT}\n"
HISTORY = "step,train/loss,val/loss,dev/loss,dev/accuracy,lr\n1,0.7,0.6,0.6,0.7,0.01\n2,0.5,0.5,0.5,0.9,0.01\n"
PAGES = ["reconstruct", "classes", "tags", "spans", "pretrain", "detect"]
PHONE_PX = 360


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with started_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def folders(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a page of each kind, with texts that look like markup in every place that a text can have."""
    folders = {name: tmp_path_factory.mktemp(name) for name in PAGES}
    for folder in folders.values():
        (folder / "figures").mkdir()
        (folder / "config.yaml").write_text(CONFIG)
        (folder / "history.csv").write_text(HISTORY)
    write_reconstruct(folders["reconstruct"])
    write_classes(folders["classes"])
    write_tags(folders["tags"])
    write_spans(folders["spans"])
    write_pretrain(folders["pretrain"])
    write_detect(folders["detect"])
    return folders


def write_reconstruct(folder: Path) -> None:
    figures = [Figure("a #1.png", TEXT), Figure("b.png", "A wide one.")]
    tile = np.zeros((1, 1, 8, 8), np.uint8)
    images.image_rows(folder / "figures" / figures[0].name, TEXT, [(label, tile) for label in LABELS])
    images.image_rows(folder / "figures" / figures[1].name, "wide", [("row", tile.repeat(14, axis=0))])
    probes = {f"test/knn_all{features}": 0.5 for features in ("", "_pixels", "_pca")}
    metrics = {"test/mse": 0.5, "train/<i>": 1.0} | probes
    choices = {"model": LABELS[0], "data": TEXT, "seed": 0}
    reconstruct_report.write(folder, choices, metrics, [CollapseWarning("collapse", TEXT)], figures)


def write_classes(folder: Path) -> None:
    def measure(some: Predictions) -> ClassScores:
        truth, predicted = (np.array([LABELS.index(each[name]) for each in some]) for name in ("label", "prediction"))
        return ClassScores(truth, predicted, len(LABELS), ["accuracy"])

    predictions = [
        {"id": k, "text": TEXT * 4, "label": LABELS[k % 3], "prediction": LABELS[k // 3], "probability": 0.5}
        | {"probabilities": dict.fromkeys(LABELS, 1 / 3)}
        for k in range(9)
    ]
    written(folder, Toy(measure), LABELS, {"dev": predictions, "train": predictions})


def write_tags(folder: Path) -> None:
    def measure(some: Predictions) -> TagScores:
        truth, predicted = ([each[name] for each in some] for name in ("labels", "predictions"))
        return TagScores.from_tags(truth, predicted, True)

    tags = {"labels": ["O", "B-<i>", "O", "O"], "predictions": ["O", "B-<i>", "B-[red]", "O"]}
    words = {"words": [TEXT, *LABELS], "probabilities": [0.9, 0.6, 0.8, 0.7]}
    predictions = [{"id": k, **words, **tags} for k in range(3)]
    written(folder, Toy(measure), ["O", "B-<i>", "B-[red]"], {"dev": predictions})


def write_spans(folder: Path) -> None:
    def measure(some: Predictions) -> AnswerScores:
        return AnswerScores({"exact_match": np.array([float(each["prediction"] in each["labels"]) for each in some])})

    predictions = [
        {"id": str(k), "question": TEXT, "context": TEXT, "labels": [LABELS[k]], "prediction": LABELS[1]}
        | {"start": TEXT.index(LABELS[1]), "probability": 0.9, "n_best": []}
        for k in range(3)
    ]
    written(folder, Toy(measure), [], {"dev": predictions})


def write_pretrain(folder: Path) -> None:
    pieces = [TextPiece(TEXT), *(TextPiece("", label, target, 0.5) for label in LABELS for target in LABELS)]
    metrics = {"val/loss": 2.5, "train/tokens_per_s": 1e5}
    choices = {"model": "bert", "data": TEXT}
    pretrain_report.write(folder, choices, metrics, [PredictedText(pieces)], pretrain_curves.draw(folder))


def write_detect(folder: Path) -> None:
    x, anomaly = np.linspace(0, 1, 40)[:, None].astype(np.float32), np.arange(40) % 4 == 0
    table = pa.table({label: pa.array([f"{TEXT}{k % 3}" for k in range(40)]) for label in LABELS})
    data = TableData(
        splits={name: OneClassSplit(x, anomaly, np.arange(40), np.arange(40)) for name in ("train", "test")},
        columns=table,
        preprocessor=TablePreprocessor.fit(table),
        fingerprint="",
    )
    threshold = Threshold("auto", 0.5, TEXT, 0.05, guaranteed=True, warning=TEXT)
    metrics = detect_report.measure({"test": x[:, 0]}, data.splits, Calibration(x[:, 0]), threshold, 20, 0)
    why = [FeatureContribution(label, TEXT, TEXT, 0.3, f"{label} = {TEXT}") for label in LABELS]
    anomalies = [Anomaly(k, k, 3.5, 0.1, k < 2, k < 3, why) for k in range(30)]
    detect_report.draw(folder, None, data, x[:, 0], threshold, metrics, anomalies)
    detect_page.write(folder, {"model": LABELS[0], "data": TEXT}, data, threshold, metrics, anomalies)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_opens_without_errors_and_shows_every_text_as_it_is(
    name: str, browser: Any, folders: dict[str, Path]
) -> None:
    opened = OpenedPage(browser, folders[name] / "report.html")
    assert opened.missing_images() == [] and opened.page.locator("figure img").count() >= 2
    shown = opened.page.locator("main").inner_text()
    assert all(label in shown for label in LABELS) and TEXT in shown
    assert opened.page.locator("main pre").text_content() == CONFIG
    assert opened.page.locator("main script, main b, main i").count() == 0
    assert opened.troubles == []
    opened.page.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone(name: str, browser: Any, folders: dict[str, Path]) -> None:
    opened = OpenedPage(browser, folders[name] / "report.html", PHONE_PX, "dark")
    assert opened.missing_images() == []
    opened.page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert opened.overflow() <= 0
    assert opened.troubles == []
    opened.page.close()


def test_figures_enlarge_and_escape_closes_them(browser: Any, folders: dict[str, Path]) -> None:
    opened = OpenedPage(browser, folders["reconstruct"] / "report.html")
    page, viewer = opened.page, opened.page.locator("dialog")
    first = page.locator("figure a").first
    first.focus()
    page.keyboard.press("Enter")
    assert viewer.is_visible() and viewer.locator("p").inner_text() == TEXT
    page.wait_for_function("document.querySelector('dialog img').naturalWidth > 0")
    small = first.locator("img").bounding_box()["width"]
    assert viewer.locator("img").bounding_box()["width"] > small
    page.keyboard.press("ArrowRight")
    assert viewer.locator("p").inner_text() == "A wide one."
    page.keyboard.press("Escape")
    assert not viewer.is_visible()
    # A dialog says that it closed a moment after it did: only then the figure shown last has the focus.
    page.wait_for_function("document.activeElement.getAttribute('href') === 'figures/b.png'")
    first.click()
    viewer.get_by_label("Close").click()
    assert not viewer.is_visible() and opened.troubles == []
    page.close()


def test_the_contents_lead_to_every_section_and_fold_on_a_phone(browser: Any, folders: dict[str, Path]) -> None:
    opened = OpenedPage(browser, folders["classes"] / "report.html")
    page = opened.page
    titles = page.locator(".contents a").all_inner_texts()
    assert titles[:4] == ["What was run", "Metrics", "dev", "train"] and "Predictions: dev" in titles
    page.locator(".contents a", has_text="Files").click()
    page.wait_for_function("location.hash !== ''")
    target = page.evaluate("document.querySelector(location.hash + ' h2').textContent")
    assert target == "Files" and page.locator(".contents nav").is_visible()
    page.set_viewport_size({"width": PHONE_PX, "height": 800})
    page.wait_for_function("!document.querySelector('.contents').open")
    page.close()


@pytest.mark.parametrize(("width", "embedded"), [(1400, False), (PHONE_PX, True)])
def test_sounds_can_be_played(width: int, embedded: bool, browser: Any, tmp_path: Path) -> None:
    wave = 0.3 * np.sin(np.arange(8000) / 5)
    rows = [(TEXT, [(label, wave[: 1000 * k]) for k, label in enumerate(LABELS, 2)]) for _ in range(2)]
    blocks = [Section("Sounds", [write_players(tmp_path, "a", rows, 8000)])]
    choices = {"model": "m", "data": "d"}
    page = html.render("convert", "run", CONFIG, choices, blocks, [], tmp_path / "figures", embedded)
    (tmp_path / "report.html").write_text(page)
    if embedded:
        (tmp_path / "sounds").rename(tmp_path / "elsewhere")
    opened = OpenedPage(browser, tmp_path / "report.html", width)
    load = """async (audio) => {
        const loaded = new Promise((done) => { audio.onloadedmetadata = audio.onerror = done; });
        audio.preload = "auto";
        audio.load();
        await loaded;
        return audio.duration;
    }"""
    players = opened.page.locator("audio")
    assert [players.nth(k).evaluate(load) for k in range(6)] == pytest.approx(2 * [0.25, 0.375, 0.5], abs=0.01)
    shown = opened.page.locator("main").inner_text()
    assert all(label in shown for label in LABELS) and TEXT in shown and "0.4 s" in shown
    assert players.first.bounding_box()["width"] >= 200 and opened.overflow() <= 0
    # A browser stops reading a sound once it knows enough of it.
    assert [trouble for trouble in opened.troubles if "/sounds/" not in trouble] == []
    opened.page.close()


def test_light_and_dark(browser: Any, folders: dict[str, Path]) -> None:
    colours = []
    for scheme in ("light", "dark"):
        opened = OpenedPage(browser, folders["spans"] / "report.html", scheme=scheme)
        colours.append(opened.page.evaluate("getComputedStyle(document.body).backgroundColor"))
        opened.page.close()
    assert colours[0] != colours[1]


def test_the_page_of_scores_holds_its_figure(browser: Any, cli: Cli, workdir: Path) -> None:
    rows = [f"{k % 7},{TEXT.replace(',', ' ')} {k % 3}" for k in range(90)]
    Path("t.csv").write_text("\n".join(["a,<b>b</b>", *rows]))
    assert cli("detect", *QUICK, "model=knn", "data=table", "data.file=t.csv")[0] == 0
    Path("new.csv").write_text("\n".join(["a,<b>b</b>", *rows[:50], "12,<i>odd</i>", "x,y,<i>z</i>"]))
    code, _, err = cli("score", "input=new.csv", "output=out.csv", "explain=true", "keep=[<b>b</b>]")
    assert code == 0, err
    Path("out.csv.report.html").rename("alone.html")
    for scheme, width in (("light", 1400), ("dark", PHONE_PX)):
        opened = OpenedPage(browser, workdir / "alone.html", width, scheme)
        assert opened.missing_images() == [] and opened.page.locator("figure img").count() == 1
        shown = opened.page.locator("main").inner_text()
        assert "of 51 rows" in shown and "1 row could not be read" in shown
        assert "<b>b</b> = <i>odd</i> (not in the training rows)" in shown and "a = 12 (expected " in shown
        assert "y,<i>z</i>" not in shown and "3 fields instead of 2" in shown
        opened.page.locator("figure a").click()
        assert opened.page.locator("dialog").is_visible()
        assert opened.overflow() <= 0 and opened.troubles == []
        opened.page.close()
