"""What a user sees of load tests, to the letter."""

from __future__ import annotations

import io

from rich.console import Console

from loads import collections, load_measurement
from outlive.loads import rate
from outlive.loads.text import render, show
from outlive.records.load import LoadMeasurement, Segment, Traffic


def shown(*measurements: LoadMeasurement) -> str:
    out = io.StringIO()
    show(measurements, Console(file=out, width=80))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


RATE = rate.rate(load_measurement().samples)
ON = {
    "gc": "on",
    "survivors_per_request": 30.0,
    "leaked_per_request": 0.00001,
    "predicted_per_request": None,
    "replayed_per_request": None,
    "collections": collections(),
}


def test_one_in_full() -> None:
    assert (
        shown(load_measurement(growth=RATE))
        == """\
flask 3.1.3, Python 3.11 · 1 gthread worker, gc off
ErrorHeavy: 6000 requests in 600.0 s from 16 clients, keep-alive

peak RSS      90.0 MiB in the largest worker
peak in all   110.0 MiB (largest sample of PSS)
grows         +10.2 KiB/request, +360.0 MiB/h (+360.0 MiB to +360.0 MiB)
left/request  26.4 objects, 0 leaked
in replay     same mix 26.4 (-0.2 %), sum of its scenarios 26 (+1.5 %)
collections   none
throughput    10 requests/s
processor     server 0.51 cores (busiest worker 97 %), locust 0.12 (31 %)
harness       100.0 MiB halfway, 100.0 MiB in the end, locust included

latency, ms  requests   p50   p95   p99  longest  wrong
not-found        2400  10.0  10.0  50.0     50.0
ok               3600  10.0  10.0  50.0     50.0
"""
    )


def test_one_that_failed_says_why_and_what_else_was_wrong() -> None:
    failed = load_measurement(
        **ON,
        status="failed",
        reason="worker 7 died (SIGKILL: perhaps out of memory)",
        unexpected=12,
        faults=(("ok got no answer: ConnectionRefusedError", 11), ("odd", 1)),
        generator_saturated=True,
        unsent=3,
    )
    assert (
        shown(failed)
        == """\
flask 3.1.3, Python 3.11 · 1 gthread worker, gc on
ErrorHeavy: 6000 requests in 600.0 s from 16 clients, keep-alive

peak RSS      90.0 MiB in the largest worker
peak in all   110.0 MiB (largest sample of PSS)
grows         ?, too short for a rate
left/request  0 leaked objects
collections   20, freeing 4000 objects; paused 250 ms, p99 31.0, longest 31.0
throughput    10 requests/s
processor     server 0.51 cores (busiest worker 97 %), locust 0.12 (31 %)
harness       100.0 MiB halfway, 100.0 MiB in the end, locust included

latency, ms  requests   p50   p95   p99  longest  wrong
not-found        2400  10.0  10.0  50.0     50.0
ok               3600  10.0  10.0  50.0     50.0
! failed: worker 7 died (SIGKILL: perhaps out of memory)
! 12 unexpected answers:
    11 times: ok got no answer: ConnectionRefusedError
    1 time: odd
! 3 requests came due while no client was free: raise --clients
! locust was the bottleneck, and latencies include its delays: see --processes
and --rate
"""
    )


def test_one_that_cannot_be_served() -> None:
    reason = "flask 1.1.4 on Python 3.14 cannot be served with gunicorn[gevent]: no wheel"
    unsupported = load_measurement(status="unsupported", reason=reason, samples=(), segments=())
    assert (
        shown(unsupported)
        == """\
flask 3.1.3, Python 3.11 · 1 gthread worker, gc off
! unsupported: flask 1.1.4 on Python 3.14 cannot be served with
gunicorn[gevent]: no wheel
"""
    )


def test_workers_that_were_replaced() -> None:
    deployed = {"workers": 2, "max_requests": 100, "graceful_timeout": 1}
    text = shown(load_measurement(restarts=7, silence=18.14, **deployed))
    assert text.startswith(
        "flask 3.1.3, Python 3.11 · 2 gthread workers, gc off, --max-requests 100,\n--graceful-timeout 1\n"
    )
    assert "\nreplaced      7 workers; longest time without an answer 18.1 s" in text


