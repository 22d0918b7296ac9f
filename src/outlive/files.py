"""Writes files whole or not at all, and checks files when it reads them."""

from __future__ import annotations

import codecs
import contextlib
import datetime as dt
import errno
import functools
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO, TypeVar

import msgspec

from outlive.errors import FaultError
from outlive.project import TEMPORARY, WORK, cache_dir
from outlive.wording import one_line

SCHEMA_VERSION = 1


class JsonDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is written as indented JSON, for people to read."""

    schema_version: int = SCHEMA_VERSION

    def to_json(self) -> str:
        """Return the document as indented JSON that ends with a newline.

        Paths are text; bytes of theirs that are not UTF-8 are replaced.
        """
        encoded = msgspec.json.encode(self, enc_hook=lambda path: os.fsencode(path).decode(errors="replace"))
        return msgspec.json.format(encoded, indent=1).decode() + "\n"


T = TypeVar("T")
D = TypeVar("D", bound=msgspec.Struct)
CHECKSUM = re.compile(rb',\n"checksum":"([0-9a-f]{16})"}\n')
CHECKSUM_LENGTH = 33
"""Bytes of the end of a document with a checksum; old documents have none."""
COPIED = {stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK}
LARGEST = 256 * 1024**2
"""Bytes of the largest file that is read; results are a few MiB."""
LONGEST_LOG = 16 * 1024**2
"""Bytes of a log after which it is emptied: tracebacks of a long load test would fill the disk."""
AGAIN = "restore it, or remove it to measure again"
FULL = (errno.ENOSPC, errno.EDQUOT)
ERRNO = re.compile(r"^\[Errno (\d+)\] ")
TOML_TYPES = (dt.datetime, dt.date, dt.time)
STANDARD_OUTPUT = Path("-")
_documents: list[TextIO] = []


def documents_to(stream: TextIO) -> Callable[[], object]:
    """Send documents for the file `-` to `stream`; return a function that ends this."""
    _documents.append(stream)
    return _documents.pop


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as `write_bytes` does; `-` is standard output."""
    if path == STANDARD_OUTPUT:
        stream = _documents[-1] if _documents else sys.stdout
        stream.write(text)
        stream.flush()
        return
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` as a whole or not at all.

    A link stays a link: its target is replaced. A device, a pipe or an open stream is written to. Raises
    FaultError if the file cannot be written.
    """
    try:
        target = Path(os.path.realpath(path))  # `missing/../x` is `x`
        if place := next((place for place in (path, target) if _in_place(place)), None):
            with place.open("ab") as file:
                file.write(content)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        for folder in path.parents:
            if folder.name == WORK and folder.is_dir() and not (folder / ".gitignore").exists():
                _replace(folder / ".gitignore", b"*\n")  # it can be in the user's repository
        _replace(target, content)
    except OSError as error:
        raise unwritten(path, error) from None


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error says more
            temporary.unlink(missing_ok=True)
        raise


def check_writable(path: Path) -> None:
    """Raise FaultError if a file or folder cannot be written, or made in the nearest folder that exists."""
    place = next(place for place in (path, *path.parents) if place.exists())
    try:
        if not os.access(place, os.W_OK):
            raise PermissionError(errno.EACCES, f"{place} is not writable")
        if place in path.parents and not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{place} is not a folder")
        if not _in_place(path):
            tempfile.TemporaryFile(dir=place if place.is_dir() else place.parent).close()
    except OSError as error:
        raise unwritten(path, error) from None


def unwritten(path: Path, error: OSError) -> FaultError:
    """Return the error for a file or a folder that cannot be written."""
    return FaultError(f"{path} cannot be written: {why(path, error)}")


def why(path: Path, error: OSError) -> str:
    """Return why a file or a folder cannot be written, and what to do about it."""
    if error.errno in FULL:
        return f"the disk is full: free some room, or {_elsewhere(path)}"
    if error.errno == errno.EFBIG:
        return "it is larger than `ulimit -f` allows"
    if file := next((place for place in path.parents if place.exists() and not place.is_dir()), None):
        return f"{file} is not a folder: {_elsewhere(path)}"
    return f"{error.strerror}: {_elsewhere(path)}"


def _elsewhere(path: Path) -> str:
    if path.is_relative_to(cache_dir()):
        return "set OUTLIVE_CACHE to another folder"
    named = os.environ.get("OUTLIVE_RESULTS")
    if f"/{WORK}/results/" in f"{path}/" or (named and path.is_relative_to(Path(named).absolute())):
        return "set OUTLIVE_RESULTS to another folder"
    if tempfile.tempdir and str(path).startswith(f"{tempfile.tempdir}/{TEMPORARY}"):
        return "set TMPDIR to another folder"
    return "name another place"


def _in_place(path: Path) -> bool:
    """Return whether `path` is something that must not be replaced: a device, a pipe, an open stream."""
    target = path.readlink() if path.is_symlink() else path
    opened = any(place.is_relative_to("/proc") for place in (path.parent.resolve(), target))
    return path.exists() and (opened or not path.is_file())


def keep_short(log: Path) -> None:
    """Empty a log that is longer than LONGEST_LOG. Whoever writes it must append."""
    if log.stat().st_size > LONGEST_LOG:
        os.truncate(log, 0)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file from any source.

    Raises OSError for a pipe or a device, which can be endless, and for a file larger than LARGEST.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if status.st_size > LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return path.read_bytes()


def read_text(path: Path) -> str:
    """Return the text of a file, without a byte order mark. Raises OSError and UnicodeDecodeError."""
    return read_bytes(path).decode("utf-8-sig").replace("\r\n", "\n")


def write_list(path: Path, records: Iterable[msgspec.Struct]) -> None:
    """Write `records` to `path` as a JSON array, one a line for readable diffs; as `write_text` does."""
    lines = ",\n".join(msgspec.json.encode(record).decode() for record in records)
    write_text(path, f"[\n{lines}\n]\n" if lines else "[]\n")


def copy_tree(tree: Path, copy: Path, left_out: Callable[[str, list[str]], list[str]], name: str) -> None:
    """Copy a folder, links as links, without the names that `left_out` returns for each folder.

    Sockets, pipes and devices are not copied: a server makes its own. Raises FaultError, which calls the
    folder `name`, if it cannot be copied.
    """

    def ignored(folder: str, names: list[str]) -> list[str]:
        special = [n for n in names if stat.S_IFMT(Path(folder, n).lstat().st_mode) not in COPIED]
        return [*left_out(folder, names), *special]

    try:
        shutil.copytree(tree, copy, symlinks=True, ignore=ignored)
    except shutil.Error as error:
        _, target, text = error.args[0][0]
        number = ERRNO.match(text)
        full = number and int(number[1]) in FULL
        reason = why(Path(target), OSError(errno.ENOSPC, text)) if full else ERRNO.sub("", one_line(text))
        raise FaultError(f"{name} cannot be copied: {reason}") from None
    except OSError as error:
        raise FaultError(f"{name} cannot be copied: {error.strerror}") from None


def decode_toml(data: bytes | str, kind: type[T]) -> T:
    """Return a TOML document as a `kind`. Raises msgspec.DecodeError if it is not one."""
    try:
        if isinstance(data, bytes):
            data = data.removeprefix(codecs.BOM_UTF8).decode()
        return msgspec.convert(_toml(data), kind, builtin_types=TOML_TYPES, str_keys=True)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise msgspec.DecodeError("it is not UTF-8 text") from None
    except msgspec.DecodeError:
        raise
    except ValueError as error:  # a number with more digits than Python reads, a date that does not exist
        raise msgspec.DecodeError(one_line(str(error))) from None


@functools.lru_cache(maxsize=64)  # a command asks for the same files many times, and TOML is slow to read
def _toml(text: str) -> Any:
    return msgspec.toml.decode(text)


def toml_value(value: object) -> str:
    """Return a JSON-like value as TOML, in one line; keys with the value None are left out."""
    if isinstance(value, Mapping):
        pairs = [f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items() if item is not None]
        return f"{{ {', '.join(pairs)} }}" if pairs else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"[\x7f-\x9f]", lambda control: f"\\u{ord(control[0]):04x}", text)


def toml_key(name: str) -> str:
    """Return a key as TOML."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml_value(name)


def with_checksum(document: bytes) -> bytes:
    """Return a JSON object, as UTF-8, with a checksum of its content added."""
    content = document.rstrip().removesuffix(b"}")
    return content + b',\n"checksum":"' + _digest(content) + b'"}\n'


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest()[:16].encode()


class _Versioned(msgspec.Struct, frozen=True):
    """The version, which is read first: other versions can have other fields."""

    schema_version: int


def decode(
    path: Path,
    kind: type[D],
    others: Mapping[int, Callable[[bytes], D]] = MappingProxyType({}),
    *,
    name: str = "a results file",
    advice: str = "remove it to measure again",
) -> D:
    """Return the document of type `kind` in the file `path`; `others` decode other schema versions.

    Raises FileNotFoundError if there is no file, and FaultError if it cannot be read, is not such a document,
    has an unknown schema version, or is a link to nothing. The error calls the document `name`.
    """
    try:
        data = read_bytes(path)
        checksum = CHECKSUM.fullmatch(data[-CHECKSUM_LENGTH:])
        if checksum and checksum[1] != _digest(data[:-CHECKSUM_LENGTH]):
            raise FaultError(f"{path} was changed or damaged: its checksum does not match; {AGAIN}")
        version = msgspec.json.decode(data, type=_Versioned).schema_version
        if version in others:
            return others[version](data)
        if version != SCHEMA_VERSION:
            raise FaultError(f"{path} has schema version {version}, this is {SCHEMA_VERSION}: {advice}")
        return msgspec.json.decode(data, type=kind)
    except FileNotFoundError:
        if path.is_symlink():
            raise FaultError(f"{path} is a link to a file that does not exist") from None
        raise
    except OSError as error:
        raise FaultError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FaultError(f"{path} is not {name}: {error}; {advice}") from None
