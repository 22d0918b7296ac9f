"""The feed of reports, which feed readers follow (Atom)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from outlive.pages.page import environment
from outlive.reports.record import Report

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_OID, "outlive")


def verdicts(reports: Sequence[Report]) -> str:
    """Return the Atom feed of verdicts, newest first."""
    newest = sorted(reports, key=lambda report: report.provenance.created, reverse=True)
    entries = []
    for report in newest:
        said, comparison = report.said, report.comparison
        href = f"{comparison.after.stack.framework}/{report.name}.html"
        answers = [f"{one.question} {one.answer}" for one in said.answers]
        entries.append(
            {
                "id": uuid.uuid5(NAMESPACE, href).urn,
                "title": _printable(f"{comparison.subject}: {said.verdict}"),
                "updated": report.provenance.created,
                "href": href,
                "verdict": said.verdict,
                "text": _printable("\n".join([f"{said.means} {said.because}", *answers])),
            }
        )
    template = environment().get_template("feed.xml.j2")
    return template.render(id=NAMESPACE.urn, entries=entries) + "\n"


def _printable(text: str) -> str:
    """Return a text without the characters that XML must not have."""
    return "".join(one if one.isprintable() or one == "\n" else " " for one in text)
