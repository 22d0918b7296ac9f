"""Writes and reads files: written as a whole or not at all, with a checksum, and checked when read."""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TextIO, TypeVar

import msgspec

from outlive.errors import FaultError
from outlive.wording import one_line


class JsonDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is written as indented JSON, so that people can read it too."""

    def to_json(self) -> str:
        """Return the document as indented JSON that ends with a newline; paths are text."""
        encoded = msgspec.json.encode(self, enc_hook=os.fspath)
        return msgspec.json.format(encoded, indent=1).decode() + "\n"


T = TypeVar("T")
D = TypeVar("D", bound=msgspec.Struct)
SCHEMA_VERSION = 1
CHECKSUM = re.compile(rb',\n"checksum":"([0-9a-f]{16})"}\n')
CHECKSUM_LENGTH = 33
"""Length in bytes of the end of a document with a checksum; old documents have none."""
AGAIN = "restore it, or remove it to measure again"


STANDARD_OUTPUT = Path("-")
_documents: list[TextIO] = []


def documents_to(stream: TextIO) -> Callable[[], object]:
    """Have what is written to the file `-` go to `stream`; what is returned ends that."""
    _documents.append(stream)
    return _documents.pop


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as a whole or not at all; `-` is standard output.

    Raises FaultError if that fails.
    """
    if path == STANDARD_OUTPUT:
        stream = _documents[-1] if _documents else sys.stdout
        stream.write(text)
        stream.flush()
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _ignored(path)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            with temporary.open("x", encoding="utf-8") as file:
                file.write(text)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise FaultError(f"{path} cannot be written: {error.strerror}") from None


def write_list(path: Path, records: Iterable[msgspec.Struct]) -> None:
    """Write `records` to `path` as a JSON array, one a line, so that diffs are readable; as `write_text`."""
    lines = ",\n".join(msgspec.json.encode(record).decode() for record in records)
    write_text(path, f"[\n{lines}\n]\n" if lines else "[]\n")


def _ignored(path: Path) -> None:
    """Make git ignore the folder `.outlive` around a file, which may be in a user's repository."""
    for folder in path.parents:
        if folder.name == ".outlive" and not (folder / ".gitignore").exists():
            (folder / ".gitignore").write_text("*\n", encoding="utf-8")


def copy_tree(tree: Path, copy: Path, left_out: Callable[[str, list[str]], list[str]], said: str) -> None:
    """Copy a folder, links as links, but for the names in a folder that `left_out` returns.

    `said` is what a user calls it. Raises FaultError where it cannot be copied.
    """
    try:
        shutil.copytree(tree, copy, symlinks=True, ignore=left_out)
    except shutil.Error as error:
        _, _, why = error.args[0][0]
        raise FaultError(f"{said} cannot be copied: {one_line(str(why))}") from None
    except OSError as error:
        raise FaultError(f"{said} cannot be copied: {error.strerror}") from None


def decode_toml(data: bytes | str, kind: type[T]) -> T:
    """Return a TOML document as a `kind`. Raises msgspec.DecodeError if it is not one."""
    try:
        return msgspec.toml.decode(data, type=kind)
    except RecursionError:
        raise msgspec.DecodeError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise msgspec.DecodeError("it is not UTF-8 text") from None
    except msgspec.DecodeError:
        raise
    except ValueError as error:  # a number with more digits than Python reads, a date that does not exist
        raise msgspec.DecodeError(one_line(str(error))) from None


def toml_value(value: object) -> str:
    """Return a value that JSON can hold as TOML, in one line; keys without a value are left out."""
    if isinstance(value, Mapping):
        pairs = (f"{toml_key(key)} = {toml_value(each)}" for key, each in value.items() if each is not None)
        return f"{{ {', '.join(pairs)} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


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
    """What is read first: in another version, the rest may have another form."""

    schema_version: int = SCHEMA_VERSION


def decode(path: Path, kind: type[D], others: Mapping[int, Callable[[bytes], D]] = MappingProxyType({})) -> D:
    """Return the document of this kind in the file `path`; `others` decode other schema versions.

    Raises FileNotFoundError if there is no file, and FaultError, in one line, if it cannot be read, is not
    such a document, or has an unknown schema version.
    """
    try:
        data = path.read_bytes()
        checksum = CHECKSUM.fullmatch(data[-CHECKSUM_LENGTH:])
        if checksum and checksum[1] != _digest(data[:-CHECKSUM_LENGTH]):
            raise FaultError(f"{path} was changed or damaged: its checksum does not match; {AGAIN}")
        version = msgspec.json.decode(data, type=_Versioned).schema_version
        if version in others:
            return others[version](data)
        if version != SCHEMA_VERSION:
            raise FaultError(
                f"{path} has schema version {version}, this is {SCHEMA_VERSION}: remove it to measure again"
            )
        return msgspec.json.decode(data, type=kind)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise FaultError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FaultError(f"{path} is not a results file: {error}; remove it to measure again") from None
