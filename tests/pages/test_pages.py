"""The page of a report: complete, valid, inert; and as a browser shows it."""

from __future__ import annotations

import html as html_module
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import load_comparisons
from comparisons import compared
from html_page import Page
from loads import load_measurement
from outlive.comparison.noisy import load as loadcomparison
from outlive.comparison.noisy.load import Loads
from outlive.comparison.pair import BothMeasurements
from outlive.comparison.sizes import Rates
from outlive.pages import bill_view, load_view, report_page
from outlive.pages.bill_view import BillCell
from outlive.pages.page import Frame, Link, linked
from outlive.records.load import Collections, Sample
from outlive.reports import markdown, record
from outlive.reports.evidence import Evidence, _Sides
from outlive.reports.record import Report
from outlive.reports.remedies import ReliefDocument, Reliefs
from outlive.wording import NEVER, NONE, about, span
from reporting import aiohttp_evidence, aiohttp_report, facts, flask_report, relief_document, relieved_report

LARGEST = 500_000
HOSTILE = "<script>alert(1)</script>\"'&lt;--]]>`![x](javascript:alert(1))\x1b[31m"


def under_load() -> Report:
    evidence = aiohttp_evidence()
    samples = tuple(
        Sample(segment=0, seconds=at, requests=100 * at, rss=2**26 + 2**20 * at, pss=0, cpu=0.0, workers=())
        for at in range(5)
    )
    pauses = Collections.of(3, 900, 0.006, 0.004, ((0.001, 2), (0.004, 1)))
    tests = [
        load_comparisons.measured(gc="on", samples=samples, collections=pauses),
        load_comparisons.measured(gc="off", samples=samples),
    ]
    compared_under_load = [
        loadcomparison.compare(evidence.before, evidence.after, load_comparisons.runs(4, latency=1.5)),
        loadcomparison.compare(
            evidence.before,
            evidence.after,
            load_comparisons.runs(4, noise=0.3, gc="on", generator_saturated=True),
            stopped="the server stopped answering",
        ),
    ]
    loads = Loads(comparisons=tuple(compared_under_load), before=tuple(tests), after=tuple(tests))
    return record.build(msgspec.structs.replace(evidence, loads=loads), facts(), Rates())


PAGES = {
    "aiohttp": lambda: report_page.html(aiohttp_report()),
    "flask": lambda: report_page.html(flask_report()),
    "under load": lambda: report_page.html(under_load()),
    "relieved": lambda: report_page.html(relieved_report()),
    "load tests": lambda: load_view.html([load_measurement(gc="on"), load_measurement(gc="off")]),
}


@pytest.fixture(scope="module", params=PAGES)
def page(request: pytest.FixtureRequest) -> str:
    return PAGES[request.param]()


def test_it_is_well_formed(page: str) -> None:
    found = Page(page)
    assert page.startswith("<!DOCTYPE html>\n")
    assert len(found.ids) == len(set(found.ids))
    references = set(re.findall(r"url\(#([\w-]+)\)", page))
    assert references <= set(found.ids)


def test_it_loads_nothing_and_runs_only_what_is_ours(page: str) -> None:
    found = Page(page)
    for tag, attributes in found.tags:
        assert tag not in {"img", "iframe", "object", "embed", "base", "form"}
        assert not [name for name in attributes if name.startswith("on") or name in {"style", "srcset"}]
        if tag != "a":
            assert attributes.get("src", attributes.get("href")) in {None, "data:,"}
    policy = next(dict(a)["content"] or "" for t, a in found.tags if "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_it_stays_small(page: str) -> None:
    assert len(page.encode()) < LARGEST


def test_headings_follow_each_other(page: str) -> None:
    levels = [int(tag[1]) for tag, _ in Page(page).tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))


def test_each_plot_says_in_words_what_it_shows(page: str) -> None:
    for plot in re.findall(r'<svg class="plot".*?</svg>', page, re.DOTALL):
        named = re.search(r'aria-labelledby="(\S+) (\S+)"', plot)
        assert named
        for name in named.groups():
            assert re.search(rf'<(title|desc) id="{name}">[^<]+<', plot)