def test_policies_side_by_side() -> None:
    periodic = load_measurement(
        gc="periodic:1000",
        collections=collections(6),
        restarts=3,
        survivors_per_request=None,
        leaked_per_request=None,
        replayed_per_request=None,
        unexpected=1,
        faults=(("odd", 1),),
    )
    failed = load_measurement(
        gc="freeze", samples=(), status="failed", reason="app does not start", replayed_per_request=None
    )
    assert (
        shown(load_measurement(**ON), load_measurement(growth=RATE), periodic, failed)
        == """\
flask 3.1.3, Python 3.11 · 1 gthread worker
ErrorHeavy: 6000 requests from 16 clients, keep-alive

gc             peak RSS     growth  left  req/s  p99  gc  paused  longest
on             90.0 MiB          ?     0     10   10  20     250     31.0
off            90.0 MiB  +10.2 KiB  26.4     10   10   0       0      0.0
periodic:1000  90.0 MiB          ?     ?     10   10   6     250     31.0
freeze           failed

growth and left: per request; left counts all objects with gc off, else leaked
ones.
gc: collections; p99 of the latency and pauses in ms.
off, left in replay: same mix 26.4 (-0.2 %), sum of its scenarios 26 (+1.5 %)
! periodic:1000: 1 unexpected answer:
    1 time: odd
! freeze: failed: app does not start
"""
    )


def test_workers_side_by_side() -> None:
    deployed = {"workers": 2, "preload": True, "max_requests": 500}
    assert (
        shown(load_measurement(**ON, **deployed), load_measurement(worker="gevent", **ON, **deployed))
        == """\
flask 3.1.3, Python 3.11 · 2 workers, --preload, --max-requests 500
ErrorHeavy: 6000 requests from 16 clients, keep-alive

worker, gc   peak RSS  growth  left  req/s  p99  gc  paused  longest
gthread, on  90.0 MiB       ?     0     10   10  20     250     31.0
gevent, on   90.0 MiB       ?     0     10   10  20     250     31.0

growth and left: per request; left counts all objects with gc off, else leaked
ones.
gc: collections; p99 of the latency and pauses in ms.
"""
    )


def test_a_test_that_was_continued_says_so() -> None:
    runs = tuple(Segment(started=f"2026-01-0{day}T00:00", seconds=300.0, requests=3000) for day in (1, 2, 3))
    assert "! continued 2 times; growth: the longest stretch\n" in shown(load_measurement(segments=runs))


def test_the_processor_says_who_was_the_bottleneck() -> None:
    idle = shown(load_measurement(server_busiest=0.6))
    assert "! no worker was busy all the time: more --clients would raise throughput\n" in idle
    assert "busy all the time" not in shown(load_measurement(server_busiest=0.95))
    at_a_rate = load_measurement(server_busiest=0.6, traffic=Traffic(seconds=600.0, rate=10.0))
    assert "busy all the time" not in shown(at_a_rate)
    starved = shown(load_measurement(server_waiting=0.25))
    assert "! a worker waited for a core 25 % of the time, which latencies include\n" in starved


def test_without_a_replay_it_says_how_to_get_one() -> None:
    unknown = {"replayed_per_request": None, "predicted_per_request": None}
    assert "\nin replay     same mix: see --predict\n" in shown(load_measurement(**unknown))


def test_policies_side_by_side_as_markdown() -> None:
    odd = {"unexpected": 1, "faults": (("<odd>", 1),)}
    failed = load_measurement(
        gc="freeze",
        samples=(),
        scenarios=(),
        status="failed",
        reason="no such module",
        replayed_per_request=None,
    )
    assert (
        render((load_measurement(**ON), load_measurement(growth=RATE, **odd), failed))
        == """\
### outlive load: flask 3.1.3, Python 3.11 · 1 gthread worker

ErrorHeavy: 6000 requests from 16 clients, keep-alive

| gc | peak RSS | growth | left | requests/s | p99, ms | collections | paused, ms | longest, ms |
| --- | --: | --: | --: | --: | --: | --: | --: | --: |
| on | 90.0 MiB | ? | 0 | 10 | 10 | 20 | 250 | 31.0 |
| off | 90.0 MiB | +10.2 KiB | 26.4 | 10 | 10 | 0 | 0 | 0.0 |
| freeze | failed |  |  |  |  |  |  |  |

Growth and left: per request; left counts all objects with gc off, else leaked ones. p99: latency.

off, left in replay: same mix 26.4 (-0.2 %), sum of its scenarios 26 (+1.5 %)

- off: 1 unexpected answer:
- off: 1 time: \\<odd\\>
- freeze: failed: no such module

<details>
<summary>Latencies, on</summary>

| latency, ms | requests | p50 | p95 | p99 | longest | wrong |
| --- | --: | --: | --: | --: | --: | --: |
| not-found | 2400 | 10.0 | 10.0 | 50.0 | 50.0 |  |
| ok | 3600 | 10.0 | 10.0 | 50.0 | 50.0 |  |

</details>

<details>
<summary>Latencies, off</summary>

| latency, ms | requests | p50 | p95 | p99 | longest | wrong |
| --- | --: | --: | --: | --: | --: | --: |
| not-found | 2400 | 10.0 | 10.0 | 50.0 | 50.0 |  |
| ok | 3600 | 10.0 | 10.0 | 50.0 | 50.0 |  |

</details>
"""
    )
