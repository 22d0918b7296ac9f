"""Reads changelogs as projects write them, in reStructuredText or Markdown, leniently. Pure.

It recognises headings that are versions (`3.11.14 (2025-03-16)`, `Version 2.0.3`, `## [1.2] - 2020`),
headings below them (`Bug fixes`), and entries that are list items. Everything else is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import msgspec
from packaging.version import Version

# Repetitions are bounded in patterns that are searched for everywhere in a text: its author may be malicious.
UNDERLINE = re.compile(r"([=\-~^#*+\"'`_.])\1{2,}\s*$")
MARKDOWN_HEADING = re.compile(r"#{1,6}\s+(.*)")
VERSION_HEADING = r"(?:{}version\s+|release\s+|v)?\[?(\d+(?:\.\d+)+[\w.]*)\]?(?!\w)"
ITEM = re.compile(r"(\s*)[-*+]\s+(\S.*)")

RELATED = re.compile(
    r"\*?Related (?:issues|commits|pull requests)[^:]{0,80}:\*?.*", re.IGNORECASE | re.DOTALL
)
AUTHOR = re.compile(r"\s{0,9}(?:--|—)\s{0,9}by\s{1,9}(?::user:`[^`]{0,80}`|@?[\w-]+|,|\s|and)+")
ROLE = re.compile(
    r":[\w:+.-]{1,40}:`(?P<tilde>~?)(?P<text>[^`<]{0,500}?)(?:\s{0,9}<(?P<target>[^>`]{0,500})>)?`"
)
RST_LINK = re.compile(r"`([^`<]{1,500}?)\s{0,9}<[^>`]{0,500}>`_{1,2}")
MARKDOWN_LINK = re.compile(r"\[([^\]]{1,500})\]\([^)\s]{0,500}\)")
LITERAL = re.compile(r"``([^`]*)``|`([^`]*)`_{0,2}")
EMPTY = re.compile(r"(?<!\w)\([\s,]{0,80}\)")

ISSUE_ROLE = re.compile(r":(?:issue|pr|pull|gh|ghpull|ghissue|ticket):`([^`]{1,80})`")
ISSUE_TEXT = re.compile(r"(?:(?<![\w&/])#|\bGH-|\b(?:issues|pull)/)(\d{1,6})\b", re.IGNORECASE)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a changelog; `version` and `section` are as written, `issues` are numbers in their order.

    `text` is the whole entry without markup, in one line.
    """

    version: str
    section: str
    text: str
    issues: tuple[int, ...]


def parse(text: str, before: str = "") -> tuple[Entry, ...]:
    """Return the entries of a changelog in their order; `before` is a word before versions in headings."""
    return tuple(_entries(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), _pattern(before)))


def versions(text: str, before: str = "") -> frozenset[Version]:
    """Return the versions for which a changelog has a heading; `before` is as in `parse`."""
    lines = text.splitlines()
    pattern = _pattern(before)
    named = (_version(heading, pattern) for at in range(len(lines)) if (heading := _heading(lines, at)))
    return frozenset(Version(version) for version in named if version)


def plain(markup: str) -> str:
    """Return a piece of markup as text in one line."""
    text = RELATED.sub("", markup)
    text = AUTHOR.sub("", text)
    text = ISSUE_ROLE.sub("", text)
    text = ROLE.sub(_role, text)
    text = RST_LINK.sub(lambda found: "" if ISSUE_TEXT.fullmatch(found[1]) else found[1], text)
    text = MARKDOWN_LINK.sub(lambda found: "" if ISSUE_TEXT.fullmatch(found[1]) else found[1], text)
    text = LITERAL.sub(lambda found: found[1] or found[2] or "", text)
    text = EMPTY.sub("", text)
    return re.sub(r" ([.,;:])", r"\1", " ".join(text.split())).strip()


def issues(markup: str) -> tuple[int, ...]:
    """Return the numbers of the issues and pull requests in a piece of markup, in their order."""
    found: list[tuple[int, int]] = []
    for role in ISSUE_ROLE.finditer(markup):
        found += [(role.start(), int(number)) for number in re.findall(r"\d{1,6}", role[1])]
    found += [(link.start(), int(link[1])) for link in ISSUE_TEXT.finditer(markup)]
    return tuple(dict.fromkeys(number for _, number in sorted(found)))


def _entries(lines: Sequence[str], pattern: re.Pattern[str]) -> Iterator[Entry]:
    version = section = ""
    item: list[str] = []
    indent = 0

    def done() -> Iterator[Entry]:
        markup = "\n".join(item)
        item.clear()
        if version and (text := plain(markup)):
            yield Entry(version=version, section=section, text=text, issues=issues(markup))

    at = 0
    while at < len(lines):
        line = lines[at]
        heading = _heading(lines, at)
        if heading:
            yield from done()
            if found := _version(heading, pattern):
                version, section = found, ""
            else:
                section = heading
            at += 1 if MARKDOWN_HEADING.match(line) else 2
            continue
        start = ITEM.match(line)
        if start and (not item or len(start[1]) <= indent):
            yield from done()
            item.append(start[2])
            indent = len(start[1])
        elif item and UNDERLINE.fullmatch(line):
            yield from done()
        elif item:
            item.append(line.strip())  # also if it is not indented, as some write it
        at += 1
    yield from done()


def _heading(lines: Sequence[str], at: int) -> str | None:
    """Return the heading that starts at a line, or None."""
    line = lines[at]
    if found := MARKDOWN_HEADING.match(line):
        return found[1].rstrip().rstrip("#").rstrip()
    if not line.strip() or line[0].isspace() or ITEM.match(line) or UNDERLINE.fullmatch(line):
        return None
    following = lines[at + 1] if at + 1 < len(lines) else ""
    return line.strip() if UNDERLINE.fullmatch(following) else None


def _pattern(before: str) -> re.Pattern[str]:
    return re.compile(VERSION_HEADING.format(rf"{re.escape(before)}\s+|" if before else ""), re.IGNORECASE)


def _version(heading: str, pattern: re.Pattern[str]) -> str | None:
    found = pattern.match(heading)
    try:
        return str(Version(found[1].rstrip("."))) if found else None
    except ValueError:
        return None


def _role(found: re.Match[str]) -> str:
    text = str(found["text"])
    return text.rpartition(".")[2] if found["tilde"] else text
