"""Reproducers: a script that shows a fingerprint with the framework and the standard library alone.

It is cut from the reference app, with a server and a client added. It is only offered after a run in the
release's environment has shown the same fingerprint.
"""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from outlive import processes, temporary
from outlive.errors import FaultError, UsageError
from outlive.records.stack import python_minor
from outlive.replay.explanation.reduction import bound_by, reduce
from outlive.replay.subject import Subject
from outlive.retention.graph import read
from outlive.retention.structures import Class, Structure, analyse
from outlive.retention.trails import Explanation
from outlive.service.app import App
from outlive.service.scenarios import Scenario, expected

PARTS = Path(__file__).with_name("reproducers")
MAIN = PARTS / "main.py"
RUNNER = Path(__file__).parents[2] / "worker" / "reproduce.py"
REQUESTS = 11
TRIALS = 60
"""Most runs of scripts while reducing; each takes about a second."""
LIMIT = 30.0
"""Seconds that one run may take."""
INDENT = " " * 12
RUN = re.compile(rb"(.)\1{63,}", re.DOTALL)  # as in the body of an upload
ANSWERED = """\
answer = b""
with contextlib.suppress(ConnectionError):
    while chunk := client.recv(65536):
        answer += chunk
"""
LEAVES = """\
time.sleep(0.02)  # until the server waits for more
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leaves at once
"""
SENDS = """\
client.connect(address)
client.sendall(REQUEST)
"""
CLIENTS = {
    "complete": SENDS + ANSWERED,
    "half-close": SENDS + "client.shutdown(socket.SHUT_WR)\n" + ANSWERED,
    "leave-in-body": SENDS + LEAVES,
    "leave-in-answer": "client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)\n"
    + SENDS
    + "client.recv(100)\n"
    + LEAVES,
}
"""What each kind of client does on its connection."""
SEND = """\
import contextlib
import socket
import struct
import time

REQUEST = (
{request}
)


def send(address, times):
    for _ in range(times):
        with socket.socket() as client:
{client}"""


def lacks(scenario: Scenario, app: App) -> str:
    """Return why no script can show what a scenario leaves in an app; empty if one might."""
    if app.own:
        return "it is cut from a reference app, and this app is none"
    if app.peer or not app.target.endswith(":app"):
        return "its app needs more than a server"
    if not isinstance(scenario.client, str) or scenario.then or scenario.login or app.tls:
        return "it is not a single plain request"
    return ""


