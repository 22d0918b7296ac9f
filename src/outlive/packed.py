"""Files inside archives that come from outside: damaged, encrypted, or far larger than they say."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib

LARGEST = 16 * 1024**2
"""Bytes of an unpacked file that is read: a changelog, or metadata with a description."""
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # what is encrypted; NotImplementedError, a method of compression that is not known
    OverflowError,
)
"""What reading a damaged archive raises."""


def member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return what is in a file of an archive. Raises one of DAMAGE where it is damaged or too large."""
    with archive.open(name) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"{name} in it has more than {LARGEST // 1024**2} MiB")
    return data
