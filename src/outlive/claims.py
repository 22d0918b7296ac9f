"""What changelogs claim about memory, and whether it was measured. Pure but for reading and writing the file.

The claims of a framework are `releases/<framework>/claims.json`, one release a line; `outlive.packages` gets
them from the released packages. A claim is an entry that speaks of leaks, cycles, references, memory or
garbage (`SPEAKS`), outside of sections about documentation and such (`ASIDE`).

Each is about some scenarios (`ABOUT`, by the words it uses; all where it says nothing) and is held against
what was measured of them from the release before it to its own, or where nothing was, of the pair. Cells are
as `outlive.rows` judges them:

- `contradicted`: some got worse, none better.
- `confirmed`: each cell that left objects before got better, none worse; what leaked leaks no longer, and of
  the rest at most MOST_LEFT of what it left is still left.
- `partly`: some got better; or all, but other releases are in between that may have had a part in it.
- `not seen`: all else: nothing changed, other releases may have made it worse, or none of the scenarios that
  it is about was measured, as is often so of clients, cookies and WebSockets (`OUTSIDE`), which are no part
  of the default set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import msgspec
from packaging.version import Version

from outlive import changelog
from outlive.changelog import Entry
from outlive.errors import FaultError
from outlive.project import Project
from outlive.releases import Release, write_text
from outlive.rows import BASELINE, Row
from outlive.verdict import way
from outlive.wording import counted, listed, number, step

Seen = Literal["confirmed", "partly", "not seen", "contradicted"]

MOST_LEFT = 0.5
"""Share of the objects above `ok` that a release may still leave for its claim to count as confirmed: one
that says that it breaks cycles and leaves most of them is right only in part."""
MOST_SCENARIOS = 3  # named as evidence beside a claim
LONGEST_CLAIM = 600  # characters that are kept of an entry

SPEAKS = re.compile(
    r"\bleak(?:s|ed|ing|age|y)?\b"
    r"|\b(?:cyclic|circular)\b"
    r"|\b(?:reference|garbage|exception|traceback)\s+cycles?\b|\bcycles\b"
    r"|\b(?:strong|weak|hard|dangling|extra|unneeded)\s+references?\b|\breferences?\s+to\b"
    r"|\bmemory\b|\bout-of-memory\b|\bgarbage\b|\bgc\b"
    r"|\bcache\b.*\bunbounded|\bunbounded\b.*\b(?:cache|growth)|\bpollut\w+\b.*\bcache",
    re.IGNORECASE | re.DOTALL,
)
ASIDE = re.compile(r"document|contributor|packag|typing|test", re.IGNORECASE)
NOT_MEMORY = re.compile(
    r"\b(?:secret|key|credential|password|token)s?\b.*\bleaks?\b|\brelease cycle|\bsymbolic links?\b"
    r"|\bcancellation leaking|\bmemory-constrained",
    re.IGNORECASE | re.DOTALL,
)

ABOUT: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(words, re.IGNORECASE), scenarios)
    for words, scenarios in (
        (r"\b404\b|not found|\bsystem routes?\b|match_?info", ("not-found",)),
        (
            r"\b405\b|method not allowed|not allowed method|\bsystem routes?\b",
            ("method-not-allowed", "upload-method-not-allowed"),
        ),
        (
            r"exceptions?\b|error handl|traceback",
            ("*-error", "bad-json", "not-found", "method-not-allowed", "upload-method-not-allowed"),
        ),
        (
            r"connections? (?:is |was |gets? )?(?:close|lost|drop)|disconnect|\baborted\b|cancel",
            ("abort-*", "truncated-body", "malformed-request"),
        ),
        (r"multipart|\buploads?\b|\bform\b", ("upload*", "abort-upload")),
        (r"\bparser\b|malformed|bad request", ("malformed-request", "truncated-body")),
        (r"\bstream(?:s|ed|ing)?\b|chunked", ("stream-error", "abort-response")),
        (r"\bjson\b", ("bad-json",)),
    )
)
OUTSIDE: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = tuple(
    (re.compile(words, re.IGNORECASE), scenarios)
    for words, scenarios in (
        (r"websocket", ("websocket*", "gateway-websocket*")),
        (r"\bcookies?\b|filter_cookies|CookieJar", ("*cookie*",)),
        (r"\bproxy\b", ("gateway-proxy*",)),
        (r"resolver|\bDNS\b", ("gateway-dns-failure", "gateway-new-host")),
        (
            r"\bclients?\b|Client(?:Session|Response)|\bconnectors?\b|TCPConnector|aiohttp\.request|\bsession\b",
            ("gateway-*", "test-client*", "session*"),
        ),
    )
)
"""What claims speak of beside a server's requests; the first that fits counts, whatever ABOUT would say."""


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a release's changelog that speaks of memory. `text` is at most LONGEST_CLAIM long."""

    text: str
    section: str
    issues: tuple[int, ...]


