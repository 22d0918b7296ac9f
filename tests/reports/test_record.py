from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

import load_comparisons
from comparisons import REASON, cell, flask_cells, phase, side
from goldens import same_as_golden
from outlive.comparison.noisy.load import Loads
from outlive.comparison.pair import BothMeasurements
from outlive.comparison.sizes import Rates
from outlive.errors import FaultError
from outlive.pages import report_page, write
from outlive.records.measurement import ASKED, GC_POLICIES, Measurement
from outlive.records.stack import Difference
from outlive.reports import markdown, record, terminal
from outlive.reports.evidence import Evidence, read
from outlive.reports.record import Report
from outlive.retention.error import errors
from reporting import (
    EXPECTED,
    aiohttp_evidence,
    aiohttp_report,
    checkout,
    costly,
    facts,
    flask_evidence,
    flask_report,
    relieved_report,
)

REPORTS: dict[str, Callable[[], Report]] = {
    "aiohttp": aiohttp_report,
    "flask": flask_report,
    "relieved": relieved_report,
}


@pytest.mark.parametrize("name", REPORTS)
def test_answers(name: str) -> None:
    report = REPORTS[name]()
    told = [f"{one.question}\n    {one.answer}" for one in report.said.answers]
    told.append(report.said.repeat)
    same_as_golden(f"answers-{name}.txt", "\n".join(told) + "\n")


def test_where_it_is_safe_with_one_gc_policy_only_that_is_said() -> None:
    def cells(objects: float) -> tuple[Measurement, ...]:
        return costly(
            [
                cell(name, objects if gc == "off" else 0, connection=connection, gc=gc)
                for name in EXPECTED
                for connection in ASKED
                for gc in GC_POLICIES
            ]
        )

    worse = BothMeasurements(before=cells(10), after=cells(14))
    evidence = msgspec.structs.replace(aiohttp_evidence(yanked=False), measurements=worse)
    report = record.build(evidence, facts(yanked=False), Rates())
    assert report.said.answers[0].answer == (
        "With gc on, yes, as far as memory goes. With gc off, no, as far as memory goes. Keep the collector "
        "on, or collect periodically: that frees what got worse."
    )


def test_where_something_changes_is_a_list_on_every_surface() -> None:
    before = [*flask_cells(), *(cell("upload", 9, connection="keep-alive", gc=gc) for gc in GC_POLICIES)]
    after = [*flask_cells(), *(cell("upload", 2, connection="keep-alive", gc=gc) for gc in GC_POLICIES)]
    before += [cell("bad-json", 0, connection=connection) for connection in ASKED]
    after += [cell("bad-json", 3, connection=connection) for connection in ASKED]
    before.append(cell("big-upload", 9))
    after.append(cell("big-upload", 2))
    sides = BothMeasurements(before=costly(before), after=costly(after))
    report = record.build(msgspec.structs.replace(flask_evidence(), measurements=sides), facts(), Rates())
    answer = next(answer for answer in report.said.answers if answer.question == "On which path?")
    lines = (
        "Worse on keep-alive and close, gc off: bad-json",
        "Better:",
        "- on keep-alive, gc off: upload",
        "- on close, gc off: big-upload",
    )
    assert answer.lines == lines
    assert answer.answer == (
        "Worse on keep-alive and close, gc off: bad-json. Better, on keep-alive, gc off: upload; on close, "
        "gc off: big-upload."
    )
    out = io.StringIO()
    terminal.show(report, Console(file=out, width=200))
    assert all(line in out.getvalue() for line in lines)
    assert f"| {'<br>'.join(lines).replace('- ', chr(0x2022) + ' ')} |" in markdown.render(report)
    assert "<li>Better:<ul><li>on keep-alive, gc off: upload</li>" in report_page.html(report)


