"""The verbs that `disk.py` runs, and what they start with."""

from __future__ import annotations

import msgspec
from grounds import CELL, RELEASE


class Verb(msgspec.Struct, frozen=True):
    """A verb's words and files, the verb whose results it needs, and where else it changes files.

    `results` is the folder of the checkout that it writes to, `code` how it ends without a fault, `before`
    the program that runs it.
    """

    words: tuple[str, ...]
    files: tuple[str, ...] = ("--json",)
    after: str = ""
    also: tuple[str, ...] = ()
    results: str = ".outlive"
    code: int = 0
    before: tuple[str, ...] = ()


MEASURE = Verb(("measure", RELEASE, *CELL), ("--json", "--markdown"))
VERBS = {
    "measure": MEASURE,
    "compare": Verb(("compare", "flask==3.1.2", RELEASE, *CELL), ("--json", "--markdown")),
    "explain": Verb(
        ("explain", RELEASE, "--scenario", "ok", "--python", "3.11"), ("--json", "--svg", "--mermaid")
    ),
    "gate": Verb(("gate", RELEASE, *CELL), ("--json", "--junit", "--sarif", "--summary")),
    "load": Verb(("load", RELEASE, "--requests", "300", "--python", "3.11"), ("--json", "--html")),
    "report": Verb(("report", "flask==3.1.2", RELEASE, *CELL), ("--json", "--markdown")),
    "attribute": Verb(
        ("attribute", "flask==3.1.2", RELEASE, "--scenario", "ok", "--python", "3.11"),
    ),
    "remedies": Verb(
        ("remedies", RELEASE, "--scenario", "ok", "--python", "3.11", "--remedy", "clear-error"),
    ),
    "measured": Verb(("measured", RELEASE, "--forget"), after="measure", also=("results",)),
    "sweep": Verb(("sweep", "flask", "--since", "3.1.3", *CELL), results="results"),
    "leaks": Verb(("leaks", "flask"), after="measure"),
    "steps": Verb(("steps", "flask"), ("--json", "--markdown"), after="measure"),
    "publish": Verb(("publish", "{out}/site"), (), after="report"),
    "releases": Verb(("releases", "list", "flask")),
    "doctor": Verb(("doctor",)),
    "measure --app": Verb(("measure", "--app", "{out}", *CELL)),
    "init": Verb(("init", "{out}", "--force"), (), also=("output",)),
    "bisect": Verb(
        ("bisect", f"{RELEASE},python==3.11", "main~2", "main", "--repo", "{repository}", "--scenario", "ok"),
        after="measure",
    ),
    "watch": Verb(("watch", "flask", "--repo", "{repository}", *CELL), after="measure", code=1),
    "serve": Verb(
        ("serve", RELEASE, "--python", "3.11", "--port", "{port}"),
        (),
        also=("temporary files",),
        before=("timeout", "--signal=INT", "--preserve-status", "10"),
    ),
    "releases update": Verb(("releases", "update", "flask"), also=("results",), results="releases"),
    "releases claims": Verb(("releases", "claims", "flask"), also=("results",), results="releases"),
}
GIVEN = {
    "app.py": "from flask import Flask\n\napp = Flask(__name__)\n",
    "requirements.txt": f"{RELEASE}\n",
    "outlive.toml": """\
target = "app:app"
protocol = "wsgi"
packages = "requirements.txt"

[[scenario]]
name = "ok"
request = { path = "/none" }
expect = 404
""",
}
"""An application of a user's own."""
