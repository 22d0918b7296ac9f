"""Reference apps: one small service for each framework, and the gunicorn workers that can serve it."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated

import msgspec
from packaging.requirements import Requirement

from outlive.errors import UsageError
from outlive.files import decode_toml
from outlive.project import Project
from outlive.records.measurement import Asked, Connection, asked_for
from outlive.service.scenarios import Scenario


class Worker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A gunicorn worker: `arguments` go on gunicorn's command line beside `--worker-class`.

    `connections` are those that it holds, as clients ask for them. `packages` are requirements beyond the
    framework and gunicorn, as in `gunicorn[gevent]`. A worker with such is for load tests: the exact replay
    has an environment without them. `request_counter` is the attribute in which the server counts requests,
    as `module:Class.attribute`; empty where gunicorn's `post_request` hook is called. `requires` is what a
    stack must have for it, as in `gunicorn>=24`.
    """

    name: str
    worker_class: str
    connections: Annotated[tuple[Asked, ...], msgspec.Meta(min_length=1)]
    arguments: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    request_counter: str = ""
    requires: str = ""

    def lacks(self, versions: Mapping[str, str]) -> str | None:
        """Return why a stack with packages of these versions cannot have it, or None where it can."""
        if not self.requires:
            return None
        needed = Requirement(self.requires)
        version = versions.get(needed.name)
        if version and needed.specifier.contains(version, prereleases=True):
            return None
        return f"gunicorn's {self.name} worker needs {self.requires}, and the stack has {version or 'none'}"


class Further(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One more reference app of a framework, for extended scenarios: a `[[further]]` of its `app.toml`.

    `peer` says that it calls out, to a peer of ours on loopback; `tls` that it is served over TLS.
    """

    name: str
    app_version: Annotated[int, msgspec.Meta(ge=1)]
    target: str
    peer: bool = False
    tls: bool = False


class App(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A framework's reference app, as `apps/<framework>/app.toml` describes it.

    `target` is what gunicorn imports in the app's folder. The first of `workers` that can hold a connection
    is the default for it. `peer` and `tls` are as in `Further`.
    """

    framework: str
    app_version: Annotated[int, msgspec.Meta(ge=1)]
    target: str
    workers: Annotated[tuple[Worker, ...], msgspec.Meta(min_length=1)]
    further: tuple[Further, ...] = ()
    peer: bool = False
    tls: bool = False

    def worker(self, connection: Connection, selected: str | None = None) -> Worker | None:
        """Return the worker that serves `connection`: the default one, or the one named `selected`.

        None means that it, or every worker, cannot hold such a connection: the cell is unsupported.
        Raises UsageError where no worker is named `selected`.
        """
        if selected is not None:
            self.named(selected)
        for worker in self.workers:
            if self.why_not(connection, worker) is None and selected in {None, worker.name}:
                return worker
        return None

    def serves(self, scenario: Scenario) -> bool:
        """Return whether it, or one of its further apps, serves a scenario."""
        names = {"", *(further.name for further in self.further)}
        return scenario.about(self.framework) and scenario.app in names

    def named(self, name: str) -> Worker:
        """Return the worker with this name. Raises UsageError, with the nearest names, where none has it."""
        by_name = {worker.name: worker for worker in self.workers}
        if name not in by_name:
            raise UsageError(f"no worker {name!r} for {self.framework}; try {_nearest(name, list(by_name))}")
        return by_name[name]

    @staticmethod
    def why_not(connection: Connection, worker: Worker) -> str | None:
        """Return why a worker cannot serve a replay over such connections, or None."""
        if worker.packages:
            return f"gunicorn's {worker.name} worker needs {', '.join(worker.packages)}: see outlive load"
        if asked_for(connection) not in worker.connections:
            return f"gunicorn's {worker.name} worker cannot serve {connection} connections"
        return None


def load(project: Project, framework: str, name: str = "") -> App:
    """Return the reference app of `framework`, in the version that its `app.toml` says is current.

    `name` is that of a further app; without one it is the main one. Raises UsageError for a framework that
    has no app, or none of that name, with the nearest names, and for a malformed `app.toml`.
    """
    known = project.frameworks()
    if framework not in known:
        raise UsageError(f"no framework {framework!r}; try {_nearest(framework, known)}")
    path = project.apps / framework / "app.toml"
    try:
        app = decode_toml(path.read_bytes(), App)
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise UsageError(f"{path}: not an app file: {' '.join(str(error).split())}") from None
    names = [worker.name for worker in app.workers]
    if app.framework != framework:
        raise UsageError(f"{path}: framework is {app.framework!r}, but the folder's name is {framework!r}")
    if len(set(names)) < len(names):
        raise UsageError(f"{path}: two workers have the same name: {', '.join(names)}")
    if name:
        app = _further(app, name)
    target = app.target.replace("{app_version}", str(app.app_version))
    module = f"{target.partition(':')[0]}.py"
    if not (path.parent / module).is_file():
        raise UsageError(f"{path}: app_version is {app.app_version}, but there is no {module}")
    return msgspec.structs.replace(app, target=target)


def _further(app: App, name: str) -> App:
    """Return `app` with what the further app `name` has of its own."""
    names = [one.name for one in app.further]
    if name not in names:
        raise UsageError(f"{app.framework} has no app {name!r}; try {_nearest(name, names)}")
    own = app.further[names.index(name)]
    return msgspec.structs.replace(
        app, app_version=own.app_version, target=own.target, peer=own.peer, tls=own.tls
    )


def _nearest(name: str, known: tuple[str, ...] | list[str]) -> str:
    return ", ".join(get_close_matches(name, known, n=3, cutoff=0.4) or known)