@pytest.mark.parametrize("name", REPORTS)
def test_each_reason_is_stated_once(name: str) -> None:
    """The reason of the policy that leads was in the verdict, in the list of policies and in an answer."""
    report = REPORTS[name]()
    reasons = [policy.judged.because for policy in report.judgement.policies]
    assert not any(reason in answer.answer for reason in reasons for answer in report.said.answers)
    verdict = report_page.html(report).partition('<section class="verdict')[2].partition("</section>")[0]
    head = markdown.render(report).partition("What changes:")[0]
    for text in (verdict.partition('<svg class="shares"')[0], head):
        assert [text.count(reason) for reason in reasons] == [reasons.count(reason) for reason in reasons]


@pytest.mark.parametrize("name", REPORTS)
def test_each_number_of_an_example_has_a_noun_and_a_policy(name: str) -> None:
    improves, does_not = REPORTS[name]().said.answers[1:3]
    for sentence in (*improves.sentences, *does_not.sentences):
        for clause in sentence.clauses:
            if "→" in clause:
                assert sentence.lead.startswith("with gc ")
                assert re.search(r"→ \S+ (\w+ )*(objects?|blocks?|files?|threads?|C heap|memory)\b", clause)


def test_examples_tell_what_changed_and_not_what_is_the_same() -> None:
    """What only a connection leaves was once told as objects per request, which are the same."""

    def uploads(per_connection: float, heap: float) -> tuple[Measurement, ...]:
        return (
            cell("not-found", 23, connection="keep-alive", survivors_per_connection=per_connection),
            cell("upload", 32, blocks_per_request=40.0, heap_bytes_per_request=heap),
        )

    both = BothMeasurements(before=uploads(19, 90_000.0), after=uploads(11, 10_000.0))
    found = record.build(msgspec.structs.replace(flask_evidence(), measurements=both), facts(), Rates())
    improves = found.said.answers[1].answer
    assert "not-found (19 → 11 objects per connection" in improves
    assert "upload (87.9 KiB → 9.8 KiB of C heap per request" in improves


def sure(evidence: Evidence) -> str:
    return record.build(evidence, facts(), Rates()).said.answers[-1].answer


def test_a_change_is_due_to_what_is_not_the_same() -> None:
    before, after = costly([cell("not-found", 9)]), costly([cell("not-found", 2)])
    two = msgspec.structs.replace(flask_evidence(), measurements=BothMeasurements(before=before, after=after))
    assert "1 other package was held equal, so what changes is due to flask." in sure(two)
    pythons = msgspec.structs.replace(
        two, before=side("flask", "3.1.3"), after=side("flask", "3.1.3", python="3.13")
    )
    assert "held equal, so what changes is due to Python." in sure(pythons)
    asked = (Difference("werkzeug", "3.1.1", "3.1.3", "varied", asked=True),)
    both = msgspec.structs.replace(two, before=two.after, differences=asked)
    assert "held equal, so what changes is due to werkzeug." in sure(both)
    assert "due to" not in sure(flask_evidence())


def test_an_error_that_rounds_to_nothing_is_none() -> None:
    phases = (phase(503, survivors=1006), phase(1009, survivors=2019))
    assert 0 < errors(cell("not-found", 2, phases=phases))[1] < 0.05
    both = costly([cell("not-found", 2, phases=phases)])
    evidence = msgspec.structs.replace(
        flask_evidence(), measurements=BothMeasurements(before=both, after=both)
    )
    assert "Objects were counted exactly on both sides" in sure(evidence)


@pytest.mark.parametrize("name", REPORTS)
def test_markdown(name: str) -> None:
    same_as_golden(f"report-{name}.md", markdown.render(REPORTS[name]()))


def test_markdown_fits_a_comment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markdown, "LONGEST", 4000)
    text = markdown.render(aiohttp_report())
    assert len(text) < 4000
    assert text.endswith("\nThe tables are too long for a comment: see the page of this report.\n")


