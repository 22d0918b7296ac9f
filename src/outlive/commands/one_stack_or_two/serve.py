"""`outlive serve`: serve a reference app, to try it or to send load to it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import click

from outlive import processes, temporary
from outlive.errors import ExitCode, FaultError, UnavailableError
from outlive.project import Project
from outlive.records.stack import Stack
from outlive.service import app as apps
from outlive.stacks import environments
from outlive.stacks.prepare import prepare


@click.command("serve")
@click.argument("stack", metavar="FRAMEWORK==VERSION")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option("--worker-class", "name", metavar="NAME", help="gunicorn worker, by its name in app.toml.")
@click.option(
    "--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="gunicorn's workers."
)
@click.option("--python", metavar="X.Y", help="Python for a stack that names none.")
def serve_command(stack: str, port: int, name: str | None, workers: int, python: str | None) -> int:
    """Serve a reference app until Ctrl-C.

    gunicorn serves it on loopback, without a probe; nothing is measured.

    \b
    outlive serve flask==3.1.3
    locust -f loadtests/locustfile.py --host http://127.0.0.1:8000
    """  # noqa: D301 - click's mark for lines that stay as they are
    project = Project.find()
    wanted = Stack.parse(stack)
    app = apps.load(project, wanted.framework)
    worker = app.named(name) if name else app.workers[0]
    prepared = prepare(project, wanted, python, packages=worker.packages)
    if lacking := worker.lacks(prepared.lock.versions):
        raise UnavailableError(lacking)
    environment = environments.ensure(prepared.lock, prepared.interpreter)
    command: list[str | Path] = [environment.python, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}"]
    command += ["--workers", str(workers), "--worker-class", worker.worker_class]
    command += [*worker.arguments, app.target]
    click.echo(f"{prepared.release}, Python {prepared.lock.python}: http://127.0.0.1:{port}; Ctrl-C ends it")
    with (
        contextlib.suppress(KeyboardInterrupt),
        temporary.folder() as home,  # newer releases of gunicorn put a control socket there
        processes.running(
            command,
            cwd=project.apps / app.framework,
            env=os.environ | dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME"), str(home)),
        ) as server,
    ):
        if server.wait():
            raise FaultError(f"gunicorn ended with status {server.returncode}: it says why above")
    return ExitCode.FINE
