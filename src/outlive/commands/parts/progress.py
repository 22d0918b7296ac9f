"""Shows progress: a bar with the time left on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import itertools
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from outlive.records.load import Sample, Traffic, Watch
from outlive.records.measurement import Measurement
from outlive.replay.engine import Progress
from outlive.wording import counted, size

LINE_EVERY = 10.0
"""Seconds between two lines where there is no bar, as in a CI log."""
DRAWN = 4
"""Times a second that a terminal is redrawn."""
RECENT = 24
"""Samples, about one a second, that the live view of a load test draws."""
BLOCKS = "▁▂▃▄▅▆▇█"


class Meter:
    """Shows the progress of a task, which can grow while it runs.

    `total` is the amount of work, counted in `unit`; a terminal shows `head` above the bar.
    """

    def __init__(self, console: Console, unit: str, head: Callable[[], Sequence[RenderableType]] = tuple):
        self._console, self._unit, self._head = console, unit, head
        self.total = self._done = 0.0
        self._doing = "preparing"
        self._began = self._printed = monotonic()
        # not `console.is_terminal`: with FORCE_COLOR that is also true for a CI log
        self.watched = console.file.isatty() and not console.is_dumb_terminal
        self._live = Live(
            console=console,
            transient=True,
            refresh_per_second=DRAWN,
            get_renderable=self._drawn,
            redirect_stdout=sys.stdout.isatty(),  # else piped output would go to the terminal
        )

    def __enter__(self) -> Self:
        if self.watched:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.watched:
            self._live.stop()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Hide the bar while something is printed; otherwise a part of it would stay."""
        if self.watched:
            self._live.stop()
        yield
        if self.watched:
            self._live.start()

    def more(self, amount: float) -> None:
        """Add to the work, or subtract a negative `amount`; the first call starts the clock."""
        if not self.total:
            self._began = self._printed = monotonic()
        self.total += amount

    def at(self, done: float, doing: str) -> None:
        """Set the amount that is done, and the current step."""
        self._done = min(done, self.total)
        self.doing(doing)

    def advance(self, doing: str) -> None:
        """Count one more as done."""
        self.at(self._done + 1, doing)

    def doing(self, what: str) -> None:
        """Set the current step; without a bar, print it now and then, and at the end."""
        self._doing = what
        over = 0 < self.total <= self._done
        if not self.watched and (over or monotonic() - self._printed >= LINE_EVERY):
            self.say(f"{what}: {self.far}" if self.far else what)

    def say(self, line: str) -> None:
        """Print a line, unless there is a bar."""
        if not self.watched:
            self._printed = monotonic()
            self._console.print(Text(line), soft_wrap=True)

    @property
    def far(self) -> str:
        """The progress and the time left; empty while there is nothing to count."""
        if not self.total:
            return ""
        left = ""
        if 0 < self._done < self.total:
            spent = monotonic() - self._began
            left = f", {clock(spent / self._done * (self.total - self._done))} left"
        return f"{self._done:.0f} of {counted(round(self.total), self._unit)}{left}"

    def _drawn(self) -> RenderableType:
        row = Table.grid(padding=(0, 1, 0, 0), expand=True)
        row.add_column(ratio=3, no_wrap=True, overflow="ellipsis")
        row.add_column(ratio=2)
        row.add_column(no_wrap=True, justify="right")
        bar = ProgressBar(total=self.total or None, completed=self._done, pulse=not self.total)
        row.add_row(Text(self._doing), bar, Text(self.far, "dim"))
        return Group(*self._head(), row)


