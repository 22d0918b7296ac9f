"""The page of load tests by themselves: what `load --html` and `report RECORD` write."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from html_page import Page
from loads import load_measurement
from outlive.cli import cli
from outlive.errors import FaultError, UsageError
from outlive.pages import load_view
from outlive.records.load import LoadDocument, LoadMeasurement
from reporting import PROVENANCE


def both() -> tuple[LoadMeasurement, ...]:
    """Return ten minutes with gc on and off; answers, collections and pauses grow."""
    on, off = load_measurement(gc="on", leaked_per_request=0.0), load_measurement(gc="off")
    samples = tuple(
        msgspec.structs.replace(s, p50=0.004, p99=0.012, collections=at, paused=at / 1000, unexpected=at // 9)
        for at, s in enumerate(on.samples)
    )
    return msgspec.structs.replace(on, samples=samples), off


def titles(page: str) -> list[str]:
    """Return the captions of the plots."""
    return [part.partition("</figcaption>")[0] for part in page.split("<figcaption>")[1:]]


def test_everything_that_one_watches_is_drawn_over_time() -> None:
    page = load_view.html(both())
    assert titles(page) == [
        "Memory of all server processes under load, MiB",
        "Latency of the last second&#39;s answers, ms",
        "Answers a second",
        "Wrong answers so far",
        "Collections so far",
        "Time that collections have paused the workers so far, ms",
        "Latency: share of answers (%) within so many ms",
    ]
    assert "over minutes" in page
    text = Page(page).text
    assert text.count("gc on") > 5
    for said in ("flask 3.1.3, Python 3.11 · 1 gthread worker", "6000 requests from 16 clients", "peak RSS"):
        assert said in text


def test_what_an_older_record_does_not_have_is_no_empty_plot() -> None:
    page = load_view.html([load_measurement()])
    assert "Latency of the last second" not in page
    assert "Wrong answers so far" not in page
    assert "Memory of all server processes" in page


def test_a_test_that_could_not_run_is_a_reason_and_no_plot() -> None:
    page = load_view.html([load_measurement(status="unsupported", reason="no wheel <of> it", samples=())])
    assert titles(page) == []
    assert "unsupported: no wheel <of> it" in Page(page).text


def written(path: Path, *measurements: LoadMeasurement) -> str:
    path.write_text(LoadDocument(provenance=PROVENANCE, measurements=measurements).to_json())
    return str(path)


class TestStoredRecords:
    @pytest.fixture(autouse=True)
    def elsewhere(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("OUTLIVE_RESULTS", str(tmp_path / "mine"))

    def report(self, *words: str) -> str:
        found = CliRunner().invoke(cli, ["report", *words], standalone_mode=False)
        if found.exception:
            raise found.exception
        return found.output

    def test_a_record_is_opened_as_a_page(self, tmp_path: Path) -> None:
        said = self.report(written(tmp_path / "record.json", *both()))
        assert said == "report: mine/reports/flask/load-record.html\n"
        assert len(titles((tmp_path / "mine/reports/flask/load-record.html").read_text())) >= 7

    def test_several_records_are_side_by_side(self, tmp_path: Path) -> None:
        words = [written(tmp_path / f"{one.deployment.gc}.json", one) for one in both()]
        assert self.report(*words) == "report: mine/reports/flask/load-on-2.html\n"

    def test_records_of_two_releases_are_none_of_a_page(self, tmp_path: Path) -> None:
        other = msgspec.structs.replace(both()[0], release="3.1.2")
        with pytest.raises(UsageError, match="load tests of one release on one Python"):
            self.report(written(tmp_path / "one.json", both()[0]), written(tmp_path / "two.json", other))

    @pytest.mark.parametrize("text", ["{}", "", "[1]", "no json"])
    def test_a_file_that_is_no_record_is_one_line(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(FaultError, match=r"other\.json"):
            self.report("other.json")

    def test_a_file_that_is_not_there(self) -> None:
        with pytest.raises(UsageError, match=r"gone\.json"):
            self.report("gone.json")
