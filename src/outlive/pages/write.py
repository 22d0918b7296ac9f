"""The files of a report: its JSON, its Markdown and its page."""

from __future__ import annotations

from pathlib import Path

from outlive.files import write_text
from outlive.pages import report_page
from outlive.project import Project
from outlive.reports import markdown, record
from outlive.reports.record import Report


def write(project: Project, report: Report) -> tuple[Report, Path]:
    """Write a report's files to the user's results; return the report as written and the path of its page.

    A report on the same evidence as before keeps its date, so its files stay the same.
    """
    base = record.folder(project, report.comparison.after.stack.framework) / report.name
    path = base.with_name(f"{base.name}.json")
    report = record.dated(path, report)
    page = base.with_name(f"{base.name}.html")
    write_text(path, report.to_json().decode())
    write_text(base.with_name(f"{base.name}.md"), markdown.render(report))
    write_text(page, report_page.html(report))
    return report, page
