"""The Atom feed of reports."""

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
        statements, comparison = report.said, report.comparison
        href = f"{comparison.after.stack.framework}/{report.name}.html"
        answers = [f"{answer.question} {answer.answer}" for answer in statements.answers]
        entries.append(
            {
                "id": uuid.uuid5(NAMESPACE, href).urn,
                "title": _printable(f"{comparison.subject}: {statements.verdict}"),
                "updated": report.provenance.created,
                "href": href,
                "verdict": statements.verdict,
                "text": _printable("\n".join([f"{statements.means} {statements.because}", *answers])),
            }
        )
    template = environment().get_template("feed.xml.j2")
    return template.render(id=NAMESPACE.urn, entries=entries) + "\n"


def _printable(text: str) -> str:
    """Return a text with spaces for the characters that XML forbids."""
    return "".join(character if character.isprintable() or character == "\n" else " " for character in text)
