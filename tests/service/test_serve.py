"""`outlive serve`: a reference app by hand."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest
import requests

from measuring import CHECKOUT
from outlive import processes
from outlive.project import cache_dir

SOON = 120.0  # seconds; far more than is needed


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.mark.real
def test_it_serves_until_it_is_interrupted_and_leaves_nothing_behind(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "outlive", "serve", "flask==3.1.3", "--port", str(port)]
    home = os.environ | {"HOME": str(tmp_path), "OUTLIVE_CACHE": str(cache_dir())}
    home.pop("XDG_RUNTIME_DIR", None)
    with processes.running(command, cwd=CHECKOUT.root, env=home, stdout=PIPE) as served:
        assert served.stdout
        said = served.stdout.readline().decode()
        assert said.startswith("flask 3.1.3, Python 3.")
        assert said.endswith(f": http://127.0.0.1:{port}; Ctrl-C ends it\n")
        deadline = time.monotonic() + SOON
        answer = None
        while answer is None:
            assert time.monotonic() < deadline
            with contextlib.suppress(requests.ConnectionError):
                answer = requests.get(f"http://127.0.0.1:{port}/nothing-here", timeout=10)
        assert answer.status_code == 404
        workers = psutil.Process(served.pid).children(recursive=True)
        assert workers
        served.send_signal(signal.SIGINT)
        assert served.wait(60) == 0
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    assert not (tmp_path / ".gunicorn").exists()
