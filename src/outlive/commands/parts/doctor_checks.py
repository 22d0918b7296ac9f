"""Checks what a machine needs for measuring by trying it, with a remedy for each failure."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import msgspec

from outlive.errors import OutliveError, UsageError
from outlive.files import JsonDocument
from outlive.project import Project, cache_dir
from outlive.records.measurement import Cell
from outlive.records.stack import KNOWN
from outlive.releases import index
from outlive.releases.catalogue import Catalogue
from outlive.replay.measure import measure
from outlive.replay.subject import Subject, Task
from outlive.service import app, certificate, scenarios
from outlive.stacks import environments, locks, pythons, uv
from outlive.wording import counted

ROOM = 2**30
"""Bytes of free disk that are several times the environments of both frameworks' newest releases."""


class Check(msgspec.Struct, frozen=True):
    """The result of one check. Nothing can be measured if a `needed` one fails."""

    name: str
    fine: bool
    found: str
    remedy: str = ""
    needed: bool = True


class ChecksDocument(JsonDocument, frozen=True, kw_only=True):
    """The checks as JSON."""

    checks: tuple[Check, ...]


def checks(project: Project) -> Iterator[Check]:
    """Yield each check as it is made; the last ones measure a cell of each framework."""
    interpreters = pythons.installed()
    minors = {interpreter.minor for interpreter in interpreters}
    missing = [minor for minor in KNOWN if minor not in minors]
    yield Check(
        "Pythons",
        bool(interpreters),
        ", ".join(interpreter.version for interpreter in interpreters) or "none",
        f"install one: uv python install {next(reversed(KNOWN))}",
    )
    if missing:
        yield Check(
            "further Pythons",
            False,
            f"not installed: {', '.join(missing)}",
            f"to measure on them: uv python install {' '.join(missing)}",
            needed=False,
        )
    yield _check("uv", lambda: uv.run_uv(["--version"]).strip(), "pip install uv")
    yield _check(
        "package index",
        lambda: f"answers, newest {index.ask(project.frameworks()[0])[-1]}",
        "set OUTLIVE_INDEX_URL to an index that this machine reaches; what is cached works without one",
        needed=False,
    )
    yield _check(
        "openssl", certificate.maker, "install openssl: extended scenarios with TLS need it", needed=False
    )
    free = shutil.disk_usage(next(path for path in [cache_dir(), *cache_dir().parents] if path.exists())).free
    yield Check(
        "room for environments",
        free >= ROOM,
        f"{free // 2**20:,} MiB free",
        "free some room, or set OUTLIVE_CACHE to another folder",
    )
    for framework in project.frameworks():
        yield _check(
            f"{framework}: gunicorn starts and the probe answers",
            lambda framework=framework: _plain_request(project, framework),  # type: ignore[misc]
            "see the reason above; outlive measure shows it for other releases and Pythons",
        )


def _plain_request(project: Project, framework: str) -> str:
    release = Catalogue.load(project, framework).newest()
    interpreter = pythons.choose([release])
    lock = locks.era(project, release, interpreter.minor)
    environment = environments.ensure(lock, interpreter)
    subject = Subject(environment, app.load(project, framework), project.apps / framework)
    task = Task(subject, (Cell("ok", "close", "off"),))
    (measurement,) = measure([task], scenarios.load(project.scenarios), jobs=1, done=lambda _: None)
    if measurement.status != "measured":
        raise OutliveError(measurement.reason)
    objects = counted(measurement.survivors_per_request or 0, "object")
    return f"{release} on {interpreter} leaves {objects} per plain request"


def _check(name: str, attempt: Callable[[], str], remedy: str, *, needed: bool = True) -> Check:
    try:
        return Check(name, True, attempt(), needed=needed)
    except UsageError as error:  # no words are checked, only variables
        return Check(name, False, str(error), "correct that variable, or unset it", needed)
    except OutliveError as error:
        return Check(name, False, str(error), remedy, needed)
