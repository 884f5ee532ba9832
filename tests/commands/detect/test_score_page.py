"""Where the page of ssl score is written."""

from pathlib import Path

import pytest

from ssl_cli.commands.detect.score_page import page_path
from ssl_cli.errors import InputError


@pytest.mark.parametrize("name", ["input", "rejects"])
def test_the_page_replaces_neither_the_input_nor_the_rejects(tmp_path: Path, name: str) -> None:
    output, page = tmp_path / "o.csv", tmp_path / "o.csv.report.html"
    others = {"input": tmp_path / "new.csv", "rejects": tmp_path / "rejects.csv"}
    assert page_path(others["input"], output, others["rejects"], overwrite=True) == page
    page.write_text("a,b\n")
    others[name] = tmp_path / "." / page.name
    with pytest.raises(InputError, match=f"^{name}=.* is where the page of .*o.csv goes: name another"):
        page_path(others["input"], output, others["rejects"], overwrite=True)
