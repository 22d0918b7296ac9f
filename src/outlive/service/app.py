"""Reference apps: a small service for each framework, and the gunicorn workers that can serve it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated

import msgspec
from packaging.requirements import Requirement

from outlive.errors import UsageError
from outlive.files import decode_toml, read_bytes
from outlive.project import Project
from outlive.records.measurement import Asked, Connection, asked_for
from outlive.service.scenarios import Scenario
from outlive.wording import nearest


class Worker(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A gunicorn worker: `arguments` go on gunicorn's command line after `--worker-class`.

    `connections` are the kinds that it can serve, as clients ask for them. `packages` are requirements beyond
    the framework and gunicorn, as in `gunicorn[gevent]`. They are part of the lock, and a worker with
    packages serves only if it is named. `request_counter` is the attribute in which the server counts
    requests, as `module:Class.attribute`; empty if gunicorn calls the `post_request` hook. `renewed` is an
    attribute that the server renews by the clock: the replay keeps its first value. `requires` is what a
    stack must contain for it, as in `gunicorn>=24`. Without `preload`, each worker of the exact replay
    imports the app by itself, because it replaces modules first.
    """

    name: str
    worker_class: str
    connections: Annotated[tuple[Asked, ...], msgspec.Meta(min_length=1)]
    arguments: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    request_counter: str = ""
    renewed: str = ""
    requires: str = ""
    preload: bool = True

    def told(self, **variables: str) -> Worker:
        """Return the worker with further environment variables."""
        words = (word for name, value in variables.items() for word in ("--env", f"{name}={value}"))
        return msgspec.structs.replace(self, arguments=(*self.arguments, *words))

    def why_not(self, connection: Connection) -> str | None:
        """Return why it cannot serve a replay over such connections, or None if it can."""
        if asked_for(connection) in self.connections:
            return None
        return f"gunicorn's {self.name} worker cannot serve {connection} connections"

    def lacks(self, versions: Mapping[str, str]) -> str | None:
        """Return why a stack with packages of these versions cannot use it, or None if it can."""
        if not self.requires:
            return None
        needed = Requirement(self.requires)
        version = versions.get(needed.name)
        if version and needed.specifier.contains(version, prereleases=True):
            return None
        return f"gunicorn's {self.name} worker needs {self.requires}, and the stack has {version or 'none'}"


class Further(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Another reference app of a framework, for extended scenarios: a `[[further]]` table of its `app.toml`.

    `peer`: it calls another service, a peer on loopback that outlive starts. `tls`: it is served over TLS.
    """

    name: str
    app_version: Annotated[int, msgspec.Meta(ge=1)]
    target: str
    peer: bool = False
    tls: bool = False


class Own(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the user's own application needs. Each server gets a copy of its code, which it can write to.

    `folder` is the user's folder; `code` has a folder for the code of each release, named after it. `env` are
    variables with their values, `secrets` variables whose values come from the current environment. `before`
    are commands that run in the copy before the server starts; `start_limit` is how many seconds they and the
    start may take. `user` is the default user of load tests. `protocol` says how an async factory is awaited.
    """

    folder: str
    code: str
    protocol: str = ""
    user: str = ""
    env: tuple[tuple[str, str], ...] = ()
    secrets: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    start_limit: float = 60.0


class App(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A framework's reference app, as `apps/<framework>/app.toml` describes it.

    `target` is what gunicorn imports in the app's folder. The first of `workers` that can serve a kind of
    connection, and needs no packages, is the default for it. `peer` and `tls` are as in `Further`. `own` is
    None for reference apps.
    """

    framework: str
    app_version: Annotated[int, msgspec.Meta(ge=1)]
    target: str
    workers: Annotated[tuple[Worker, ...], msgspec.Meta(min_length=1)]
    further: tuple[Further, ...] = ()
    peer: bool = False
    tls: bool = False
    own: Own | None = None

    def worker(self, connection: Connection, selected: str | None = None) -> Worker | None:
        """Return the worker that serves `connection`: the default one, or the one named `selected`.

        None means that it, or every worker, cannot serve that connection, so the cell is unsupported. Raises
        UsageError if no worker is named `selected`.
        """
        usual = (worker for worker in self.workers if not worker.packages)
        chosen = usual if selected is None else (self.named(selected),)
        return next((worker for worker in chosen if worker.why_not(connection) is None), None)

    def serves(self, scenario: Scenario) -> bool:
        """Return whether the app, or one of its further apps, serves a scenario."""
        names = {"", *(further.name for further in self.further)}
        return scenario.about(self.framework) and scenario.app in names

    def named(self, name: str) -> Worker:
        """Return the worker with this name. Raises UsageError with the nearest names if there is none."""
        by_name = {worker.name: worker for worker in self.workers}
        if name not in by_name:
            raise UsageError(f"no worker {name!r} for {self.framework}; try {nearest(name, by_name)}")
        return by_name[name]

    def sent(self, scenario: Scenario) -> str:
        """Return eight hex digits of what determines counts beside names and versions.

        That is what the scenario sends and, for the user's own application, how it is served. A login is left
        out because it contains a password.
        """
        app = self.own and msgspec.structs.replace(self.own, folder="", code="", user="", start_limit=0.0)
        served = (self.target, self.workers, app) if app else ()
        inputs = (scenario.request, scenario.steps, scenario.then, scenario.tls, served)
        return hashlib.sha256(msgspec.json.encode(inputs)).hexdigest()[:8]


def load(project: Project, framework: str, name: str = "") -> App:
    """Return the reference app of `framework`, in the version that its `app.toml` says is current.

    `name` names a further app; empty means the main one. Raises UsageError with the nearest names if the
    framework has no app of that name, and for a malformed `app.toml`.
    """
    frameworks = project.frameworks()
    if framework not in frameworks:
        raise UsageError(f"no framework {framework!r}; try {nearest(framework, frameworks)}")
    path = project.apps / framework / "app.toml"
    try:
        app = decode_toml(read_bytes(path), App)
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
    if app.own is None and not (path.parent / module).is_file():
        raise UsageError(f"{path}: app_version is {app.app_version}, but there is no {module}")
    return msgspec.structs.replace(app, target=target)


def packages(project: Project, framework: str, worker: str | None) -> tuple[str, ...]:
    """Return the requirements of the worker named `worker` beyond the framework and gunicorn.

    None are needed for the default workers. Raises UsageError as `load` and `App.named` do.
    """
    return load(project, framework).named(worker).packages if worker else ()


def _further(app: App, name: str) -> App:
    """Return `app` with the fields of its further app `name`."""
    by_name = {further.name: further for further in app.further}
    if name not in by_name:
        raise UsageError(f"{app.framework} has no app {name!r}; try {nearest(name, by_name)}")
    further = by_name[name]
    fields = {field: getattr(further, field) for field in further.__struct_fields__ if field != "name"}
    return msgspec.structs.replace(app, **fields)