class Reproducer(msgspec.Struct, frozen=True):
    """Finds a script that shows what a scenario leaves in a subject; it is cut from the reference app."""

    subject: Subject
    scenario: Scenario

    @property
    def module(self) -> Path:
        """The reference app's file."""
        return (self.subject.folder / self.subject.app.target.partition(":")[0]).with_suffix(".py")

    def find(self, structure: Structure, picture: Sequence[str]) -> str:
        """Return the smallest script found that shows `structure`; its docstring has the lines `picture`.

        Raises UsageError for a scenario that a script cannot send, FaultError if no script shows it.
        """
        if why := lacks(self.scenario, self.subject.app):
            raise UsageError(f"a reproducer cannot send {self.scenario.name}: {why}")
        target = structure.explanation

        def shows(app: str) -> bool:
            return self._shows(self._script(app, ""), target, structure.growth)

        source = self.module.read_text(encoding="utf-8")
        if not shows(source):
            raise FaultError(
                f"no reproducer: outside gunicorn {self.scenario.name} does not show {target.fingerprint}"
            )
        script = self._script(reduce(source, "create_app", shows, TRIALS), self._head(structure, picture))
        if not self._shows(script, target, structure.growth):
            raise FaultError(f"no reproducer: the smallest script does not show {target.fingerprint} again")
        return script

    def _script(self, app: str, head: str) -> str:
        """Return a script with the source of an app in it; all imports come first, each once."""
        scenario = self.scenario
        half = scenario.client in ("half-close", "leave-in-body")
        request = scenario.cut("close") if half else scenario.message("close")
        client = str(scenario.client)
        send = SEND.format(
            request="\n".join(_literal(request)),
            client=textwrap.indent(CLIENTS[client], INDENT),
        )
        if ANSWERED in CLIENTS[client]:
            send += "    return answer[9:12].decode()\n"
        server = self.module.with_name("reproducer.py")
        server = server if server.is_file() else PARTS / "wsgi.py"
        parts = [app, server.read_text(encoding="utf-8"), send, MAIN.read_text(encoding="utf-8")]
        trees = [ast.parse(part) for part in parts]
        bodies = "\n\n\n".join(_without_head(part, tree) for part, tree in zip(parts, trees, strict=True))
        return f"{head}{_imports(trees)}\n\n\n{bodies}\n"

    def _head(self, structure: Structure, picture: Sequence[str]) -> str:
        lock = self.subject.environment.lock
        packages = ", ".join(
            f'"{package}"' for package in lock.packages if package.name not in ("gunicorn", "packaging")
        )
        fate = "frees only when it collects" if structure.growth == "cyclic" else "never frees"
        return "\n".join(
            [
                "# /// script",
                f'# requires-python = "=={python_minor(lock.python).removesuffix("t")}.*"',
                f"# dependencies = [{packages}]",
                "# ///",
                f'"""What {lock.framework} {lock.release} keeps of a request, which Python {fate}.',
                "",
                *(line.rstrip() for line in picture),
                "",
                f"outlive calls it {structure.explanation.fingerprint} and saw it in a run of this script.",
                '"""',
                "",
            ]
        )

    def _shows(self, script: str, target: Explanation, growth: Class) -> bool:
        with temporary.folder() as folder:
            path, graph = folder / "reproducer.py", folder / "graph.json"
            path.write_text(script, encoding="utf-8")
            command: list[str | Path] = [self.subject.environment.python, "-I", RUNNER, path]
            command += [self.module.stem, graph, str(REQUESTS)]
            try:
                done = processes.run(command, cwd=Path(folder), timeout=LIMIT)
            except FaultError:  # it hangs
                return False
            if done.returncode or not graph.is_file() or not self._expects(done.stdout.strip()):
                return False
            analysis = analyse(read(graph.read_bytes()), bounded=growth == "bounded")
        return any(
            _alike(explanation, target)
            for structure in analysis.structures
            if structure.growth == growth
            for explanation in (structure.explanation, *structure.further)
        )

    def _expects(self, status: str) -> bool:
        """Return whether the scenario expects the script's answer, which is empty if the client left."""
        answers = {answer.partition(" ")[0] for answer in self.scenario.expect}
        return expected([*answers], status) or (not status and bool(answers & {"closed", "aborted"}))


def _literal(request: bytes) -> Iterator[str]:
    """Yield the lines of an expression for the bytes of a request; long runs of one byte are shortened."""
    at, joined = 0, "    "
    for run in (*RUN.finditer(request), None):
        for line in request[at : run.start() if run else None].splitlines(keepends=True):
            yield f"{joined}{line!r}"
            joined = "    "
        if run:
            yield f"    + {run[1]!r} * {len(run[0])}"
            at, joined = run.end(), "    + "


def _alike(first: Explanation, second: Explanation) -> bool:
    """Return whether both are one fault with the same types, because fingerprints ignore the error's type."""
    types = [sorted(step.vertex.type for step in explanation.steps) for explanation in (first, second)]
    return first.fingerprint == second.fingerprint and types[0] == types[1]


def _imports(trees: Sequence[ast.Module]) -> str:
    """Return the imports of all parts that any part uses, one a line."""
    used = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    lines = {
        ast.unparse(node)
        for tree in trees
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        and any(bound_by(alias) in used for alias in node.names)
    }
    return "\n".join(sorted(lines, key=lambda line: (line.startswith("from"), line)))


def _without_head(source: str, tree: ast.Module) -> str:
    """Return the text of a part without its docstring and imports."""
    nodes = [
        node
        for node in tree.body
        if not isinstance(node, (ast.Import, ast.ImportFrom))
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    lines = source.splitlines()
    texts = []
    for node in nodes:
        decorators: list[ast.expr] = getattr(node, "decorator_list", [])
        first = min([node.lineno, *(decorator.lineno for decorator in decorators)])
        texts.append("\n".join(lines[first - 1 : node.end_lineno]))
    return "\n\n\n".join(texts)
