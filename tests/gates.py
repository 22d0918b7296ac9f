"""Limits and runs of the gate, made up, for tests that measure nothing."""

from __future__ import annotations

import datetime as dt
import io
from pathlib import Path

from rich.console import Console

from comparisons import cell, lost
from outlive.gates.judge import JudgedCell, Stale, judge
from outlive.gates.limits import Limits, parse
from outlive.gates.proof import Control
from outlive.gates.run import Gate, Replayed
from outlive.gates.text import show
from outlive.project import Project
from outlive.records.measurement import Measurement, StackRecord
from outlive.service import scenarios
from outlive.tables import UNFOLDED

CHECKOUT = Project(Path(__file__).parent.parent)
KNOWN = scenarios.load(CHECKOUT.scenarios)
TODAY = dt.date(2026, 3, 1)
PATH = "releases/aiohttp/limits.toml"
LIMITS = """\
[[limits]]
gc = "off"
connections = ["close"]
pythons = ["3.11"]
releases = ">=1"
reason = "a traceback and its frames refer to each other"
link = "https://github.com/aio-libs/aiohttp/issues/1"
expires = 2027-01-01

[limits.objects]
not-found = 33
"upload*" = 5
"""


def screen(gate: Gate, width: int = UNFOLDED, *, accepting: bool = False) -> str:
    """Return what `outlive gate` prints on a terminal of this width."""
    out = io.StringIO()
    show(gate, Console(file=out, width=width), accepting=accepting)
    return out.getvalue()


def limits(text: str = LIMITS) -> Limits:
    return parse(text, PATH, KNOWN)


def changed(old: str, new: str) -> str:
    assert old in LIMITS
    return LIMITS.replace(old, new)


def control(fault: str | None = None) -> Control:
    return Control(
        connection="close",
        worker="asyncio",
        leak=5 / 506,
        leak_expected=5 / 506,
        cycle=2,
        cycle_expected=2,
        fault=fault,
    )


def judged(measurement: Measurement, again: Measurement | None = None) -> JudgedCell:
    return judge(limits(), measurement, again)


WITHIN = judged(cell("not-found", 33))
OVER = judged(cell("not-found", 34.5, types={"frame": 12.0, "list": 1.5, "dict": 1.0}))
NO_LIMIT = judged(cell("bad-json", 2, types={"tuple": 2.0}))
UNDER = judged(cell("upload", 4))
FAILED = judged(lost("abort-upload", "the worker died"))
INCONCLUSIVE = judged(cell("upload-too-large", 7), cell("upload-too-large", 6))
EXPIRED = Stale(
    kind="expired",
    place=limits().place(0, "expires"),
    what="expired on 2026-01-01: a traceback and its frames refer to each other "
    "(https://github.com/aio-libs/aiohttp/issues/1)",
    advice=f"{PATH}:8: give a new date after review, or delete the entry",
    about=limits().entries[0].about_what(),
)


def gate(*cells: JudgedCell, stale: tuple[Stale, ...] = (), **fields: object) -> Gate:
    values: dict[str, object] = {
        "stack": StackRecord(framework="aiohttp", release="1", python="3.11", lock="0" * 12, packages=()),
        "source": None,
        "gc": "off",
        "planted": False,
        "limits": PATH,
        "controls": (control(),),
        "least_leak": 100,
        "cells": cells,
        "stale": stale,
        "replayed": None,
    }
    return Gate(**(values | fields))  # type: ignore[arg-type]


def replayed(*over: JudgedCell) -> Replayed:
    return Replayed(stack="aiohttp==0.9,python==3.11", cells=2, over=over, unmeasured=0)
