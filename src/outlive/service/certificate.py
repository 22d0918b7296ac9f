"""A certificate for outlive's servers on loopback, made when needed and deleted with its folder."""

from __future__ import annotations

from pathlib import Path

from outlive import processes
from outlive.errors import FaultError
from outlive.wording import one_line

COMMAND = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2"
SUBJECT = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
TIMEOUT = 30.0


def maker() -> str:
    """Return the version of openssl. Raises FaultError if it is not installed."""
    done = processes.run(["openssl", "version"], timeout=TIMEOUT)
    if done.returncode:
        raise FaultError("not installed")
    return done.stdout.strip()


def make(folder: Path) -> Path:
    """Return the path of a new PEM file in `folder`, with a key and a self-signed certificate.

    Raises FaultError if openssl is not installed or fails.
    """
    path = folder / "certificate.pem"
    path.touch(0o600)
    key = folder / "key.pem"
    done = processes.run(
        [*COMMAND.split(), *SUBJECT, "-keyout", key, "-out", path], cwd=folder, timeout=TIMEOUT
    )
    if done.returncode:
        raise FaultError(
            "openssl cannot make the certificate that scenarios with TLS need: "
            f"{one_line(processes.complaint(done))}"
        )
    path.write_text(path.read_text() + key.read_text())
    return path