def test_a_reader_who_only_sees_the_page_can_decide() -> None:
    text = Page(report_page.html(aiohttp_report())).text
    for said in (
        "WITHDRAWN Its authors have withdrawn this release from the package index.",
        "aiohttp 3.11.14 is yanked; 3.11.15 is the nearest release that was not yanked.",
        "With gc on: ✓ UPGRADE",
        "Is it safe? No, it is withdrawn. Take 3.11.15 instead.",
        "What improves? With gc on, not-found and upload-method-not-allowed (44 → 0 leaked objects",
        "What does not? With gc off, it leaves up to 32 objects per request (not-found)",
        "On which path? Better on keep-alive and close, gc on and off: not-found and upload-method-not-",
        "Is it withdrawn? Yes: aiohttp 3.11.14 is yanked: Regression: https://github.com/aio-libs/aiohttp/issues/",
        "scenario verdict, gc on keep-alive",
        "How sure is this? Objects were counted exactly",
        "How do I repeat it? outlive report aiohttp 3.10.10 3.11.14 --python 3.11 --fresh",
        "No load test of this pair is stored",
        "outlive compare aiohttp 3.10.10 3.11.14 --python 3.11 --load --gc on --gc off measures it.",
        "“Fixed system routes polluting the middleware cache.”",
        "About what was not measured: 1 of 2 entries not seen 3.11.14 “Fixed a leak of ClientSession.”",
        "3.11.0: no changelog is available, no package has one.",
    ):
        assert said in text


def test_what_was_found_under_load_is_shown() -> None:
    text = Page(report_page.html(under_load())).text
    for said in (
        "outlive compare aiohttp 3.10.10 3.11.14 --python 3.11 --load --gc off --gc on --user ErrorHeavy",
        "--connection keep-alive --clients 16 --requests 3450 --rounds 4 --worker",
        "With gc off Worse: ",
        "With gc on ",
        "? unsure throughput",
        "Inconclusive, so there may be a change or none:",
        "the runs differ too much: use an idle machine",
        "Mind: stopped early: the server stopped answering.",
        "Mind: in 12 of 12 runs locust was the bottleneck",
        "A/A: the stack before against itself.",
        "Memory of all server processes under load, MiB",
        "3.1.3, gc on: 64.0 to 68.0 MiB",
        "Latency: share of answers (%) within so many ms",
        "Collector pauses: share (%) that took at most so many ms",
        "3.1.3, gc on: 3 collections, longest 4.00 ms",
        "latency p99, ms",
    ):
        assert said in text


def test_what_was_found_under_load_is_in_the_comment_too() -> None:
    text = markdown.render(under_load())
    assert "<summary>Under load, gc off</summary>" in text
    assert "| ▲ worse | p50 |" in text
    assert "- inconclusive: " in text
    assert "- **stopped early: the server stopped answering**" in text


def test_those_who_cannot_upgrade_are_told_what_remedies_do() -> None:
    text = Page(report_page.html(relieved_report())).text
    for said in (
        "And if I cannot upgrade? Restart workers after a number of requests (max_requests): no collection",
        "Of the remedies, drop helps most with gc off: 44 → 0 objects per request, on Python 3.11.",
        "If you cannot upgrade Restart workers after a number of requests",
        "Take drop for aiohttp 3.10.10: 44 → 0 objects per request but patches a handler",
        "What remedies do for aiohttp 3.10.10, on Python 3.11, with the traffic of ErrorHeavy on close",
        "✓ drop drops the reference 0 0 1/1",
        "freeze gc.freeze() once the app is loaded same",
        "handlers a handler for all unsupported",
        "tracker an error tracker (no remedy: what services do anyway) 90 45 0/1 90 not-found",
        "drop: patches a handler handlers: it has none",
    ):
        assert said in text
    assert "outlive remedies" not in text


def test_remedies_of_another_release_are_said_to_be() -> None:
    text = Page(report_page.html(relieved_report("aiohttp 3.14.5"))).text
    for said in (
        "have not been measured for aiohttp 3.10.10: run outlive remedies aiohttp==3.10.10 --python 3.11",
        "Take drop for aiohttp 3.14.5:",
        "their effect on the release before is unknown",
    ):
        assert said in text
    assert "Of the remedies" not in text  # the release before leaks, for which they need not help


