"""lists."""

from __future__ import annotations

import msgspec

from outlive.history.timeline import Moment, Timeline
from outlive.reports.record import Report
from outlive.reports.verdict import Verdict


class ReportLine(msgspec.Struct, frozen=True):
    """A report as lists have it; `href` is relative to the site's folder, `own`: measured here, in part."""

    verdict: Verdict
    href: str
    subject: str
    because: str
    policies: str
    own: bool


def report_line(report: Report) -> ReportLine:
    """Return a report as lists have it."""
    judged = report.judgement.overall
    subject = report.comparison.subject
    stack = report.comparison.after.stack
    policies = " · ".join(f"gc {one.gc}: {one.judged.verdict.lower()}" for one in report.judgement.policies)
    href = f"{stack.framework}/{report.name}.html"
    sides = report.measurements
    own = any(not m.published for m in (*sides.before, *sides.after))
    return ReportLine(judged.verdict, href, subject, judged.because, policies, own)


def _newest(history: Timeline) -> Moment | None:
    return next((one for one in reversed(history.moments) if one.measurements), None)
