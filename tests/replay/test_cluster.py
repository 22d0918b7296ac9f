"""Workers of a Dask scheduler: who gets which stack, what is refused, who dies, and that all are alike."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import distributed
import msgspec
import pytest

from outlive.errors import FaultError, UsageError
from outlive.project import Project
from outlive.records.measurement import Cell, Machine, Measurement, Origin, PythonRecord
from outlive.records.stack import Stack, Wheel
from outlive.replay import cluster as cluster_package
from outlive.replay import engine, place
from outlive.replay.cluster import orders, workers
from outlive.replay.cluster.orders import Counts, Filled, Order, Part, Refused, Reply, Work
from outlive.replay.cluster.workers import Cluster, connected
from outlive.replay.subject import Shown, Task
from outlive.retention.confirmation import SHOWN
from outlive.service import app as apps
from outlive.service import scenarios
from outlive.stacks.locks import Lock
from outlive.stacks.prepare import prepare
from outlive.stacks.pythons import Interpreter

pytestmark = pytest.mark.filterwarnings("default")  # what distributed and tornado leave open is not ours

CHECKOUT = Project(Path(__file__).parents[2])
CELL = Cell("ok", "close", "off")
APP = apps.load(CHECKOUT, "flask")
MACHINE = Machine(system="Linux", kernel="6", architecture="x86_64", libc="glibc 2", cpus=2)


def lock(version: str, python: str = "3.11") -> Lock:
    return Lock("flask", version, python, (), version, None)


def order(version: str, python: str = "3.11.7", identity: str = "mine") -> Order:
    work = Work(lock(version), python, (Part(APP, (CELL,), 100),))
    return Order(identity=identity, work=work, jobs=1)


def filled(asked: Order, survivors: float = 2.0, host: str = "other") -> bytes:
    measurement = Measurement(
        framework="flask",
        release=asked.work.lock.release,
        python="3.11",
        app_version=1,
        scenario="ok",
        connection="close",
        gc="off",
        worker="gthread",
        lock=asked.work.lock.digest,
        status="measured",
        survivors_per_request=survivors,
    )
    python = PythonRecord(version=asked.work.python)
    return msgspec.json.encode(
        Filled(
            origin=Origin(host=host, machine=MACHINE, interpreter=python),
            measurements=(measurement,),
            reference=Counts(survivors, 0.0, 0.0, {}) if asked.reference else None,
        )
    )


def filling(data: bytes) -> bytes:
    return filled(msgspec.json.decode(data, type=Order))


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with workers.running_loop() as loop, workers.local(CHECKOUT, 2, loop) as found:
        yield found.scheduler_address


@pytest.fixture
def cluster(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(Cluster, "check", lambda _: None)  # these workers are where the tests were started
    with connected(scheduler, CHECKOUT, 1) as found:
        found.client.wait_for_workers(2, timeout=300)  # a test before may have ended some
        yield found


def answers(cluster: Cluster, *asked: Order) -> dict[str, Reply]:
    found = list(cluster.filled({one.work.lock.release: one for one in asked}))
    assert sorted(key for key, _ in found) == sorted(one.work.lock.release for one in asked)  # each once
    return dict(found)


def test_an_order_says_what_stored_cells_have_shown() -> None:
    asked = order("3.1")
    part = msgspec.structs.replace(
        asked.work.parts[0], shown=(Shown(CELL, 0), Shown(Cell("ok", "close", "off"), 4))
    )
    sent = msgspec.structs.replace(asked, work=msgspec.structs.replace(asked.work, parts=(part,)))
    assert msgspec.json.decode(msgspec.json.encode(sent), type=Order) == sent


def test_each_order_is_answered_once(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "fill", filling)
    found = answers(cluster, *(order(f"3.{number}") for number in range(7)))
    assert [one.measurements[0].release for one in found.values() if isinstance(one, Filled)] == [*found]
    assert len(found) == 7


def test_a_stack_that_a_worker_lacks_the_python_for_goes_to_another(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = min(cluster.client.nthreads())

    def fill(data: bytes) -> bytes:
        from distributed import get_worker

        asked = msgspec.json.decode(data, type=Order)
        python = asked.work.python
        if python == "3.16.0" or (python == "3.15.0" and get_worker().address == first):
            reason = f"Python {python} is not installed"
            return msgspec.json.encode(Refused(reason=reason, elsewhere=True))
        return filled(asked)

    monkeypatch.setattr(workers, "fill", fill)
    found = answers(
        cluster, order("3.0", "3.15.0"), order("3.1"), order("3.2", "3.16.0"), order("3.3", "3.15.0")
    )
    assert {version for version, one in found.items() if isinstance(one, Filled)} == {"3.0", "3.1", "3.3"}
    assert found["3.2"] == Refused(reason="no worker measures it: Python 3.16.0 is not installed")


def test_what_a_worker_raises_is_about_that_stack_alone(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(data: bytes) -> bytes:
        asked = msgspec.json.decode(data, type=Order)
        if asked.work.lock.release == "3.1":
            raise MemoryError("no\nroom")
        return filled(asked)

    monkeypatch.setattr(workers, "fill", fill)
    found = answers(cluster, order("3.0"), order("3.1"), order("3.2"))
    assert found["3.1"] == Refused(reason="MemoryError: no room")
    assert isinstance(found["3.2"], Filled)


def test_a_stack_that_ends_two_workers_is_given_up_and_the_others_are_measured(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill(data: bytes) -> bytes:
        asked = msgspec.json.decode(data, type=Order)
        if asked.work.lock.release == "3.1":
            os.kill(os.getpid(), signal.SIGKILL)
        return filled(asked)

    monkeypatch.setattr(workers, "fill", fill)
    found = answers(cluster, *(order(f"3.{number}") for number in range(4)))
    assert found["3.1"] == Refused(reason="2 workers ended while measuring it")
    assert {version for version, one in found.items() if isinstance(one, Filled)} == {"3.0", "3.2", "3.3"}


def test_machines_that_count_differently_are_a_fault(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = min(cluster.client.nthreads())

    def fill(data: bytes) -> bytes:
        from distributed import get_worker

        asked, here = msgspec.json.decode(data, type=Order), get_worker().address
        return filled(asked, 2.0 if here == first or asked.work.python == "3.12.1" else 3.0, here)

    monkeypatch.setattr(workers, "fill", fill)

    def asked(python: str) -> tuple[Order, ...]:
        reference = order("3.0", python).work
        some = (order(f"3.{number}", python) for number in range(8))
        return tuple(msgspec.structs.replace(one, reference=reference) for one in some)

    answers(cluster, *asked("3.12.1"))
    cluster.references.clear()
    with pytest.raises(
        FaultError, match=r"one cell differently, [23]\.0 and [23]\.0 objects .*Python 3\.11\.7"
    ):
        answers(cluster, *asked("3.11.7"))


def tasks(cluster: Cluster, *versions: str) -> list[Task]:
    request = engine.CellRequest((), ())
    served = engine.serving(CHECKOUT, "flask", scenarios.load(CHECKOUT.scenarios))
    here = Interpreter("3.11.7", "/nowhere")
    return [
        task
        for version in versions
        for task in engine.to_measure(
            CHECKOUT, cluster.install(lock(version), here), served, request, (CELL, Cell("ok", "close", "on"))
        )
    ]


def test_records_say_where_they_were_measured_and_what_failed_why(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = orders.host()

    def fill(data: bytes) -> bytes:
        asked = msgspec.json.decode(data, type=Order)
        release = asked.work.lock.release
        if release == "3.2":
            return msgspec.json.encode(Refused(reason="the disk is full"))
        return filled(asked, host=own if release == "3.1" else "other")

    monkeypatch.setattr(workers, "fill", fill)
    seen: list[Measurement] = []
    found = list(cluster.measure(tasks(cluster, "3.0", "3.1", "3.2"), seen.append))
    assert found == seen
    hosts = {m.release: m.host for m in found if m.status == "measured"}
    assert hosts == {"3.0": "other", "3.1": ""}
    failed = [(m.release, m.gc, m.reason) for m in found if m.status == "failed"]
    assert failed == [("3.2", "off", "the disk is full"), ("3.2", "on", "the disk is full")]


def test_what_is_built_here_is_not_sent(cluster: Cluster) -> None:
    wheel = Wheel("flask", "3.2.0+abc", "/here/flask.whl")
    built = msgspec.structs.replace(lock("3.2.0+abc"), wheels=(wheel,))
    with pytest.raises(UsageError, match=r"flask==3\.2\.0\+abc was built on this machine"):
        cluster.install(built, Interpreter("3.11.7", "/nowhere"))


def test_workers_with_another_version_or_other_data_are_refused(
    scheduler: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "own_identity", lambda: "0.0.0, counting 0, code abc, data abc")
    with (
        pytest.raises(FaultError, match=r"^worker \S+ has outlive 0\.0\.0, counting 0, .*, the client \d"),
        connected(scheduler, CHECKOUT, 1),
    ):
        pass


def test_a_worker_without_a_checkout_is_refused(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost() -> str:
        raise UsageError("/tmp is not in a checkout of outlive")

    monkeypatch.setattr(workers, "own_identity", lost)
    with (
        pytest.raises(FaultError, match=r"^worker \S+ cannot measure: /tmp is not in a checkout of outlive$"),
        connected(scheduler, CHECKOUT, 1),
    ):
        pass


def test_a_late_worker_with_another_version_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orders, "own_identity", lambda: "another")
    answer = msgspec.json.decode(orders.fill(msgspec.json.encode(order("3.0"))), type=Filled | Refused)
    assert answer == Refused(reason="it has outlive another, the client mine", elsewhere=True)


def test_identity_is_of_code_and_data(tmp_path: Path) -> None:
    (tmp_path / "apps" / "flask").mkdir(parents=True)
    app = tmp_path / "apps" / "flask" / "v1.py"
    app.write_text("one")
    first = orders.identity(Project(tmp_path))
    assert orders.identity(Project(tmp_path)) == first
    app.rename(app.with_name("v2.py"))
    assert orders.identity(Project(tmp_path)) != first


@pytest.mark.parametrize(
    ("address", "error", "said"),
    [
        ("nowhere", UsageError, r"^--scheduler takes an address, .*, a file, or 'local': 'nowhere'$"),
        ("gopher://host:1", FaultError, r"^the scheduler at gopher://host:1 does not answer: "),
    ],
)
def test_a_scheduler_that_is_none(address: str, error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said), connected(address, CHECKOUT, 1):
        pass


def test_without_the_extra_there_is_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    monkeypatch.delitem(sys.modules, "outlive.replay.cluster.workers")
    monkeypatch.delattr(cluster_package, "workers")
    with (
        pytest.raises(FaultError, match=r"pip install 'outlive\[cluster\]'"),
        place.at("local", CHECKOUT, (), 1),
    ):
        pass


def test_a_scheduler_that_ends_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "scheduler.json"
    words = ["-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0"]
    deadline = time.monotonic() + 300
    with subprocess.Popen(
        [sys.executable, *words, "--no-dashboard", "--scheduler-file", str(file)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            while not file.exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)  # a loop without it would take the core that the scheduler starts on
            monkeypatch.setattr(Cluster, "check", lambda _: None)
            monkeypatch.setattr(workers, "wait", _ended(process, distributed.wait))
            with (
                connected(str(file), CHECKOUT, 1) as cluster,
                pytest.raises(FaultError, match=r"^the scheduler is gone: finished measurements are stored"),
            ):
                answers(cluster, order("3.0"))
        finally:
            process.kill()


def _ended(process: subprocess.Popen[bytes], waiting: object) -> object:
    def wait(*futures: object, **options: object) -> object:
        process.kill()
        return waiting(*futures, **options)  # type: ignore[operator]

    return wait


def test_no_worker_for_long_is_a_fault(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "ALONE", 0.01)
    monkeypatch.setattr(cluster.client, "scheduler_info", lambda **_: {"workers": {}})
    monkeypatch.setattr(workers, "fill", _slow)
    with pytest.raises(
        FaultError, match=r"^the scheduler has had no worker for 0\.01 s: finished measurements"
    ):
        answers(cluster, order("3.0"))


def _slow(_: bytes) -> bytes:
    import time

    time.sleep(0.5)
    return b""


def test_a_machine_that_is_too_busy_for_the_threads_of_dask_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dask starts no loop of its own, which would have to run within ten seconds."""
    monkeypatch.setattr(Cluster, "check", lambda _: None)
    monkeypatch.setattr("distributed.utils._CollectErrorThread", lambda **_: None)
    with connected(place.LOCAL, CHECKOUT, 1) as found:
        found.client.wait_for_workers(1)


@pytest.mark.real
def test_worker_processes_here_count_what_this_process_counts(tmp_path: Path) -> None:
    for name in ("apps", "loadtests", "releases"):
        (tmp_path / name).symlink_to(CHECKOUT.root / name)
    project = Project(tmp_path)
    ok = scenarios.find(project.scenarios, ["ok"])
    prepared = [prepare(project, Stack.parse(f"flask==3.1.{patch},python==3.11")) for patch in (2, 3)]

    def counted(scheduler: str | None) -> list[list[tuple[object, ...]]]:
        request = engine.CellRequest(ok, (CELL,), jobs=2, fresh=True, scheduler=scheduler)
        found = engine.run(project, prepared, request, engine.SILENT)
        exact = ("status", "growth", "survivors_per_request", "leaked_per_request", "types", "fingerprints")
        return [[tuple(getattr(m, name) for name in exact) for m in each] for each in found]

    assert counted("local") == counted(None)
    later = engine.CellRequest(ok, (Cell("ok", "close", "on"),), jobs=2, scheduler="local")
    for (found,) in engine.run(project, prepared, later, engine.SILENT):
        assert [phase.requests for phase in found.phases] == [
            *SHOWN
        ]  # the stored cells with gc off were sent
