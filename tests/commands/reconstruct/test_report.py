"""Report of reconstruct: it has every metric, and escapes all text."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from ssl_cli.commands.reconstruct import report as report_page
from ssl_cli.commands.reconstruct.collapse import CollapseWarning
from ssl_cli.evaluation.html import Figure

OWN = {"test/own": 3.0, "test/nll_of_mine": 77.3, "test/knn_mine": 66.4}
METRICS = (
    {"test/mse": 0.0123456, "test/nll": 88.2}
    | OWN
    | {
        f"test/{probe}_{n}{kind}": 0.5 + 0.1 * (kind == "_pca")
        for probe in ("linear_probe", "knn")
        for n in (100, "all")
        for kind in ("", "_pixels", "_pca")
    }
)
WARNING, FIGURE = CollapseWarning("collapse", "All <b>is</b> lost & gone."), Figure("map_pca.png", 'Codes of "<i>".')


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        if tag not in ("meta", "img", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def report(tmp_path: Path) -> str:
    (tmp_path / "config.yaml").write_text("data:\n  dir: </pre><script>alert(1)</script>\n")
    report_page.write(tmp_path, {"model": "vae", "data": "<img src=x>"}, METRICS, [WARNING], [FIGURE])
    return (tmp_path / "report.html").read_text()


def test_is_sound_and_escaped(report: str) -> None:
    tags = Tags()
    tags.feed(report)
    assert tags.open == []
    assert not {"b", "i"} & tags.seen and "alert(1)</script" not in report
    assert report.count("<img") == 2 and 'src="figures/map_pca.png"' in report  # the other one is that of the viewer
    assert "All &lt;b&gt;is&lt;/b&gt; lost &amp; gone." in report


def test_warnings_come_first_and_every_metric_is_there(report: str) -> None:
    body = report.partition("<main>")[2]
    assert body.index("lost") < body.index("What was run") < body.index("0.01235") < body.index("figures/")
    assert "88.2" in report and 'title="test/own"' in report
    assert "77.3" in report and "66.4" in report  # whose names begin like known ones
    assert report.count("60.00%") == 4 and report.count('class="number best"') == 4


def test_it_says_that_there_is_no_warning(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("")
    report_page.write(tmp_path, {"model": "ae", "data": "digits"}, {"test/mse": 0.1}, [], [])
    text = (tmp_path / "report.html").read_text()
    assert "No sign of collapse" in text and "probe" not in text


def test_summary_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report_page.print_summary(METRICS, [WARNING], [FIGURE])
    out, err = capsys.readouterr()
    assert "warning: All <b>is</b> lost" in err
    assert "5 nearest neighbours, all labels" in out and "60.00%" in out
    assert "map_pca" in out and "report.html" in out
