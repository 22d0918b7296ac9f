"""Reads files in foreign archives, which can be damaged, encrypted, or far larger than they claim."""

from __future__ import annotations

import lzma
import tarfile
import zipfile
import zlib

LARGEST = 16 * 1024**2
"""Bytes of the largest unpacked file that is read: a changelog, or metadata with a description."""
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    OSError,
    ValueError,
    RuntimeError,  # encrypted; also NotImplementedError: an unknown compression method
    OverflowError,
)
"""The errors that reading a damaged archive raises."""


def member(archive: zipfile.ZipFile, name: str) -> bytes:
    """Return the content of a file in an archive. Raises one of DAMAGE if it is damaged or too large."""
    with archive.open(name) as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"{name} in it has more than {LARGEST // 1024**2} MiB")
    return data
