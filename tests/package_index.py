"""A package index on this machine with tiny wheels, for tests that resolve and install without a network."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Wheel:
    name: str
    version: str
    requires: tuple[str, ...] = ()
    uploaded: str | None = "2020-01-01T00:00:00Z"
    tag: str = "py3-none-any"
    yanked: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    requires_python: str = ">=3.8"

    @property
    def filename(self) -> str:
        return f"{self.name}-{self.version}-{self.tag}.whl"

    def content(self) -> bytes:
        info = f"{self.name}-{self.version}.dist-info"
        metadata = f"Metadata-Version: 2.1\nName: {self.name}\nVersion: {self.version}\n"
        files = {f"{self.name}/__init__.py": "", **self.files}
        files[f"{info}/METADATA"] = metadata + "".join(
            f"Requires-Dist: {needed}\n" for needed in self.requires
        )
        files[f"{info}/WHEEL"] = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {self.tag}\n"
        files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, text in files.items():
                archive.writestr(zipfile.ZipInfo(name), text)
        return buffer.getvalue()

    def simple(self) -> dict[str, object]:
        return {
            "filename": self.filename,
            "url": f"/files/{self.filename}",
            "hashes": {"sha256": hashlib.sha256(self.content()).hexdigest()},
            "requires-python": self.requires_python,
            "yanked": self.yanked or False,
            **({"upload-time": self.uploaded} if self.uploaded else {}),
        }

    def json(self) -> dict[str, object]:
        return {
            "filename": self.filename,
            "packagetype": "bdist_wheel",
            "upload_time_iso_8601": self.uploaded,
            "requires_python": self.requires_python,
            "yanked": self.yanked is not None,
            "yanked_reason": self.yanked,
        }


GUNICORN = Wheel("gunicorn", "27.0.1", files={"gunicorn/app/__init__.py": "", "gunicorn/app/base.py": ""})


@dataclass
class Index:
    """What it serves can be changed while it runs; `asked` are the paths that were asked for."""

    wheels: list[Wheel]
    has_json: bool = True
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str) -> tuple[str, bytes] | None:
        kind, *rest = path.strip("/").split("/")
        if kind == "files":
            return "application/octet-stream", next(w for w in self.wheels if w.filename == rest[0]).content()
        found = [wheel for wheel in self.wheels if wheel.name == rest[0]]
        if not found:
            return None
        if kind == "simple":
            page = {"meta": {"api-version": "1.1"}, "name": rest[0], "files": [w.simple() for w in found]}
            return "application/vnd.pypi.simple.v1+json", json.dumps(page).encode()
        if kind == "pypi" and self.has_json:
            releases: dict[str, list[object]] = {}
            for wheel in found:
                releases.setdefault(wheel.version, []).append(wheel.json())
            return "application/json", json.dumps({"info": {}, "releases": releases}).encode()
        return None


@contextlib.contextmanager
def serving(index: Index) -> Iterator[Index]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            index.asked.append(self.path)

        def do_HEAD(self) -> None:
            self.reply(with_body=False)

        def do_GET(self) -> None:
            self.reply(with_body=True)

        def reply(self, *, with_body: bool) -> None:
            found = index.answer(self.path)
            kind, body = found or ("text/plain", b"not here")
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        index.url = f"http://127.0.0.1:{server.server_port}/simple/"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield index
        server.shutdown()
        thread.join()
