"""locust and the real reference apps, on the newest release of each framework."""

from __future__ import annotations

import pytest

from measuring import CHECKOUT, FRAMEWORKS, cell, measured, reference
from outlive.loads.generator import generate
from outlive.loads.rate import predicted
from outlive.records.load import Traffic
from outlive.records.measurement import ASKED, Connection
from outlive.service.gunicorn import Server
from outlive.service.users import mix

pytestmark = pytest.mark.real

MIX = mix(CHECKOUT.loadtests, "ErrorHeavy")


@pytest.mark.parametrize("connection", ASKED)
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_the_app_answers_every_scenario_as_expected(framework: str, connection: Connection) -> None:
    subject = reference(framework)
    worker = subject.app.worker(connection)
    assert worker is not None
    with Server(subject.environment, subject.app, worker, subject.folder) as server:
        server.fresh_worker()
        found = generate(server.address, Traffic(requests=200, connection=connection), project=CHECKOUT)
    assert (found.requests, found.faults, found.stopped) == (200, (), None)
    assert {one.scenario: one.requests / 200 for one in found.scenarios} == MIX


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_what_requests_leave_under_load_is_what_replay_predicts(framework: str) -> None:
    """A connection for each request, as connections leave something, too: then the mix says it all."""
    subject = reference(framework)
    left = {one.scenario: one.survivors_per_request for one in measured(subject, *map(cell, MIX))}
    worker = subject.app.worker("close")
    assert worker is not None
    with Server(subject.environment, subject.app, worker, subject.folder) as server:
        line = server.fresh_worker()
        traffic = Traffic(requests=500, connection="close")
        generate(server.address, traffic, project=CHECKOUT)  # what comes once has come
        line.begin("off")
        found = generate(server.address, traffic, project=CHECKOUT)
        count = line.count()
    assert found.unexpected == 0
    prediction = predicted(found.scenarios, {name: value or 0.0 for name, value in left.items()})
    assert count.survivors / found.requests == pytest.approx(prediction, rel=0.05)
