"""What changelogs claim about memory, and whether it was measured. Pure but for reading and writing the file.

The claims of a framework are `releases/<framework>/claims.json`, one release a line; `packages` gets
them from the released packages. A claim is an entry that speaks of leaks, cycles, references, memory or
garbage (`SPEAKS`), outside of sections about documentation and such (`ASIDE`).

Each is about some scenarios (`ABOUT`, by the words it uses; all where it says nothing) and is held against
what was measured of them from the release before it to its own, or where nothing was, of the pair. Cells are
as `outlive.comparison.cells` judges them:

- `contradicted`: some got worse, none better.
- `confirmed`: each cell that left objects before got better, none worse; what leaked leaks no longer, and of
  the rest at most MOST_LEFT of what it left is still left.
- `partly`: some got better; or all, but other releases are in between that may have had a part in it.
- `not seen`: all else: nothing changed, other releases may have made it worse, or none of the scenarios that
  it is about was measured, as is often so of clients, cookies and WebSockets (`Claim.elsewhere`), which are
  no part of the default set.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
from packaging.version import Version

from outlive.errors import FaultError
from outlive.files import write_text
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
    """One entry of a release's changelog that speaks of memory. `text` is at most LONGEST_CLAIM long.

    `elsewhere` are patterns of the scenarios that would show it, where it is not about a server's requests.
    """

    text: str
    section: str
    issues: tuple[int, ...]
    elsewhere: tuple[str, ...] = ()


class Changelog(msgspec.Struct, frozen=True, kw_only=True):
    """What the changelog of one release claims. `source` is the released file it was read in.

    Where it could not be had, `source` is None and `reason` says why.
    """

    release: str
    source: str | None
    reason: str | None
    claims: tuple[Claim, ...]


def pick(entries: Iterable[Entry], version: Version, rules: ChangelogRules) -> tuple[Claim, ...]:
    """Return the entries of one version that speak of memory, as claims."""
    elsewhere = [(re.compile(rule.words, re.IGNORECASE), rule.scenarios) for rule in rules.elsewhere]
    found = []
    for entry in entries:
        if Version(entry.version) == version and speaks(entry):
            text = entry.text
            if len(text) > LONGEST_CLAIM:
                text = f"{text[: LONGEST_CLAIM - 1].rstrip()}…"
            scenarios = next((scenarios for words, scenarios in elsewhere if words.search(text)), ())
            found.append(Claim(text=text, section=entry.section, issues=entry.issues, elsewhere=scenarios))
    return tuple(dict.fromkeys(found))


def speaks(entry: Entry) -> bool:
    """Return whether an entry speaks of leaks, cycles, references, memory or garbage."""
    return bool(
        SPEAKS.search(entry.text) and not ASIDE.search(entry.section) and not NOT_MEMORY.search(entry.text)
    )


def of_releases(
    releases: Sequence[Release], texts: Sequence[tuple[str, str]], reason: str, rules: ChangelogRules
) -> tuple[Changelog, ...]:
    """Return what changelogs say of each release: the first of `texts` (source, text) that names it counts.

    `reason` is why there is nothing for the others, `rules` are the framework's.
    """
    before = rules.heading
    parsed = [
        (source, changelog.versions(text, before), changelog.parse(text, before)) for source, text in texts
    ]
    found = []
    for release in releases:
        for source, versions, entries in parsed:
            if release.parsed in versions:
                claims = pick(entries, release.parsed, rules)
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
