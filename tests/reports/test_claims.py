from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from packaging.version import Version

from comparisons import cell, compared
from outlive.comparison.cells import Row
from outlive.errors import FaultError
from outlive.project import Project
from outlive.records.measurement import Measurement
from outlive.records.release import Release
from outlive.releases import claims, frameworks
from outlive.releases.changelog import parse
from outlive.releases.claims import Changelog, Claim, between, of_releases, pick, speaks
from outlive.reports.claims import Span, about, hold

NAMES = (
    "ok",
    "not-found",
    "method-not-allowed",
    "handler-error",
    "upload",
    "abort-upload",
    "malformed-request",
)
CHECKOUT = Project(Path(__file__).parents[2])
RULES = frameworks.load(CHECKOUT, "aiohttp").changelog
ONE_STEP = Span("3.11.13", "3.11.14", 0)


def release(version: str) -> Release:
    uploaded = dt.datetime(2024, 1, 2, tzinfo=dt.UTC)
    return Release("aiohttp", version, uploaded, None, False, None, ("py3",), sdist=True)


def claim(text: str) -> Claim:
    (found,) = pick(parse(f"1.0\n===\n\nBug fixes\n---------\n\n- {text}\n"), Version("1.0"), RULES)
    return found


def rows(*changes: tuple[str, float, float]) -> tuple[Row, ...]:
    before: list[Measurement] = [cell("ok", 0)]
    after = [cell("ok", 0)]
    for name, early, late in changes:
        before.append(cell(name, early))
        after.append(cell(name, late))
    return compared(before, after).rows


def seen(text: str, *changes: tuple[str, float, float], span: Span = ONE_STEP) -> tuple[str, str]:
    found = hold("3.11.14", claim(text), rows(*changes), span)
    return found.seen, found.evidence


@pytest.mark.parametrize(
    "text",
    [
        "Break cyclic references when there is an exception handling a request.",
        "Fixed memory leak in headers",
        "Fixed a reference cycle between X and Y",
        "Now only holds a weak reference to the reader",
        "Fixed being garbage collected",
        "Fixed system routes polluting the middleware cache.",
        "In better performance and memory use",
    ],
)
def test_entries_that_speak_of_memory(text: str) -> None:
    assert [one.text for one in pick(parse(f"1.0\n---\n\n- {text}\n"), Version("1.0"), RULES)] == [text]


@pytest.mark.parametrize(
    "text",
    [
        "Update documentation reference in the guide",
        "Improved performance of the request lifecycle",
        "Thanks to Cycloctane",
        "Limit the impact if the secret key leaks",
        "Passing memoryview works",
        "Fixed server checks for circular symbolic links",
    ],
)
def test_entries_that_do_not(text: str) -> None:
    assert not pick(parse(f"1.0\n---\n\n- {text}\n"), Version("1.0"), RULES)


def test_documentation_of_a_leak_is_no_claim() -> None:
    (entry,) = parse("1.0\n---\n\nImproved documentation\n~~~~~~~~~~\n\n- Explain memory leaks\n")
    assert not speaks(entry)


def test_a_long_entry_is_cut() -> None:
    text = f"1.0\n---\n\n- Leak {'very ' * 400}long\n"
    (one,) = pick(parse(text), Version("1.0"), RULES)
    assert len(one.text) == claims.LONGEST_CLAIM
    assert one.text.endswith("…")


@pytest.mark.parametrize(
    ("text", "scenarios"),
    [
        ("a leak for 404", {"not-found"}),
        ("system routes polluting the cache", {"not-found", "method-not-allowed"}),
        ("cycles in an exception", {"not-found", "method-not-allowed", "handler-error"}),
        ("a leak when the connection was lost", {"abort-upload", "malformed-request"}),
        ("a leak in multipart", {"upload", "abort-upload"}),
        ("a leak", set(NAMES) - {"ok"}),
    ],
)
def test_what_a_claim_is_about(text: str, scenarios: set[str]) -> None:
    assert set(about(claim(text), NAMES)) == scenarios


NOT_MEASURED = "no scenario that it concerns was measured"


