"""Pages, plots and the static site: everything that turns a `reports.Report` into something to look at."""

from __future__ import annotations

from pathlib import Path

from outlive.comparison.sizes import Rates
from outlive.files import write_text
from outlive.pages import report_page
from outlive.project import Project
from outlive.report import markdown, record
from outlive.report.record import Evidence, Facts, Report


def write(project: Project, evidence: Evidence, known: Facts, rates: Rates) -> tuple[Report, Path]:
    """Write a report's JSON, Markdown and page under `results/reports`; return it and the page's path.

    Evidence that was reported before keeps its date, so that the same files come of it.
    """
    report = record.build(evidence, known, rates)
    base = record.folder(project, report.comparison.after.stack.framework) / report.name
    path = base.with_name(f"{base.name}.json")
    report = record.build(record.kept_provenance(path, evidence), known, rates)
    page = base.with_name(f"{base.name}.html")
    write_text(path, report.to_json().decode())
    write_text(base.with_name(f"{base.name}.md"), markdown.render(report))
    write_text(page, report_page.html(report))
    return report, page