def clock(seconds: float) -> str:
    """Return a duration as `0:18`, `12:03` or `1:02:03`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def progress() -> Iterator[Progress]:
    """Yield callbacks that show the progress of measuring on standard error."""
    with Meter(Console(stderr=True), "cell") as meter:

        def start(cells: int) -> None:
            meter.more(cells)
            if cells > 0:
                meter.say(f"measuring {counted(cells, 'cell')}")

        def done(cell: Measurement) -> None:
            meter.advance(f"{cell.framework} {cell.release} {cell.scenario}")

        yield Progress(start, done, meter.doing)


class LoadProgress:
    """Shows the progress of all load tests of a command together; on a terminal, with a live view."""

    def __init__(self, console: Console, unit: str) -> None:
        self._samples: deque[Sample] = deque(maxlen=RECENT)
        self._before = self._now = 0.0
        self._meter = Meter(console, unit, self._view)
        self.aside = self._meter.aside

    def test(self, name: str, traffic: Traffic) -> Watch:
        """Begin the next test, and return the callback for its samples."""
        self._before += self._now
        self._now = _length(traffic)
        self._samples.clear()
        self._meter.more(max(0.0, self._before + self._now - self._meter.total))
        self._meter.at(self._before, name)

        def seen(sample: Sample) -> None:
            self._samples.append(sample)
            done = min(sample.requests if traffic.requests else sample.seconds, self._now)
            line = name if self._meter.watched else f"{name}, {', '.join(self._parts(sample))}"
            self._meter.at(self._before + done, line)

        return seen

    @staticmethod
    def _parts(s: Sample) -> tuple[str, ...]:
        return (
            f"{s.unexpected:,} of {s.requests:,} answers wrong",
            f"p99 {1e3 * s.p99:.1f} ms",
            f"memory {size(s.pss or s.rss)}",
            counted(s.collections, "collection"),
        )

    def _view(self) -> Sequence[RenderableType]:
        """Return the live view: a line for each quantity, with its last half minute."""
        samples = tuple(self._samples)
        if not samples:
            return ()
        last, memory = samples[-1], [s.pss or s.rss for s in samples]
        speeds = [
            (later.requests - former.requests) / max(later.seconds - former.seconds, 1e-3)
            for former, later in itertools.pairwise(samples)
        ]
        speed = f", {speeds[-1]:,.0f}/s" if speeds else ""
        lines = (
            ("requests", f"{last.requests:,}{speed}, {last.unexpected:,} wrong answers", speeds),
            ("latency", f"p50 {1e3 * last.p50:.1f}, p99 {1e3 * last.p99:.1f} ms", [s.p99 for s in samples]),
            ("memory", size(memory[-1]), memory),
            ("collections", f"{last.collections:,}, paused {1e3 * last.paused:,.0f} ms", ()),
        )
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(no_wrap=True, min_width=34)
        grid.add_column(no_wrap=True)
        for name, text, values in lines:
            grid.add_row(name, text, sparkline(values))
        return (grid,)


@contextmanager
def loads(traffic: Traffic, tests: int, console: Console | None = None) -> Iterator[LoadProgress]:
    """Yield the progress of `tests` load tests of this length, by default on standard error."""
    whole = LoadProgress(console or Console(stderr=True), "request" if traffic.requests else "second")
    with whole._meter as meter:
        meter.more(tests * _length(traffic))
        yield whole


def _length(traffic: Traffic) -> float:
    return traffic.requests or traffic.seconds or 0.0


def sparkline(values: Sequence[float]) -> str:
    """Return numbers as a row of blocks, scaled from the least to the largest."""
    if not values:
        return ""
    least, most = min(values), max(values)
    scale = (len(BLOCKS) - 1) / (most - least) if most > least else 0.0
    return "".join(BLOCKS[round((value - least) * scale)] for value in values)


def progressing(names: Sequence[str], doing: str) -> Iterator[str]:
    """Yield each framework's name, with progress on standard error."""
    with Meter(Console(stderr=True), "framework") as meter:
        meter.more(len(names))
        for name in names:
            meter.say(f"{doing} {name}")
            meter.doing(f"{doing} {name}")
            yield name
            meter.advance(f"{doing} {name}")
