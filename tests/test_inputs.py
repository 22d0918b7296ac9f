"""What is said of thirteen inputs of which each once stood for a wrong verdict; see golden/inputs.txt.

The records are planted with the numbers that were measured. What the pytest plugin says of inputs 7 and 8 is
in `in_process/test_pytest_plugin.py`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator

import msgspec
from rich.console import Console

from comparisons import cell, off_the_line, phase, side
from gates import gate, judged
from goldens import same_as_golden
from outlive.comparison.pair import BothMeasurements, Side
from outlive.comparison.sizes import MIB, Rates
from outlive.gates.text import reproduce
from outlive.history.timeline import Timeline
from outlive.records.measurement import Measurement
from outlive.records.stack import Difference, Package
from outlive.reports import record, terminal
from outlive.reports.evidence import Evidence
from outlive.reports.record import Facts
from outlive.retention import explanation
from outlive.retention.graph import KEPT, OPAQUE, Graph, Vertex
from outlive.retention.structures import analyse
from reporting import PROVENANCE

Cells = Iterable[Measurement]


def head(
    before: Cells, after: Cells, sides: tuple[Side, Side], *varied: Difference, era: str | None = None
) -> str:
    """Return what `compare` says first."""
    evidence = Evidence(
        provenance=PROVENANCE,
        before=sides[0],
        after=sides[1],
        differences=varied,
        measurements=BothMeasurements(before=tuple(before), after=tuple(after)),
        era=era,
    )
    development = frozenset({"debugger-error"})
    framework = sides[0].stack.framework
    known = Facts((), (), (), development, None, Timeline(framework, "3.11", ()))
    console = Console(file=io.StringIO(), width=80)
    terminal.head(record.build(evidence, known, Rates()), console)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().partition("The verdict considers")[0].splitlines()
    return "".join(f"{line.rstrip()}\n" for line in lines)


def varied(package: str, before: str | None, after: str | None) -> Difference:
    return Difference(package, before, after, "named in the stack", asked=True)


def of(framework: str, release: str, python: str = "3.11", lock: str = "0") -> Side:
    found = side(framework, release, python=python)
    return Side(msgspec.structs.replace(found.stack, lock=lock * 12), found.release)


def leaked_memory(blocks: float, gc: str = "off") -> Measurement:
    """Return a cell that leaks memory in no object."""
    phases = tuple(phase(n, blocks_kept=round(blocks * n), blocks=round(blocks * n)) for n in (503, 1009))
    return cell("headers", growth="leak", gc=gc, phases=phases, blocks_per_request=blocks)


def a_pure_fix() -> str:
    before = [cell("ok", 11, 4), cell("not-found", 51, 19), cell("handler-error", 17, 10)]
    after = [cell("ok", 7), cell("not-found", 30), cell("handler-error", 7)]
    sides = of("aiohttp", "3.11.18"), of("aiohttp", "3.11.18", lock="1")
    return head(before, after, sides, varied("propcache", "0.4.0", "0.4.1"))


def a_baseline_that_changes() -> str:
    before = [cell("ok", 7), cell("site-not-found", 40), cell("stream-error", 50), cell("not-found", 35)]
    after = [cell("ok"), cell("site-not-found", 39), cell("stream-error", 46), cell("not-found", 47)]
    return head(before, after, (of("aiohttp", "3.14.5"), of("aiohttp", "3.14.5", "3.12")))


def memory_without_objects() -> str:
    sides = of("aiohttp", "3.11.18"), of("aiohttp", "3.11.18", lock="1")
    return head([leaked_memory(7)], [leaked_memory(2)], sides, varied("multidict", "6.7.1", "6.7.2"))


def a_stack_against_itself() -> str:
    same = of("flask", "3.1.3"), of("flask", "3.1.3")
    once = [cell("not-found", 93, peak_rss_bytes=40 * MIB)]
    again = [cell("not-found", 93, peak_rss_bytes=41 * MIB)]
    return head(once, again, same) + "\n" + head(once, once, same)


def counts_off_the_line() -> str:
    sides = of("flask", "3.1.3"), of("flask", "3.1.3", lock="1")
    return head([off_the_line(183.1)], [off_the_line(184.6)], sides, varied("asgiref", "3.8.1", "3.9.2"))


def one_evidence() -> str:
    before = [cell("ok", 8, gc=gc) for gc in ("on", "off")] + [cell("debugger-error", 0)]
    after = [cell("ok", 8, gc=gc) for gc in ("on", "off")] + [cell("debugger-error", 500, 500)]
    return head(before, after, (of("flask", "3.1.3"), of("flask", "3.1.3", "3.13")))


def again() -> str:
    red = judged(cell("not-found", 34.5))
    pins = (Package("multidict", "6.3.2"),)
    return f"{reproduce(gate(red, pins=pins), red)}\n"


def with_its_own_dependencies() -> str:
    before = [cell("ok", 8), cell("not-found", 92)]
    after = [cell("ok", 8), cell("not-found", 93)]
    era = (
        "With the dependencies of each release date (2 packages differ), 2 of 2 cells change otherwise: ok "
        "0 → 9 objects per request instead of 8 (close, gc off), and 1 more. werkzeug 2.1.2 → 2.2.1 causes "
        "the difference: 0 → 9 objects per request on its own (ok, close, gc off)."
    )
    return head(before, after, (of("flask", "2.1.3"), of("flask", "2.2.0")), era=era)


def what_nothing_imports() -> str:
    sides = of("aiohttp", "3.14.5"), of("aiohttp", "3.14.5", lock="1")
    before, after = [cell("ok", 7)], [cell("ok", 7, unimported=("ddtrace",))]
    return head(before, after, sides, varied("ddtrace", None, "4.8.13"))


def whose_c_code(*leaking: str) -> Callable[[], str]:
    def said() -> str:
        held = Vertex(kind="container", type="list", flags=KEPT | OPAQUE)
        graph = Graph("3.11.7", 5, (held,) * 5, (), leaking=leaking)
        return explanation.render("aiohttp 3.11.18 · ok", analyse(graph))

    return said


def big_changes_of_memory() -> str:
    phases = [
        tuple(phase(n, survivors=9 * n, blocks=blocks * n, heap=0) for n in (11, 101, 37))
        for blocks in (10_722, 148)
    ]
    before, after = (
        [cell("big-answer", 9, peak_rss_bytes=peak, blocks_per_request=blocks, phases=measured)]
        for peak, blocks, measured in (
            (2150 * MIB, 10_722.0, phases[0]),
            (100 * MIB, 148.0, phases[1]),
        )
    )
    return head(before, after, (of("flask", "3.1.3"), of("flask", "3.1.3", "3.13")))


INPUTS: dict[str, Callable[[], str]] = {
    "1. compare aiohttp==3.11.18,propcache==0.4.0 aiohttp==3.11.18,propcache==0.4.1 --gc off": a_pure_fix,
    "2. compare aiohttp==3.14.5,python==3.11 aiohttp==3.14.5,python==3.12 --set all --gc off": (
        a_baseline_that_changes
    ),
    "3. compare aiohttp==3.11.18,multidict==6.7.1 aiohttp==3.11.18,multidict==6.7.2": memory_without_objects,
    "4. compare flask==3.1.3 flask==3.1.3 --fresh, and what one record on both sides would say": (
        a_stack_against_itself
    ),
    "5. compare flask==3.1.3,asgiref==3.8.1 flask==3.1.3,asgiref==3.9.2 --scenario 'async-*'": (
        counts_off_the_line
    ),
    "6. compare flask==3.1.3,python==3.11 flask==3.1.3,python==3.13": one_evidence,
    "9. gate aiohttp==1,multidict==6.3.2: the command to repeat": again,
    "11. compare flask 2.1.3 2.2.0": with_its_own_dependencies,
    "12. compare aiohttp==3.14.5 aiohttp==3.14.5,ddtrace==4.8.13": what_nothing_imports,
    "12. explain: C code holds it, and nobody knows whose": whose_c_code(),
    "12. explain aiohttp==3.11.18,propcache==0.4.0": whose_c_code(
        "propcache._helpers_c.under_cached_property"
    ),
    "13. compare flask==3.1.3,python==3.11 flask==3.1.3,python==3.13 --set all": big_changes_of_memory,
}


def told() -> Iterator[str]:
    for name, say in INPUTS.items():
        yield f"# {name}\n\n{say()}"


def test_inputs() -> None:
    same_as_golden("inputs.txt", "\n".join(told()))