class Changelog(msgspec.Struct, frozen=True, kw_only=True):
    """What the changelog of one release claims. `source` is the released file it was read in.

    Where it could not be had, `source` is None and `reason` says why.
    """

    release: str
    source: str | None
    reason: str | None
    claims: tuple[Claim, ...]


class Span(msgspec.Struct, frozen=True):
    """Between which releases something was measured, and how many others came out between them."""

    before: str
    after: str
    others: int

    def __str__(self) -> str:
        return step(self.before, self.after)


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """A claim held against what was measured. `evidence` says on what, `span` between which releases.

    Where `measured` is false nothing was that it is about.
    """

    release: str
    claim: Claim
    seen: Seen
    evidence: str
    span: str
    measured: bool = True


def pick(entries: Iterable[Entry], version: Version) -> tuple[Claim, ...]:
    """Return the entries of one version that speak of memory, as claims."""
    found = []
    for entry in entries:
        if Version(entry.version) == version and speaks(entry):
            text = entry.text
            if len(text) > LONGEST_CLAIM:
                text = f"{text[: LONGEST_CLAIM - 1].rstrip()}…"
            found.append(Claim(text=text, section=entry.section, issues=entry.issues))
    return tuple(dict.fromkeys(found))


def speaks(entry: Entry) -> bool:
    """Return whether an entry speaks of leaks, cycles, references, memory or garbage."""
    return bool(
        SPEAKS.search(entry.text) and not ASIDE.search(entry.section) and not NOT_MEMORY.search(entry.text)
    )


def of_releases(
    releases: Sequence[Release], texts: Sequence[tuple[str, str]], reason: str
) -> tuple[Changelog, ...]:
    """Return what changelogs say of each release: the first of `texts` (source, text) that names it counts.

    `reason` is why there is nothing for the others.
    """
    parsed = [(source, changelog.versions(text), changelog.parse(text)) for source, text in texts]
    found = []
    for release in releases:
        for source, versions, entries in parsed:
            if release.parsed in versions:
                claims = pick(entries, release.parsed)
                found.append(Changelog(release=release.version, source=source, reason=None, claims=claims))
                break
        else:
            found.append(Changelog(release=release.version, source=None, reason=reason, claims=()))
    return tuple(found)


def between(logs: Iterable[Changelog], before: Release, after: Release) -> tuple[Changelog, ...]:
    """Return the changelogs of the releases after `before` up to `after`, lowest version first.

    Pre-releases do not count, and going back to an older release there are none.
    """
    inside = [
        (Version(log.release), log)
        for log in logs
        if before.parsed < Version(log.release) <= after.parsed and not Version(log.release).is_prerelease
    ]
    return tuple(log for _, log in sorted(inside, key=lambda pair: pair[0]))


