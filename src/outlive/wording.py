"""Formats numbers and lists in the same way everywhere: small pure functions, one decision each."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

ARROW = "→"
NO_VERSION = "none"
USERINFO = re.compile(r"(?<=://)[^/@\s]+@")
"""The name and the password in an address, which are never shown."""
LONGEST = 300  # characters of a foreign text, such as the reason for a yank


def number(value: float) -> str:
    """Return `value` as an integer if it is one, else with only the meaningful decimals."""
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    if value == int(value):
        return str(int(value))
    if abs(value) < 0.001:
        return "<0.001" if value > 0 else ">-0.001"
    decimals = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.01 else 3
    return f"{value:.{decimals}f}".rstrip("0").rstrip(".")


def decimal(value: float) -> str:
    """Return `value` with all digits and without an exponent, as options accept it."""
    return f"{value:.12f}".rstrip("0").rstrip(".")


def signed(value: float) -> str:
    """Return `value` as `number` does, with its sign; zero has none."""
    return f"+{number(value)}" if value > 0 else number(value)


def size(value: float) -> str:
    """Return a number of bytes in B, KiB, MiB or GiB."""
    if abs(value) < 1024:
        return f"{number(round(value))} B"
    if abs(value) < 1024**2:
        return f"{value / 1024:.1f} KiB"
    if abs(value) < 1024**3:
        return f"{value / 1024**2:.1f} MiB"
    return f"{value / 1024**3:.1f} GiB"


def pause(value: float) -> str:
    """Return milliseconds with one decimal: more would be noise."""
    return f"{value:.1f}"


def step(before: str, after: str) -> str:
    """Return `before → after`, or one of them if they are the same."""
    return before if before == after else f"{before} {ARROW} {after}"


def through(first: str, last: str) -> str:
    """Return a range such as `3.8.3 to 3.10.10`, or one of them if they are the same."""
    return first if first == last else f"{first} to {last}"


def counted(count: float | str, noun: str, plural: str = "") -> str:
    """Return `1 cell`, `2 cells`; if the count is a text such as `2 → 1`, its last number decides."""
    text = count if isinstance(count, str) else number(count)
    if text.split()[-1] == "1":
        return f"{text} {noun}"
    return f"{text} {plural or (f'{noun}es' if noun.endswith('s') else f'{noun}s')}"


def does(count: float, verb: str, singular: str = "") -> str:
    """Return the verb for this many things: `leaves` if one does it, else `leave`."""
    return (singular or f"{verb}s") if count == 1 else verb


def listed(names: Sequence[str], most: int | None = None) -> str:
    """Return `a, b and c`; if there are more than `most`, the first ones `and 5 more`."""
    if most is not None and len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def capital(text: str) -> str:
    """Return `text` with a capital letter at its start."""
    return text[:1].upper() + text[1:]


def one_line(text: str) -> str:
    """Return a foreign text as one printable line without control characters, at most LONGEST long."""
    printable = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(printable.split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


NEVER = "never"
NONE = "–"  # noqa: RUF001 - a dash in a table, for no value


def about(value: float | None) -> str:
    """Return a number with about three digits: `1,240`, `98.1`, `0.52`; a dash for None."""
    if value is None:
        return NONE
    if abs(value) >= 1e9:
        return f"{value:.2e}"
    if abs(value) >= 99.95:
        return f"{value:,.0f}"
    if abs(value) >= 9.995:
        return f"{value:.1f}"
    return "0" if abs(value) < 0.005 else f"{value:.2f}"


def span(hours: float | None) -> str:
    """Return a time as `13 min`, `5.9 h` or `12 days`; `never` for None."""
    if hours is None:
        return NEVER
    if hours * 60 < 1:
        return "under 1 min"
    if hours < 2:
        return f"{hours * 60:.0f} min"
    if hours < 72:
        return f"{hours:.1f} h"
    days = hours / 24
    return f"{days:,.0f} days" if days < 3650 else "over 10 years"


FEW = 6  # words that fit on a line


def nearest(word: str, candidates: Iterable[str]) -> str:
    """Return the (up to three) candidates most like `word`; if none is, all of a few, or the closest."""
    words = list(candidates)
    few = words if len(words) <= FEW else get_close_matches(word, words, n=3, cutoff=0.0)
    return ", ".join(get_close_matches(word, words, n=3, cutoff=0.4) or few)
