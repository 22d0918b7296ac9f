"""The report of a comparison as GitHub's Markdown, for a comment on a pull request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from outlive.comparison import lines
from outlive.comparison.cells import Row
from outlive.comparison.headline import Sentence
from outlive.comparison.pair import Compared, Comparison
from outlive.markdown import details, escape, table
from outlive.retention import changes_text
from outlive.wording import listed


def body(comparison: Comparison) -> Iterator[str]:
    """Yield the lines below the headline: what changed, then details."""
    significant = [row for row in comparison.rows if row.significant]
    if significant:
        yield ""
        yield from _rows(significant)
    summary = lines.same_summary(comparison)
    if summary:
        yield ""
        yield f"{lines.MARKS['same']}: {escape(summary)}."
    if counts := changes_text.summary(comparison.fingerprints):
        yield from ("", f"What keeps them alive: {counts}.")
        yield from _fingerprints(comparison)
    if files := lines.open_files(comparison):
        yield from details("Files that stay open until a collection", [f"- {escape(line)}" for line in files])
    if missing := lines.gaps(comparison):
        yield from details(
            f"Not compared: {len(comparison.unmeasured)}",
            [f"- {escape(gap.title)}<br>{escape(gap.cells)}" for gap in missing],
        )
    hidden = [row for row in comparison.rows if not row.significant]
    if hidden:
        yield from details(f"Cells without a change: {len(hidden)}", _rows(hidden))
    yield from details(
        "Releases and packages", about(comparison, (*lines.facts(comparison), *lines.peaks(comparison)))
    )


def bullets(sentences: Iterable[Sentence]) -> Iterator[str]:
    """Yield sentences as a list: each head, and its points below it."""
    for sentence in sentences:
        yield f"- {escape(sentence.head)}"
        yield from (f"  - {escape(point)}" for point in sentence.points)


def _rows(rows: Sequence[Row]) -> Iterator[str]:
    """Yield one table; objects per request, and the collector's work where one runs."""
    sections = lines.sections(rows)
    paused = any(section.paused for section in sections)
    heads = ("", "scenario", "connection", "gc", "before", "after", "MiB per hour", "freed")
    yield from table(
        (*heads, "pauses, ms") if paused else heads,
        (_cells(line, paused=paused) for section in sections for line in section.lines),
        right=4 + paused,
    )
    work = (
        "*Freed* (objects per request) and *pauses* (per 1000 requests) show" if paused else "*Freed* shows"
    )
    yield ""
    yield (
        "Objects per request: with gc off, all that are left; otherwise, those that no collection "
        f"frees. *MiB per hour* is an estimate for the traffic above. {work} the collector's work, at most; "
        f"{'they are' if paused else 'it is'} noisy."
    )


def _cells(line: lines.Line, *, paused: bool) -> tuple[str, ...]:
    collected = "off" not in line.policies
    return (
        lines.MARKS[line.direction],
        f"{line.scenario}, {line.note}" if line.note else line.scenario,
        listed(line.connections),
        listed(line.policies),
        line.before,
        line.after,
        line.hourly,
        line.freed if collected else "",
        *([line.pauses if collected else ""] if paused else []),
    )


def _fingerprints(comparison: Comparison) -> Iterator[str]:
    if changes := changes_text.told(comparison.fingerprints):
        yield ""
        yield from table(
            ("", "fingerprint", "objects per request", "scenarios", "suspect"),
            (
                (change.verdict, change.fingerprint, change.objects, change.where, change.suspect)
                for change in changes
            ),
        )


def about(compared: Compared, facts: Sequence[lines.Fact]) -> Iterator[str]:
    """Yield what is known of both sides, and which packages differ."""
    yield from table(("", "before", "after"), ((fact.name, fact.before, fact.after) for fact in facts))
    yield ""
    equal, *apart = lines.dependencies(compared)
    yield equal
    if apart:
        yield ""
    for line in apart:
        yield f"- {escape(line)}"
