"""What `compare` and `report` share: two stacks, measured, as evidence."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console

from outlive.api import evidence
from outlive.api.selection import Selection
from outlive.commands.parts.own import AppOption
from outlive.commands.parts.progress import progress
from outlive.comparison.sizes import Rates
from outlive.errors import UsageError
from outlive.files import write_text
from outlive.loads import store
from outlive.project import Project, shown
from outlive.records.stack import Stack, is_stack
from outlive.reports import record
from outlive.reports.evidence import Evidence
from outlive.reports.record import Report
from outlive.tables import whole
from outlive.wording import one_line

open_option = click.option("--open", "opened", is_flag=True, help="Open the report's page in the browser.")


def two_stacks(words: Sequence[str]) -> tuple[Stack, Stack]:
    """Return the stacks that a command's words name. Raises UsageError."""
    if len(words) == 2 and all(map(is_stack, words)):
        return Stack.parse(words[0]), Stack.parse(words[1])
    if len(words) == 3 and not is_stack(words[0]):
        framework, before, after = words
        return Stack.parse(f"{framework}=={before}"), Stack.parse(f"{framework}=={after}")
    raise UsageError(
        "two releases are a framework and two versions (aiohttp 3.11.13 3.11.14) "
        "or two stacks (flask==3.1.3,python==3.11 flask==3.1.3,python==3.13)"
    )


def both_stacks(app: AppOption | None, words: Sequence[str]) -> tuple[Project, tuple[Stack, Stack]]:
    """Return the project and the two stacks that a command's words name. Raises UsageError."""
    return app.two(words) if app else (Project.find(), two_stacks(words))


def measured_pair(
    app: AppOption | None, words: Sequence[str], python: str | None, selection: Selection
) -> tuple[Project, Evidence]:
    """Measure the selected cells of both stacks, with progress on standard error."""
    project, stacks = both_stacks(app, words)
    named = (*app.words, *words) if app else ()
    with progress() as callbacks:
        return project, evidence.measured(project, stacks, python, selection, callbacks, words=named)


def write_report(project: Project, measured: Evidence, rates: Rates) -> tuple[Report, Path]:
    """Write a report as a page, Markdown and JSON; return it and the path of the page.

    Stored results that cannot be used are named on standard error.
    """
    from outlive.pages import write  # noqa: PLC0415 - templates take a tenth of a second to import

    facts = record.facts(project, measured.after.stack.framework)
    report = record.build(measured, facts, rates)
    errors = Console(stderr=True)
    for problem in (*facts.history.problems, *facts.reliefs.problems):
        whole(errors, f"left out: {one_line(problem)}")
    return write.write(project, report)


def write_copies(report: Report, json_file: Path | None, markdown_file: Path | None) -> None:
    """Write copies of a report to the requested files."""
    if json_file:
        write_text(json_file, report.to_json().decode())
    if markdown_file:
        from outlive.reports import markdown  # noqa: PLC0415 - as above

        write_text(markdown_file, markdown.render(report))


def write_load_page(words: Sequence[str]) -> Path:
    """Write a page of the load tests in these files to the user's reports; return its path.

    Raises UsageError if they belong to several stacks, and FaultError for a file that cannot be read.
    """
    from outlive.pages import load_view  # noqa: PLC0415 - as above

    files = [Path(word) for word in words]
    for file in files:
        if not file.exists():
            raise UsageError(f"{file}: there is no such file")
    tests = [test for file in files for test in store.read(file).measurements]
    if len({(test.framework, test.release, test.python) for test in tests}) != 1:
        raise UsageError("a page shows load tests of one release on one Python: name their records alone")
    several = f"-{len(files)}" if len(files) > 1 else ""
    page = record.folder(Project.find(), tests[0].framework) / f"load-{files[0].stem}{several}.html"
    write_text(page, load_view.html(tests))
    return page


def show_page(page: Path, console: Console, *, opened: bool) -> None:
    """Print the path of the page, and open it if `opened`."""
    whole(console, f"report: {shown(page)}")
    if opened:
        webbrowser.open(page.as_uri())
