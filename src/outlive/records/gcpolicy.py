"""gc policies: how a deployment uses Python's garbage collector, and the text that names each policy. Pure.

The policies are `on`, `off`, `freeze` (on, but it never looks at what start-up made), `periodic:N` (off, with
a full collection after every N requests) and `thresholds:A,B,C` (on, with these thresholds instead of
Python's). Options and records hold the text. Under every policy but `off`, a cell has exact leaks, no cyclic
garbage (it was collected), and a record of the collector's work.
"""

from __future__ import annotations

import re
from typing import Literal, cast

import msgspec

from outlive.errors import UsageError
from outlive.wording import one_line

Kind = Literal["on", "off", "freeze", "periodic", "thresholds"]

PLAIN = ("on", "off", "freeze")
EXAMPLES = {"periodic": "periodic:1000", "thresholds": "thresholds:50000,20,100"}
NUMBERS = re.compile(r"[0-9]+(,[0-9]+)*")
DIGITS = 9
"""Digits of a number that fits into the C int of CPython's thresholds."""


class GcPolicy(msgspec.Struct, frozen=True, order=True):
    """One policy; `numbers` are the requests between two collections, or the three thresholds."""

    kind: Kind
    numbers: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}:{','.join(map(str, self.numbers))}" if self.numbers else self.kind

    @classmethod
    def parse(cls, text: str) -> GcPolicy:
        """Return the policy that `text` names, as in `periodic:1000`.

        Raises UsageError if the text does not name one.
        """
        kind, _, rest = text.partition(":")
        if text in PLAIN:
            return cls(cast("Kind", text))
        example = EXAMPLES.get(kind)
        if example is None:
            raise UsageError(
                f"no gc policy {one_line(text)!r}; try {', '.join((*PLAIN, *EXAMPLES.values()))}"
            )
        if not NUMBERS.fullmatch(rest) or rest.count(",") != example.count(","):
            raise UsageError(f"gc policy {one_line(text)!r} does not have the form of {example}")
        if len(max(rest.split(","), key=len)) > DIGITS:
            raise UsageError(f"gc policy {one_line(text)!r}: a number has {DIGITS} digits at most")
        numbers = tuple(map(int, rest.split(",")))
        if numbers[0] == 0:
            raise UsageError(f"gc policy {text!r}: 0 means no collection at all, which is the policy off")
        return cls(cast("Kind", kind), numbers)
