"""A certificate for servers of ours on loopback, made when it is needed and gone with its folder."""

from __future__ import annotations

from pathlib import Path

from outlive import processes
from outlive.errors import FaultError

COMMAND = "openssl req -x509 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -days 2"
SUBJECT = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
TIMEOUT = 30.0


def maker() -> str:
    """Return the version of openssl; raises FaultError where it is not installed."""
    done = processes.run(["openssl", "version"], timeout=TIMEOUT)
    if done.returncode:
        raise FaultError("not installed")
    return done.stdout.strip()


def make(folder: Path) -> Path:
    """Return a file in `folder` with a new key and a certificate of it that nobody has signed.

    Raises FaultError where openssl is not installed or does not make one.
    """
    path = folder / "certificate.pem"
    path.touch(0o600)
    key = folder / "key.pem"
    done = processes.run(
        [*COMMAND.split(), *SUBJECT, "-keyout", key, "-out", path], cwd=folder, timeout=TIMEOUT
    )
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise FaultError(f"openssl makes no certificate, which scenarios with TLS need: {said}")
    path.write_text(path.read_text() + key.read_text())
    return path
