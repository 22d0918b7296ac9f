"""The feed of reports, which feed readers follow (Atom)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import msgspec

from outlive.pages.lists import report_line
from outlive.pages.page import feed
from outlive.reports.record import Report
from outlive.reports.verdict import Verdict

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "outlive")


class Entry(msgspec.Struct, frozen=True):
    """One verdict of the feed."""

    id: str
    title: str
    updated: str
    href: str
    verdict: Verdict
    text: str


class Feed(msgspec.Struct, frozen=True):
    """The verdicts, newest first. `updated` is when the newest report was made."""

    id: str
    updated: str
    entries: tuple[Entry, ...]


def verdicts(reports: Sequence[Report]) -> str:
    """Return the Atom feed of verdicts."""
    newest = sorted(reports, key=lambda report: report.provenance.created, reverse=True)
    entries = []
    for report in newest:
        line = report_line(report)
        said = [f"{report.said.means} {report.said.because}"]
        said += [f"{one.question} {one.answer}" for one in report.said.answers]
        entries.append(
            Entry(
                id=uuid.uuid5(NAMESPACE, line.href).urn,
                title=_printable(f"{line.subject}: {line.verdict}"),
                updated=report.provenance.created,
                href=line.href,
                verdict=line.verdict,
                text=_printable("\n".join(said)),
            )
        )
    updated = entries[0].updated if entries else "1970-01-01T00:00:00+00:00"
    return feed(Feed(NAMESPACE.urn, updated, tuple(entries)))


def _printable(text: str) -> str:
    """Return a text without the characters that XML must not have."""
    return "".join(one if one.isprintable() or one == "\n" else " " for one in text)
