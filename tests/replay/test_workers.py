"""Workers that need packages are counted as exactly as others, and what hides in them is found."""

from __future__ import annotations

from typing import Any

import greenlet
import pytest

from measuring import CHECKOUT, cell, environment, measured, planted, reference
from outlive.records.measurement import CONNECTIONS, Measurement
from outlive.records.stack import Stack
from outlive.service import app as apps
from outlive.stacks.prepare import prepare_pair
from outlive.worker.survivors import objects, references

WORKERS = (("flask", "gevent"), ("aiohttp", "uvloop"))


def one(framework: str, plant: str, worker: str) -> Measurement:
    (found,) = measured(planted(framework, plant, worker), cell())
    assert (found.status, found.reason, found.worker) == ("measured", None, worker)
    return found


@pytest.mark.real
@pytest.mark.parametrize(("framework", "worker"), WORKERS)
class TestCounted:
    def test_what_is_planted_is_found_by_its_name_and_nothing_else(self, framework: str, worker: str) -> None:
        clean, found = one(framework, "nothing", worker), one(framework, "three_a_connection", worker)
        assert (clean.leaked_per_request, clean.held) == (0, {})
        assert found.survivors_per_request == (clean.survivors_per_request or 0) + 3
        assert (found.growth, found.leaked_per_request) == ("leak", 3)
        assert ("leaked", "path module plants global kept[]", 3) in {
            (leak.growth, leak.trail.strip(), leak.objects_per_request) for leak in found.leaks
        }

    def test_integers_repeat(self, framework: str, worker: str) -> None:
        cells = [cell("not-found", "keep-alive"), cell("truncated-body"), cell("abort-response")]
        first, second = (measured(reference(framework, worker), *cells) for _ in range(2))
        for one, other in zip(first, second, strict=True):
            assert [(p.survivors, p.leaked) for p in one.phases] == [
                (p.survivors, p.leaked) for p in other.phases
            ]
            assert one.leaks == other.leaks

    def test_its_packages_are_part_of_the_lock(self, framework: str, worker: str) -> None:
        plain, served = environment(framework).lock, environment(framework, worker).lock
        assert worker in served.versions.keys() - plain.versions.keys()
        assert plain.versions.items() <= served.versions.items()
        assert plain.digest != served.digest


@pytest.mark.real
class TestGreenlets:
    def test_one_that_stays_is_a_leak_with_the_memory_of_its_frames(self) -> None:
        found = one("flask", "greenlet", "gevent")
        assert found.growth == "leak"
        assert found.types["gevent._gevent_cgreenlet.Greenlet"] == 1
        assert found.held == {"mapped": 16384}

    def test_one_that_a_collection_frees_ends_before_the_count(self) -> None:
        """It only ends where it ran: the thread that collects can but mark it."""
        found = one("flask", "greenlet_in_a_cycle", "gevent")
        assert (found.growth, found.leaked_per_request, found.held) == ("cyclic", 0, {})
        assert len(found.phases) == 3
        assert "ring plants.Node.itself" in [leak.trail for leak in found.leaks]


def test_what_a_suspended_greenlet_holds_is_named() -> None:
    """The collector does not look into it."""

    def run() -> None:
        held = [1]
        parent = greenlet.getcurrent().parent
        assert parent is not None
        parent.switch(held)

    suspended = greenlet.greenlet(run)
    held = suspended.switch()
    found: dict[str, Any] = dict(references.Names(objects, set()).references(suspended))
    assert found["local:held"] is held
    assert any(target is held for target in references.Names(objects, set()).referents(suspended))


@pytest.mark.real
def test_both_sides_of_a_comparison_have_the_same_of_them() -> None:
    packages = apps.packages(CHECKOUT, "flask", "gevent")
    pair = prepare_pair(CHECKOUT, Stack("flask", "3.1.2"), Stack("flask", "3.1.3"), "3.11", packages=packages)
    assert pair.before.lock.versions["gevent"] == pair.after.lock.versions["gevent"]
    assert pair.differences == ()


@pytest.mark.parametrize("framework", CHECKOUT.frameworks())
def test_none_needs_packages_unless_it_is_named(framework: str) -> None:
    app = apps.load(CHECKOUT, framework)
    chosen = [app.worker(connection) for connection in CONNECTIONS]
    assert not any(worker is None or worker.packages for worker in chosen)
    assert apps.packages(CHECKOUT, framework, None) == ()
    for worker in app.workers:
        assert apps.packages(CHECKOUT, framework, worker.name) == worker.packages