class TestBuild:
    def test_what_the_catalogue_says_today_counts(self) -> None:
        """The evidence is from before the release was yanked."""
        found = record.build(aiohttp_evidence(yanked=False), facts(yanked=True), Rates())
        assert found.judgement.overall.verdict == "WITHDRAWN"
        assert found.judgement.nearest == "3.11.15"
        assert found.comparison.after.release.yanked_reason == REASON

    def test_claims_are_held_against_their_own_step(self) -> None:
        held = {one.release: one for one in aiohttp_report().held}
        assert held["3.10.11"].span == "3.10.10 → 3.11.14"  # 3.10.11 is not in this history
        assert held["3.11.14"].span == "3.10.10 → 3.11.14"
        assert held["3.10.11"].seen == "partly"
        assert held["3.10.11"].evidence.endswith("; 2 other releases may have contributed")
        assert held["3.11.14"].seen == "not seen"

    def test_a_claim_that_the_history_cannot_judge_is_held_against_the_pair(self) -> None:
        evidence = aiohttp_evidence()
        more = BothMeasurements(
            before=(
                *evidence.measurements.before,
                *costly([cell("gateway-refused", 9, connection="keep-alive")]),
            ),
            after=(
                *evidence.measurements.after,
                *costly([cell("gateway-refused", 0, connection="keep-alive")]),
            ),
        )
        known = facts()
        found = record.build(msgspec.structs.replace(evidence, measurements=more), known, Rates())
        clients = next(one for one in found.held if "ClientSession" in one.claim.text)
        assert known.history.of(()).step_to(clients.release)
        assert (clients.seen, clients.span) == ("partly", "3.10.10 → 3.11.14")
        assert clients.evidence.startswith("less is left: gateway-refused 9 → 0 objects; ")

    def test_the_history_is_of_what_changed(self) -> None:
        found = {(one.scenario, one.connection) for one in aiohttp_report().history}
        assert found == {
            (scenario, connection)
            for scenario in ("not-found", "upload-method-not-allowed")
            for connection in ("keep-alive", "close")
        }


class TestNames:
    def test_a_python_is_always_named(self) -> None:
        assert record.name(aiohttp_evidence()) == "3.10.10-to-3.11.14-py3.11"

    def test_what_was_varied_is_named(self) -> None:
        evidence = aiohttp_evidence()
        asked = msgspec.structs.replace(evidence.differences[0], asked=True)
        varied = msgspec.structs.replace(evidence, differences=(asked,))
        assert record.name(varied) == "3.10.10+multidict-6.1.0-to-3.11.14+multidict-6.2.0-py3.11"

    def test_two_pythons(self) -> None:
        evidence = flask_evidence()
        stack = msgspec.structs.replace(evidence.after.stack, python="3.13")
        varied = msgspec.structs.replace(evidence, after=msgspec.structs.replace(evidence.after, stack=stack))
        assert record.name(varied) == "2.3.3-py3.11-to-3.1.3-py3.13"


class TestFiles:
    def test_json_has_it_all_and_reads_back(self, tmp_path: Path) -> None:
        report = aiohttp_report()
        path = tmp_path / "report.json"
        path.write_bytes(report.to_json())
        assert read(path) == aiohttp_evidence()
        assert msgspec.json.decode(path.read_bytes(), type=Report) == report

    @pytest.mark.parametrize("name", REPORTS)
    def test_json_is_as_its_schema_says(self, name: str) -> None:
        report = REPORTS[name]()
        fields = record.json_schema()["$defs"]["Report"]["properties"]
        assert set(json.loads(report.to_json())) == set(fields)
        assert msgspec.json.decode(report.to_json(), type=Report) == report

    def test_all_three_are_written_and_the_same_evidence_keeps_its_date(self, tmp_path: Path) -> None:
        project = checkout(tmp_path / "checkout")
        _, page = write.write(project, record.build(aiohttp_evidence(), facts(), Rates()))
        names = [f"3.10.10-to-3.11.14-py3.11.{suffix}" for suffix in ("html", "json", "md")]
        assert sorted(path.name for path in page.parent.iterdir()) == names
        first = {name: (page.parent / name).read_bytes() for name in names}
        later = msgspec.structs.replace(aiohttp_evidence().provenance, created="2027-01-01T00:00:00+00:00")
        write.write(
            project,
            record.build(msgspec.structs.replace(aiohttp_evidence(), provenance=later), facts(), Rates()),
        )
        assert {name: (page.parent / name).read_bytes() for name in names} == first

    def test_other_evidence_has_its_own_date(self, tmp_path: Path) -> None:
        project = checkout(tmp_path / "checkout")
        write.write(project, record.build(aiohttp_evidence(), facts(), Rates()))
        evidence = aiohttp_evidence()
        fewer = BothMeasurements(
            before=evidence.measurements.before[1:], after=evidence.measurements.after[1:]
        )
        later = msgspec.structs.replace(evidence.provenance, created="2027-01-01T00:00:00+00:00")
        changed = msgspec.structs.replace(evidence, measurements=fewer, provenance=later)
        report, _ = write.write(project, record.build(changed, facts(), Rates()))
        assert report.provenance.created == later.created


