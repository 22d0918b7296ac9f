"""What changelogs claim about memory. Pure, except for reading and writing the file.

The claims of a framework are in `releases/<framework>/claims.json`, with one release a line; `packages`
extracts them from the released packages. A claim is an entry about leaks, cycles, references, memory or
garbage (`SPEAKS`) outside of sections about documentation and the like (`ASIDE`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from packaging.version import Version

from outlive.errors import FaultError
from outlive.files import JsonDocument, write_list
from outlive.project import Project
from outlive.records.release import Release
from outlive.releases import changelog
from outlive.releases.changelog import Entry
from outlive.releases.frameworks import ChangelogRules

LONGEST_CLAIM = 600  # characters that are kept of an entry

SPEAKS = re.compile(
    r"\bleak(?:s|ed|ing|age|y)?\b"
    r"|\b(?:cyclic|circular)\b"
    r"|\b(?:reference|garbage|exception|traceback)\s+cycles?\b|\bcycles\b"
    r"|\b(?:strong|weak|hard|dangling|extra|unneeded)\s+references?\b|\breferences?\s+to\b"
    r"|\bmemory\b|\bout-of-memory\b|\bgarbage\b|\bgc\b"
    r"|\bkeep(?:s|ing)?\s(?!(?:the\s|a\s)?connections?\b)(?:[\w-]+\s){1,4}alive\b"
    r"|\bcache\b.*\bunbounded|\bunbounded\b.*\b(?:cache|growth)|\bpollut\w+\b.*\bcache",
    re.IGNORECASE | re.DOTALL,
)
ASIDE = re.compile(r"document|contributor|packag|typing|test", re.IGNORECASE)
NOT_MEMORY = re.compile(
    r"\b(?:secret|key|credential|password|token)s?\b.*\bleaks?\b|\brelease cycle|\bsymbolic links?\b"
    r"|\bcancellation leaking|\bmemory-constrained",
    re.IGNORECASE | re.DOTALL,
)


class Claim(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry of a release's changelog about memory; `text` has at most LONGEST_CLAIM characters.

    `elsewhere` are patterns of the scenarios that would show it, if it is not about a server's requests.
    """

    text: str
    section: str
    issues: tuple[int, ...]
    elsewhere: tuple[str, ...] = ()


class Changelog(msgspec.Struct, frozen=True, kw_only=True):
    """What the changelog of one release claims; `source` is the released file from which it was read.

    Without a changelog `source` is None and `reason` says why.
    """

    release: str
    source: str | None
    reason: str | None
    claims: tuple[Claim, ...]


class ClaimsDocument(JsonDocument, frozen=True, kw_only=True):
    """What changelogs claim as JSON, by framework."""

    changelogs: dict[str, tuple[Changelog, ...]]


def pick(entries: Iterable[Entry], version: Version, rules: ChangelogRules) -> tuple[Claim, ...]:
    """Return the entries of one version that are about memory, as claims."""
    elsewhere = [(re.compile(rule.words, re.IGNORECASE), rule.scenarios) for rule in rules.elsewhere]
    claims = []
    for entry in entries:
        if Version(entry.version) == version and speaks(entry):
            text = entry.text
            if len(text) > LONGEST_CLAIM:
                text = f"{text[: LONGEST_CLAIM - 1].rstrip()}…"
            scenarios = next((scenarios for words, scenarios in elsewhere if words.search(text)), ())
            claims.append(Claim(text=text, section=entry.section, issues=entry.issues, elsewhere=scenarios))
    return tuple(dict.fromkeys(claims))


def speaks(entry: Entry) -> bool:
    """Return whether an entry is about leaks, cycles, references, memory or garbage."""
    return bool(
        SPEAKS.search(entry.text) and not ASIDE.search(entry.section) and not NOT_MEMORY.search(entry.text)
    )


def of_releases(
    releases: Sequence[Release], texts: Sequence[tuple[str, str]], reason: str, rules: ChangelogRules
) -> tuple[Changelog, ...]:
    """Return what changelogs claim of each release, by the first of `texts` (source, text) that names it.

    `reason` says why there is nothing for the others; `rules` are the framework's.
    """
    before = rules.heading
    parsed = [
        (source, changelog.versions(text, before), changelog.parse(text, before)) for source, text in texts
    ]
    logs = []
    for release in releases:
        for source, versions, entries in parsed:
            if release.parsed in versions:
                claims = pick(entries, release.parsed, rules)
                logs.append(Changelog(release=release.version, source=source, reason=None, claims=claims))
                break
        else:
            logs.append(Changelog(release=release.version, source=None, reason=reason, claims=()))
    return tuple(logs)


def between(logs: Iterable[Changelog], before: Release, after: Release) -> tuple[Changelog, ...]:
    """Return the changelogs of the releases after `before` up to `after`, lowest version first.

    Pre-releases do not count; if `after` is the older release, there are none.
    """
    inside = [
        (Version(log.release), log)
        for log in logs
        if before.parsed < Version(log.release) <= after.parsed and not Version(log.release).is_prerelease
    ]
    return tuple(log for _, log in sorted(inside, key=lambda pair: pair[0]))


def path(project: Project, framework: str) -> Path:
    """Return the path of the claims of `framework`, which need not exist."""
    return project.releases / framework / "claims.json"


def load(project: Project, framework: str) -> tuple[Changelog, ...] | None:
    """Return the committed claims of `framework`, or None without a file. Raises FaultError if damaged."""
    file = path(project, framework)
    try:
        return msgspec.json.decode(file.read_bytes(), type=tuple[Changelog, ...])
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FaultError(f"{file} is not a file of claims: {error}") from None


def save(project: Project, framework: str, logs: Sequence[Changelog]) -> None:
    """Write the claims of `framework`, as a whole or not at all."""
    write_list(path(project, framework), logs)