class TestHeld:
    def test_confirmed(self) -> None:
        assert seen("cycles after a 404", ("not-found", 40, 0), ("upload", 5, 5)) == (
            "confirmed",
            "less is left: not-found 40 → 0 objects",
        )

    def test_a_leak_that_is_gone_is_confirmed_though_cycles_are_left(self) -> None:
        before = [cell("ok", 0), cell("not-found", 50, 44)]
        found = compared(before, [cell("ok", 0), cell("not-found", 45)]).rows
        assert hold("1", claim("a leak for 404"), found, ONE_STEP).seen == "confirmed"

    def test_most_of_it_left_is_partly(self) -> None:
        assert seen("Break cycles after a 404", ("not-found", 47, 43)) == (
            "partly",
            "less is left in 1 of 1 cell: not-found 47 → 43 objects",
        )

    def test_some_better_some_worse_is_partly(self) -> None:
        changes = (("not-found", 40, 0), ("handler-error", 5, 9))
        assert seen("cycles in an exception", *changes) == (
            "partly",
            "less is left in 1 of 2 cells: not-found 40 → 0 objects; more: handler-error 5 → 9 objects",
        )

    def test_what_changes_as_ok_does_is_told_with_all_that_is_left(self) -> None:
        before = [cell("ok", 28), cell("not-found", 28)]
        found = compared(before, [cell("ok", 0), cell("not-found", 0)]).rows
        held = hold("1", claim("cycles after a 404"), found, ONE_STEP)
        assert held.evidence == "less is left: not-found 28 → 0 objects"

    def test_what_only_connections_leave_counts_as_a_cell_that_left_something(self) -> None:
        before, after = (
            [
                cell("ok"),
                cell("not-found", objects),
                cell("upload", objects, connection="keep-alive", survivors_per_connection=per_connection),
                cell("upload", connection="keep-alive", gc="on", leaked_per_connection=per_connection),
            ]
            for objects, per_connection in ((4, 9.0), (4, 2.0))
        )
        held = hold("1", claim("a leak"), compared(before, after).rows, ONE_STEP)
        assert held.evidence == "less is left in 2 of 3 cells: upload 9 → 2 objects per connection"

    def test_what_is_in_no_object_is_told_as_what_it_is(self) -> None:
        before, after = (cell("not-found", 7, blocks_per_request=blocks) for blocks in (15.0, 19.5))
        held = hold("1", claim("a leak for 404"), compared([before], [after]).rows, ONE_STEP)
        assert held.evidence == "more is left: not-found 15 → 19.5 blocks of memory"

    def test_nothing_changed(self) -> None:
        assert seen("cycles after a 404", ("not-found", 40, 40), ("upload", 9, 0)) == (
            "not seen",
            "no difference in not-found",
        )

    def test_contradicted(self) -> None:
        assert seen("a leak for 404", ("not-found", 40, 45)) == (
            "contradicted",
            "more is left: not-found 40 → 45 objects",
        )

    def test_a_little_more_does_not_contradict(self) -> None:
        """What a fix has of its own is no word against it."""
        assert seen("a leak for 404", ("not-found", 40, 42)) == (
            "not seen",
            "a little more is left: not-found 40 → 42 objects",
        )

    def test_over_many_releases_nothing_is_contradicted(self) -> None:
        found = seen("a leak for 404", ("not-found", 40, 42), span=Span("3.8", "3.12", 30))
        assert found == (
            "not seen",
            "more is left: not-found 40 → 42 objects; 30 other releases may have caused it",
        )

    def test_what_is_about_clients_is_no_matter_of_a_servers_requests(self) -> None:
        assert seen("a leak in the ClientSession connector", ("not-found", 40, 0)) == (
            "not seen",
            f"{NOT_MEASURED} (gateway-*, test-client*, session*)",
        )

    def test_what_is_about_clients_is_held_against_their_scenarios(self) -> None:
        changes = (("not-found", 40, 40), ("gateway-refused", 9, 0), ("websocket-abort", 5, 5))
        assert seen("a leak in the ClientSession connector", *changes) == (
            "confirmed",
            "less is left: gateway-refused 9 → 0 objects",
        )
        assert seen("a leak of a client's WebSocket", *changes) == (
            "not seen",
            "no difference in websocket-abort",
        )

    def test_what_was_not_measured(self) -> None:
        assert seen("a leak for 405", ("not-found", 40, 0)) == (
            "not seen",
            NOT_MEASURED,
        )


class TestChangelogs:
    TEXTS = (
        ("a-3.tar.gz", "3.0\n---\n\n- Fixed a leak #1\n\n2.0\n---\n\n- Other\n"),
        ("a-2.tar.gz", "2.0\n---\n\n- A leak #2\n\n1.0\n---\n\n- Cycles are gone\n"),
    )

    def test_the_newest_that_names_a_release_counts(self) -> None:
        found = of_releases([release(v) for v in ("0.9", "1.0", "2.0", "3.0")], self.TEXTS, "lost", RULES)
        assert [(one.release, one.source, one.reason, len(one.claims)) for one in found] == [
            ("0.9", None, "lost", 0),
            ("1.0", "a-2.tar.gz", None, 1),
            ("2.0", "a-3.tar.gz", None, 0),
            ("3.0", "a-3.tar.gz", None, 1),
        ]

    def test_between_two_releases(self) -> None:
        logs = of_releases([release(v) for v in ("3.0", "1.0", "2.0rc1", "2.0")], self.TEXTS, "lost", RULES)

        def versions(before: str, after: str) -> list[str]:
            return [one.release for one in between(logs, release(before), release(after))]

        assert versions("1.0", "3.0") == ["2.0", "3.0"]
        assert versions("3.0", "1.0") == versions("2.0", "2.0") == []

    def test_they_are_kept_one_a_line(self, tmp_path: Path) -> None:
        project = Project(tmp_path)
        logs = of_releases([release("2.0"), release("3.0")], self.TEXTS, "lost", RULES)
        claims.save(project, "aiohttp", logs)
        assert claims.load(project, "aiohttp") == logs
        assert len(claims.path(project, "aiohttp").read_text().splitlines()) == 4

    def test_none_are_known_without_a_file(self, tmp_path: Path) -> None:
        assert claims.load(Project(tmp_path), "aiohttp") is None

    def test_a_damaged_file_is_told(self, tmp_path: Path) -> None:
        project = Project(tmp_path)
        claims.save(project, "aiohttp", [Changelog(release="1", source=None, reason="x", claims=())])
        path = claims.path(project, "aiohttp")
        path.write_text(path.read_text()[:20])
        with pytest.raises(
            FaultError, match=r"claims\.json is not a file of claims: Input data was truncated"
        ):
            claims.load(project, "aiohttp")
