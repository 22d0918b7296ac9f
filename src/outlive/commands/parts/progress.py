"""What a user sees while cells are measured: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from outlive.records.load import Generated, Traffic
from outlive.records.measurement import Measurement
from outlive.replay.engine import Progress

LINE_EVERY = 10.0
"""Seconds between two lines where nobody watches a bar, as in a CI log."""


@contextmanager
def progress(console: Console) -> Iterator[Progress]:
    """Yield the callbacks that show on `console` how far measuring has come."""
    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task("preparing", total=None)

            def start(cells: int) -> None:
                bar.update(task, total=cells, description="measuring" if cells else "all stored")

            def done(measurement: Measurement) -> None:
                bar.update(task, advance=1, description=_what(measurement))

            yield Progress(start, done)
    else:
        yield _lines(console)


def progressing(names: Sequence[str], doing: str, console: Console) -> Iterator[str]:
    """Yield each name, showing on `console` which it is and how much time is left; elsewhere a line each."""
    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task(doing, total=len(names))
            for name in names:
                bar.update(task, description=f"{doing} {name}")
                yield name
                bar.advance(task)
        return
    for at, name in enumerate(names, 1):
        console.print(f"{doing} {name}, {at} of {len(names)}", highlight=False)
        yield name


def _bar(console: Console) -> Bar:
    return Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _what(measurement: Measurement) -> str:
    m = measurement
    return f"{m.framework} {m.release} {m.scenario}"


def _lines(console: Console) -> Progress:
    total = finished = 0
    last = time.monotonic()

    def start(cells: int) -> None:
        nonlocal total
        total = cells
        if cells:
            console.print(f"measuring {cells} cells", highlight=False)

    def done(_: Measurement) -> None:
        nonlocal finished, last
        finished += 1
        if finished == total or time.monotonic() - last >= LINE_EVERY:
            last = time.monotonic()
            console.print(f"measured {finished} of {total} cells", highlight=False)

    return Progress(start, done)


@contextmanager
def load_progress(console: Console, traffic: Traffic, name: str) -> Iterator[Callable[[Generated], None]]:
    """Yield the callback that shows on `console` how far the load test of this name has come."""
    total = traffic.requests or traffic.seconds or 0

    def done(seen: Generated) -> float:
        return seen.requests if traffic.requests else seen.seconds

    if console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task(name, total=total)
            yield lambda seen: bar.update(
                task, completed=done(seen), description=f"{name}, {seen.throughput:.0f}/s"
            )
    else:
        last = time.monotonic()

        def line(seen: Generated) -> None:
            nonlocal last
            if time.monotonic() - last >= LINE_EVERY:
                last = time.monotonic()
                unit = "requests" if traffic.requests else "s"
                console.print(f"{name}: {done(seen):.0f} of {total:.0f} {unit}", highlight=False)

        yield line