def about(claim: Claim, names: Iterable[str]) -> tuple[str, ...]:
    """Return which of the scenarios a claim is about; all where its words name none."""
    patterns = outside(claim) or [one for words, found in ABOUT if words.search(claim.text) for one in found]
    known = tuple(dict.fromkeys(name for name in names if name != BASELINE))
    return tuple(name for name in known if not patterns or any(fnmatchcase(name, one) for one in patterns))


def outside(claim: Claim) -> tuple[str, ...]:
    """Return the scenarios of a claim that is about more than a server's requests; none of any other."""
    return next((found for words, found in OUTSIDE if words.search(claim.text)), ())


def hold(release: str, claim: Claim, rows: Sequence[Row], span: Span) -> Held:
    """Return a claim beside what `rows`, which are of `span`, show."""

    def held(seen: Seen, evidence: str) -> Held:
        return Held(release=release, claim=claim, seen=seen, evidence=evidence, span=str(span))

    names = about(claim, (row.scenario for row in rows))
    relevant = [row for row in rows if row.scenario in names]
    if not relevant:
        beyond = " (clients, cookies or WebSockets are no part of the default set)" if outside(claim) else ""
        evidence = f"none of the scenarios that it is about was measured{beyond}"
        return msgspec.structs.replace(held("not seen", evidence), measured=False)
    better = [row for row in relevant if way(row) == "better"]
    worse = [row for row in relevant if way(row) == "worse"]
    if worse and not better:
        more = f"more is left: {_examples(worse)}"
        if span.others:
            return held("not seen", f"{more}; {counted(span.others, 'other release')} may have done it")
        return held("contradicted", more)
    if not better:
        return held("not seen", f"no difference in {listed(names, MOST_SCENARIOS)}")
    others = f"; {counted(span.others, 'other release')} may have had a part in it" if span.others else ""
    if not worse and all(map(_cleared, relevant)):
        return held("partly" if others else "confirmed", f"less is left: {_examples(better)}{others}")
    leaving = sum(_left(row)[0] > 0 for row in relevant)
    but = f"; more: {_examples(worse)}" if worse else ""
    return held(
        "partly", f"less is left in {len(better)} of {leaving} cells: {_examples(better)}{but}{others}"
    )


def path(project: Project, framework: str) -> Path:
    """Return where the claims of `framework` are, or would be."""
    return project.releases / framework / "claims.json"


def load(project: Project, framework: str) -> tuple[Changelog, ...] | None:
    """Return the committed claims of `framework`, None where there is no file. Raises FaultError."""
    file = path(project, framework)
    try:
        return msgspec.json.decode(file.read_bytes(), type=tuple[Changelog, ...])
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FaultError(f"{file} is not a file of claims: {error}") from None


def save(project: Project, framework: str, logs: Sequence[Changelog]) -> None:
    """Write the claims of `framework`, whole or not at all."""
    lines = ",\n".join(msgspec.json.encode(log).decode() for log in logs)
    write_text(path(project, framework), f"[\n{lines}\n]\n")


def _left(row: Row) -> tuple[float, float]:
    """Return what a row leaves above `ok` before and after, or all of it where `ok` is not known."""
    before, after = row.before, row.after
    if before.above_ok is None or after.above_ok is None:
        return before.objects, after.objects
    return before.above_ok, after.above_ok


def _cleared(row: Row) -> bool:
    """Return whether a cell is rid of what it left, if it left anything."""
    before, after = _left(row)
    if before <= 0 and row.before.growth != "leak":
        return True
    if row.before.growth == "leak":
        return row.after.growth != "leak"
    return way(row) == "better" and after <= MOST_LEFT * before


def _examples(rows: Sequence[Row]) -> str:
    """Return the largest changes, one for each scenario, as in `not-found 47 → 43`."""
    most: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: -abs(row.judged_change)):
        most.setdefault(row.scenario, row)
    texts = [f"{name} {step(*map(number, _left(row)))}" for name, row in most.items()]
    return listed(texts, MOST_SCENARIOS)
