"""A report as GitHub's Markdown, short enough for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterator

from outlive.comparison.markdown import body
from outlive.comparison.noisy import load_text
from outlive.markdown import details, escape, table
from outlive.reports import remedies_text
from outlive.reports.claims import Held
from outlive.reports.record import Report
from outlive.reports.remedies_text import caption, missing, notes
from outlive.reports.verdict import SIGNS
from outlive.wording import about, capital, number, one_line, span, step

LONGEST = 65_000
"""Characters that a comment may have on GitHub, less some that it counts otherwise."""
MOST_CHARGES = 5  # lines of the bill


def render(report: Report) -> str:
    """Return the report as Markdown that ends in a newline. What does not fit is left out, and said so."""
    head = "\n".join(_head(report))
    parts = (_bill(report), _load(report), _relief(report), _claims(report), body(report.comparison))
    rest = "\n".join(line for part in parts for line in part)
    if len(head) + len(rest) > LONGEST:
        rest = "\nThe tables are too long for a comment: see the page of this report."
    return f"{head}\n{rest}\n"


def _head(report: Report) -> Iterator[str]:
    said = report.said
    yield f"### outlive: {escape(report.comparison.subject)}"
    yield ""
    yield f"**{SIGNS[said.verdict]} {said.verdict}** · {escape(said.means)} {escape(said.because)}"
    yield ""
    yield from (f"- {escape(line)}" for line in said.policies)
    yield ""
    yield f"**{escape(capital(said.changes))}**"
    yield ""
    if said.era:
        yield from (escape(said.era), "")
    yield " ".join(map(escape, (said.scope, said.sizes, said.python, said.origin)))
    yield ""
    yield from table(("", ""), [(one.question, one.answer) for one in said.answers])
    yield ""
    again = [said.repeat]
    again += [said.repeat_load] if report.loads.comparisons else []
    commands = (f"`{command.replace('`', '')}`" for command in again)
    yield f"Repeat it: {' and '.join(commands)}"


def _bill(report: Report) -> Iterator[str]:
    rates = report.bill.rates
    off = [one for one in report.bill.charges if one.gc == "off"]
    costly = sorted(off, key=lambda one: -max(one.before.mib_per_hour, one.after.mib_per_hour))
    if not costly or not costly[0].after.mib_per_hour + costly[0].before.mib_per_hour:
        return
    lines = [
        (
            f"{one.scenario}, {one.connection}",
            step(about(one.before.mib_per_hour), about(one.after.mib_per_hour)),
            step(span(one.before.hours), span(one.after.hours)),
            step(about(one.before.periodic), about(one.after.periodic)),
        )
        for one in costly[:MOST_CHARGES]
    ]
    traffic = (
        f"{number(rates.rate)} requests/s, {number(rates.errors * 100)} % failing, "
        f"{rates.workers} workers, {number(rates.limit / 2**20)} MiB"
    )
    yield from details(
        f"What it costs with gc off: {traffic} (estimates)",
        table(
            ("failures, all of one kind", "MiB per hour", "until the limit", "collect every"), lines, right=3
        ),
    )


def _load(report: Report) -> Iterator[str]:
    for one in report.loads.comparisons:
        overall, changed, _ = load_text.split(one)
        unsure = load_text.reasons([*overall, *changed])
        yield from details(
            f"Under load, gc {escape(one.deployment.gc)}",
            [
                *load_text.decisions([*overall, *changed]),
                "",
                f"{escape(load_text.traffic(one))}. *A/A*: the stack before against itself. {load_text.RULE}",
                *(f"- inconclusive: {escape(line)}" for line in unsure),
                *(f"- **{escape(line)}**" for line in load_text.warnings(one)),
            ],
        )


def _relief(report: Report) -> Iterator[str]:
    lines = [escape(missing(report))] if missing(report) else []
    if report.relief:
        found = report.relief.relief
        reasons = "; ".join(map(one_line, found.advice.reasons))
        loaded = any(remedies_text.tried(found, policy) for policy in remedies_text.POLICIES)
        legend = f"{remedies_text.LEGEND} {remedies_text.LOAD_LEGEND}" if loaded else remedies_text.LEGEND
        lines += [
            "",
            f"**{escape(remedies_text.taking(found))}**: {escape(reasons)}.",
            "",
            remedies_text.render(found),
            "",
        ]
        lines += [f"{escape(caption(found))}. {legend}", "", *(f"- {escape(note)}" for note in notes(found))]
    yield from details("If you cannot upgrade", lines)


def _claims(report: Report) -> Iterator[str]:
    lines = [_claim(held) for held in report.held]
    yield from details("What the changelog says, what was measured", [*lines, "", escape(report.said.claims)])


def _claim(held: Held) -> str:
    issues = "".join(f" `#{issue}`" for issue in held.claim.issues)
    said = escape(one_line(held.claim.text))
    seen = f"measured, {escape(held.span)}: {escape(held.evidence)}"
    return f"- **{held.seen}** · {escape(held.release)}{issues}: {said}<br>{seen}"
