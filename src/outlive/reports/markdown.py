"""A report as GitHub's Markdown, short enough for a comment on a pull request."""

from __future__ import annotations

import re
from collections.abc import Iterator

from outlive.comparison.markdown import body, bullets
from outlive.comparison.noisy import load_text
from outlive.markdown import details, escape, marked_up, table
from outlive.reports import remedies_text
from outlive.reports.answers import Answer
from outlive.reports.claims import Held
from outlive.reports.record import Report
from outlive.reports.remedies_text import caption, missing, notes
from outlive.reports.verdict import SIGNS
from outlive.wording import about, counted, number, one_line, span, step

LONGEST = 65_000
"""Most characters in a comment: GitHub's limit, with room for characters that it counts as more than one."""
MOST_CHARGES = 5  # lines of the bill


def render(report: Report) -> str:
    """Return the report as Markdown that ends in a newline. If it is too long, a note replaces the tables."""
    head = "\n".join(_head(report))
    parts = (
        _bill(report),
        _load(report),
        _relief(report),
        _claims(report),
        body(report.comparison),
    )
    rest = "\n".join(line for part in parts for line in part)
    if len(head) + len(rest) > LONGEST:
        rest = "\nThe tables are too long for a comment: see the page of this report."
    return f"{head}\n{rest}\n"


def _head(report: Report) -> Iterator[str]:
    statements = report.said
    yield f"### outlive: {escape(report.comparison.subject)}"
    yield ""
    verdict = f"**{SIGNS[statements.verdict]} {statements.verdict}**"
    instead = f" {escape(statements.because)}" if statements.verdict == "WITHDRAWN" else ""
    yield f"{verdict} · {escape(statements.means)}{instead}"
    yield ""
    yield from (f"- {escape(line)}" for line in statements.policies)
    yield ""
    yield "What changes:"
    yield ""
    yield from bullets(report.comparison.changes)
    if statements.era:
        yield f"- {escape(statements.era)}"
    yield ""
    context = (statements.scope, statements.sizes, statements.python, statements.origin)
    yield " ".join(map(escape, context))
    yield ""
    yield from marked_up(
        ("", ""), [(escape(answer.question), _cell(answer)) for answer in statements.answers]
    )
    yield ""
    commands = [statements.repeat, *([statements.repeat_load] if report.loads.comparisons else [])]
    quoted = (f"`{command.replace('`', '')}`" for command in commands)
    yield f"Repeat it: {' and '.join(quoted)}"


def _cell(answer: Answer) -> str:
    """Return an answer as a cell of a table, in which no list of Markdown can be."""
    bullet = "\u2022"
    return "<br>".join(escape(re.sub("^- ", f"{bullet} ", line)) for line in answer.lines)


def _bill(report: Report) -> Iterator[str]:
    rates = report.bill.rates
    off = [charge for charge in report.bill.charges if charge.gc == "off"]
    costly = sorted(off, key=lambda charge: -max(charge.before.mib_per_hour, charge.after.mib_per_hour))
    if not costly or not costly[0].after.mib_per_hour + costly[0].before.mib_per_hour:
        return
    lines = [
        (
            f"{charge.scenario}, {charge.connection}",
            step(about(charge.before.mib_per_hour), about(charge.after.mib_per_hour)),
            step(span(charge.before.hours), span(charge.after.hours)),
            step(about(charge.before.periodic), about(charge.after.periodic)),
        )
        for charge in costly[:MOST_CHARGES]
    ]
    traffic = (
        f"{number(rates.rate)} requests/s, {number(rates.errors * 100)} % failing, "
        f"{counted(rates.workers, 'worker')}, {number(rates.limit / 2**20)} MiB"
    )
    yield from details(
        f"What it costs with gc off: {traffic} (estimates)",
        table(
            ("failures, all of one kind", "MiB per hour", "until the limit", "collect every"), lines, right=3
        ),
    )


def _load(report: Report) -> Iterator[str]:
    for comparison in report.loads.comparisons:
        overall, changed, _ = load_text.split(comparison)
        unsure = load_text.reasons([*overall, *changed])
        traffic = escape(load_text.traffic(comparison))
        yield from details(
            f"Under load, gc {escape(comparison.deployment.gc)}",
            [
                *load_text.decisions([*overall, *changed]),
                "",
                f"{traffic}. *A/A*: the stack before against itself. {load_text.RULE}",
                *(f"- inconclusive: {escape(line)}" for line in unsure),
                *(f"- **{escape(line)}**" for line in load_text.warnings(comparison)),
            ],
        )


def _relief(report: Report) -> Iterator[str]:
    lines = [escape(missing(report))] if missing(report) else []
    if report.relief:
        relief = report.relief.relief
        reasons = "; ".join(map(one_line, relief.advice.reasons))
        loaded = any(remedies_text.tried(relief, policy) for policy in remedies_text.POLICIES)
        legend = f"{remedies_text.LEGEND} {remedies_text.LOAD_LEGEND}" if loaded else remedies_text.LEGEND
        lines += [
            "",
            f"**{escape(remedies_text.taking(relief))}**: {escape(reasons)}.",
            "",
            remedies_text.render(relief),
            "",
        ]
        lines += [f"{escape(caption(relief))}. {legend}", ""]
        lines += [f"- {escape(note)}" for note in notes(relief)]
    yield from details("If you cannot upgrade", lines)


def _claims(report: Report) -> Iterator[str]:
    lines = [_claim(held) for held in report.held]
    yield from details("What the changelog says, what was measured", [*lines, "", escape(report.said.claims)])


def _claim(held: Held) -> str:
    issues = "".join(f" `#{issue}`" for issue in held.claim.issues)
    text = escape(one_line(held.claim.text))
    evidence = f"measured, {escape(held.span)}: {escape(held.evidence)}"
    return f"- **{held.seen}** · {escape(held.release)}{issues}: {text}<br>{evidence}"