def stored() -> dict[str, Any]:
    test = load_comparisons.measured()
    report = msgspec.structs.replace(aiohttp_report(), loads=Loads(before=(test,), after=(test,)))
    found: dict[str, Any] = json.loads(report.to_json())
    return found


def damage(**changes: object) -> Callable[[dict[str, Any]], None]:
    """Return what sets fields, `a__b` is field b of field a; a value of ... takes the field away."""

    def apply(document: dict[str, Any]) -> None:
        for name, value in changes.items():
            *way, last = name.split("__")
            place: Any = document
            for step in way:
                place = place[int(step) if step.isdigit() else step]
            if value is ...:
                del place[last]
            else:
                place[last] = value

    return apply


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (damage(schema_version=0), "has schema version 0, this is 1: make it again"),
            (damage(schema_version=...), "is not a report: Object missing required field `schema_version`"),
            (damage(measurements=...), "is not a report: Object missing required field `measurements`"),
            (
                damage(comparison__before__stack__release="../../x"),
                "is not a report: '../../x' is not a version",
            ),
            (damage(comparison__after__release__framework="flask"), "is not a stack; make it again"),
            (damage(comparison__after__stack__python="3.11\nx"), "'aiohttp, aiohttp, 3.11 x' is not a stack"),
            (damage(provenance__created="<today>"), "is not a report: '<today>' is not a time"),
            (
                damage(measurements__before__0__survivors_per_request=1e300),
                "survivors_per_request is 1e+300: no measured number is so large",
            ),
            (
                damage(measurements__before__0__peak_rss_bytes=10**400),
                "peak_rss_bytes is 1e+300: no measured number is so large",
            ),
            (damage(loads__before=[]), "is not a report: its load tests are not in pairs"),
            (damage(loads__after__0__scenarios=[]), "is not a report: a load test has no latencies"),
            (damage(loads__after__0__throughput=1e300), "throughput is 1e+300: no measured number"),
            (damage(measurements__before__0__growth="huge"), "Invalid enum value 'huge'"),
        ],
    )
    def test_in_one_line(self, tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str) -> None:
        document = stored()
        change(document)
        path = tmp_path / "report.json"
        path.write_text(json.dumps(document))
        with pytest.raises(FaultError) as caught:
            read(path)
        assert said in str(caught.value)
        assert str(caught.value).startswith(f"{path} ")
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("end", [0, 1, 100, -2])
    def test_a_truncated_file(self, tmp_path: Path, end: int) -> None:
        path = tmp_path / "report.json"
        path.write_bytes(aiohttp_report().to_json()[:end])
        with pytest.raises(FaultError, match=r"is not a report: .*; make it again with `outlive report`$"):
            read(path)

    def test_text_that_is_no_text(self, tmp_path: Path) -> None:
        path = tmp_path / "report.json"
        path.write_bytes(b"\xff\xfe".join(aiohttp_report().to_json().rsplit(b"asyncio", 1)))
        with pytest.raises(FaultError, match="is not a report: "):
            read(path)