def test_remedies_of_another_release_are_an_answer_where_nothing_leaks() -> None:
    evidence = aiohttp_evidence()
    after = evidence.measurements.after
    both = msgspec.structs.replace(evidence, measurements=BothMeasurements(before=after, after=after))
    known = msgspec.structs.replace(facts(), reliefs=Reliefs((relief_document("aiohttp 3.14.5"),)))
    text = Page(report_page.html(record.build(both, known, Rates()))).text
    assert (
        "And if I cannot upgrade? Keep the collector on: it frees everything that is left. Of the remedies "
        "measured for aiohttp 3.14.5, drop helps most with gc off: 44 → 0 objects per request"
    ) in text


def test_without_any_remedies_measured_it_says_how() -> None:
    text = Page(report_page.html(flask_report())).text
    assert (
        "If you cannot upgrade Keep the collector on: it frees everything that is left. The remedies "
        "have not been measured for flask 2.3.3: run outlive remedies flask==2.3.3 --python 3.11 . Release"
    ) in text


def test_in_the_site_it_links_to_the_other_pages() -> None:
    frame = Frame("../", (Link("aiohttp", "aiohttp/index.html"),))
    page = report_page.html(aiohttp_report(), frame)
    assert '<a href="../index.html">outlive</a>' in page
    assert '<a href="../aiohttp/index.html">aiohttp</a>' in page
    assert '<a href="../leaks/31113a1c2a8a.html">' in page


class TestHostile:
    def report(self) -> Report:
        """Return a report with markup in all that somebody else wrote or measured."""
        document = json.loads(aiohttp_report().to_json())
        for side in ("before", "after"):
            document["comparison"][side]["release"]["yanked_reason"] = HOSTILE
            document["comparison"][side]["release"]["requires_python"] = HOSTILE
            document["comparison"][side]["stack"]["packages"][1]["name"] = HOSTILE
            for one in document["measurements"][side]:
                one["scenario"] = one["scenario"].replace("handler-error", HOSTILE)
                one["reason"] = one["reason"] and HOSTILE
                for leak in one["leaks"]:
                    leak["suspect"] = leak["package"] = HOSTILE
        document["comparison"]["differences"][0]["reason"] = HOSTILE
        evidence = msgspec.convert(document["measurements"], type(aiohttp_evidence().measurements))
        sides = msgspec.convert(document["comparison"], _Sides)
        known = facts()
        logs = tuple(
            msgspec.structs.replace(
                log, claims=tuple(msgspec.structs.replace(one, text=f"leak {HOSTILE}") for one in log.claims)
            )
            for log in known.logs or ()
        )
        return record.build(
            Evidence(
                provenance=aiohttp_evidence().provenance,
                before=sides.before,
                after=sides.after,
                differences=sides.differences,
                measurements=evidence,
            ),
            msgspec.structs.replace(known, releases=(), logs=logs, reliefs=Reliefs((self.relief(),))),
            Rates(),
        )

    def relief(self) -> ReliefDocument:
        document = msgspec.to_builtins(relief_document())
        document["relief"]["user"] = document["relief"]["advice"]["remedy"] = HOSTILE
        document["relief"]["advice"]["reasons"] = [HOSTILE]
        for row in document["relief"]["rows"][1:]:
            row["remedy"] = row["summary"] = row["caution"] = HOSTILE
            row["unsupported"] = row["unsupported"] and HOSTILE
            if row["left"]:
                row["left"]["scenarios"] = {HOSTILE: 3}
                row["left"]["unmeasured"] = {HOSTILE: HOSTILE}
        return msgspec.convert(document, ReliefDocument)

    def test_nothing_of_it_is_markup(self) -> None:
        page = report_page.html(self.report())
        found = Page(page)
        assert [tag for tag, _ in found.tags].count("script") == 2
        assert "<script>alert" not in page
        assert not re.search(r'href="javascript', page)
        assert "<script>alert(1)</script>" in found.text  # as text

    def test_nothing_of_it_is_markup_in_markdown(self) -> None:
        text = markdown.render(self.report())
        assert "<script" not in text.replace("\\<script", "")
        assert "[x](" not in text

    def test_the_numbers_of_the_page_stay_json(self) -> None:
        page = report_page.html(self.report())
        found = re.search(r'<script type="application/json" id="leaves">(.*?)</script>', page)
        assert found
        assert json.loads(found[1])["restart_share"] == 0.5

    def test_links_are_addresses_and_nothing_else(self) -> None:
        assert linked("see https://x.invalid/a?b=1.") == (
            'see <a rel="nofollow noreferrer" href="https://x.invalid/a?b=1">https://x.invalid/a?b=1</a>.'
        )
        assert linked('https://x.invalid/"onclick="x') == (
            '<a rel="nofollow noreferrer" href="https://x.invalid/">https://x.invalid/</a>&#34;onclick=&#34;x'
        )
        assert linked("javascript:alert(1)") == "javascript:alert(1)"

    def test_backticks_are_code_and_nothing_else(self) -> None:
        assert linked("do `a <b>` now") == "do <code>a &lt;b&gt;</code> now"
        assert linked("a ` alone") == "a ` alone"


