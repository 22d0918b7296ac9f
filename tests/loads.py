"""What the tests of load tests share: made-up records, and load tests of real releases that are short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from measuring import CHECKOUT
from outlive.loads.plan import LoadTest
from outlive.project import Project
from outlive.records.load import (
    Collections,
    Deployment,
    LoadMeasurement,
    Memory,
    Sample,
    ScenarioTraffic,
    Segment,
    Traffic,
    WorkerRecord,
)
from outlive.records.stack import Stack
from outlive.releases.catalogue import Catalogue
from outlive.stacks.prepare import prepare

MIB = 1024**2


def scratch(folder: Path) -> Project:
    """Return the checkout as a project whose results are in `folder`."""
    for name in ("apps", "loadtests", "releases"):
        (folder / name).symlink_to(getattr(CHECKOUT, name))
    return Project(folder)


def load_test(framework: str = "flask", worker: str = "gthread", **options: Any) -> LoadTest:
    """Return a load test of the newest release; options are of the deployment or the traffic."""
    release = Catalogue.load(CHECKOUT, framework).newest()
    prepared = prepare(CHECKOUT, Stack(framework, release.version, "3.11"))
    deployment = {name: options.pop(name) for name in Deployment.__struct_fields__ if name in options}
    traffic = {"requests": None if "seconds" in options else 300, "clients": 4} | options
    return LoadTest(prepared, Deployment(worker=worker, **deployment), Traffic(**traffic))


def answers(scenario: str = "ok", requests: int = 100, unexpected: int = 0) -> ScenarioTraffic:
    histogram = ((0.01, requests - 1), (0.05, 1))
    return ScenarioTraffic(scenario, requests, unexpected, 0.0104, 0.01, 0.01, 0.05, 0.05, histogram)


def sample(seconds: float, memory: int, requests: int, segment: int = 0) -> Sample:
    return Sample(
        segment=segment,
        seconds=seconds,
        requests=requests,
        rss=memory + MIB,
        pss=memory,
        cpu=seconds / 2,
        harness=100 * MIB,
        workers=(Memory(7, memory, memory),),
    )


def load_measurement(**fields: Any) -> LoadMeasurement:
    """Return a record of ten minutes of load, in which 100 requests took a MiB."""
    deployment = {name: fields.pop(name) for name in Deployment.__struct_fields__ if name in fields}
    measured = LoadMeasurement(
        framework="flask",
        release="3.1.3",
        python="3.11",
        lock="0123456789ab",
        app_version=1,
        deployment=Deployment(**({"worker": "gthread", "gc": "off"} | deployment)),
        traffic=Traffic(seconds=600.0),
        status="measured",
        segments=(Segment(started="2026-01-02T03:04:05.678+00:00", seconds=600.0, requests=6000),),
        seconds=600.0,
        requests=6000,
        throughput=10.0,
        scenarios=(answers("not-found", 2400), answers("ok", 3600)),
        peak_rss_bytes=90 * MIB,
        tree_peak_bytes=110 * MIB,
        tree_peak_source="largest sample of PSS",
        workers=(WorkerRecord(pid=7, first=0.0, last=600.0, end="served", peak_rss_bytes=90 * MIB),),
        survivors_per_request=26.4,
        leaked_per_request=0.0,
        predicted_per_request=26.0,
        replayed_per_request=26.45,
        growth=None,
        server_cores=0.51,
        server_busiest=0.97,
        generator_cores=0.12,
        generator_busiest=0.31,
        samples=tuple(sample(10.0 * at, 30 * MIB + MIB * at, 100 * at) for at in range(61)),
    )
    return msgspec.structs.replace(measured, **fields)


def collections(count: int = 20) -> Collections:
    return Collections.of(count, 4000, 0.25, 0.031, ((0.01, count - 1), (0.032, 1)))
