"""What lists of the site have in common."""

from __future__ import annotations

import msgspec

from outlive.history.timeline import Moment, Timeline
from outlive.pages.tally import Tally, tallies
from outlive.reports.record import Report
from outlive.reports.verdict import Verdict


class ReportLine(msgspec.Struct, frozen=True):
    """A report as lists have it; `href` is relative to the site's folder, `own`: measured here, in part."""

    verdict: Verdict
    href: str
    subject: str
    tallies: tuple[Tally, ...]
    own: bool


def report_line(report: Report) -> ReportLine:
    """Return a report as lists have it."""
    judged = report.judgement.overall
    subject = report.comparison.subject
    stack = report.comparison.after.stack
    href = f"{stack.framework}/{report.name}.html"
    sides = report.measurements
    own = any(not m.published for m in (*sides.before, *sides.after))
    return ReportLine(judged.verdict, href, subject, tallies(report.comparison.rows), own)


def _newest(history: Timeline) -> Moment | None:
    return next((one for one in reversed(history.moments) if one.measurements), None)