def test_nothing_measured_is_a_page_too() -> None:
    evidence = aiohttp_evidence()
    empty = msgspec.structs.replace(evidence, measurements=type(evidence.measurements)(before=(), after=()))
    text = Page(report_page.html(record.build(empty, facts(yanked=False), Rates()))).text
    assert "NOT ENOUGH DATA" in text
    assert compared([], []).rows == ()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, NONE),
        (0, "0"),
        (0.004, "0"),
        (0.5, "0.50"),
        (9.999, "10.0"),
        (1239.6, "1,240"),
        (1e12, "1.00e+12"),
    ],
)
def test_numbers(value: float | None, said: str) -> None:
    assert about(value) == said


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (None, "never"),
        (0, "under 1 min"),
        (0.5, "30 min"),
        (5.94, "5.9 h"),
        (240, "10 days"),
        (1e9, "over 10 years"),
    ],
)
def test_times(hours: float | None, said: str) -> None:
    assert span(hours) == said


# in a browser


def shown(page: Path, profile: Path) -> tuple[str, str]:
    """Return the page as Chromium has it after its scripts, and what it said on its console."""
    browser = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
    if browser is None:
        pytest.skip("no Chromium")
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={profile}", "--dump-dom"]
    done = subprocess.run(
        [browser, *options, page.as_uri()], capture_output=True, text=True, timeout=100, check=True
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.real
def test_a_browser_computes_what_the_page_says(tmp_path: Path) -> None:
    """The script, told the numbers of another report, comes to the numbers of that report."""
    rates = Rates(rate=37.5, errors=0.2, workers=3, limit=2**30)
    given = {"rate": "37.5", "errors": "20", "workers": "3", "limit": "1024"}
    told = "".join(
        f'document.getElementsByName("{name}")[0].value="{value}";' for name, value in given.items()
    )
    typed = f'<script>{told}document.getElementById("rates").dispatchEvent(new Event("input"))</script>'
    page = re.sub(r"<meta http-equiv[^>]*>", "", report_page.html(aiohttp_report()))
    path = tmp_path / "page.html"
    path.write_text(page.replace("</body>", f"{typed}</body>"), encoding="utf-8")
    dom, console = shown(path, tmp_path / "profile")
    assert not console
    cells = dict(re.findall(r'data-cost="([^"]+)">([^<]*)<', dom))
    wanted: list[BillCell] = [
        cell
        for table in bill_view.tables(aiohttp_report(rates=rates).bill)
        for line in table.lines
        for cell in line.cells
    ]
    assert {cell.key: cell.text for cell in wanted} == {k: html_module.unescape(v) for k, v in cells.items()}
    assert any(cell.text not in {"0", NEVER, NONE} for cell in wanted)


@pytest.mark.real
@pytest.mark.parametrize("name", PAGES)
def test_a_browser_has_nothing_to_complain_of(tmp_path: Path, name: str) -> None:
    path = tmp_path / "page.html"
    path.write_text(PAGES[name](), encoding="utf-8")
    dom, console = shown(path, tmp_path / "profile")
    assert not console
    # the script of a report ran under the policy
    assert ('<fieldset class="rates" id="rates">' in dom) == (name != "load tests")


@given(
    st.text()
    | st.lists(st.sampled_from(["https://x.invalid/a", "`a`", "<b>", " → ", ".", '"', "&", "`", " "])).map(
        "".join
    )
)
def test_whatever_is_linked_its_text_stays_and_none_of_it_is_markup(text: str) -> None:
    page = Page(f"<p>{linked(text)}</p>")
    assert {tag for tag, _ in page.tags} <= {"p", "a", "code"}
    shown = "".join(page.texts).replace("\u00a0", " ")
    assert shown.replace("`", "") == text.replace("`", "").replace("\u00a0", " ").replace("\r\n", "\n")
