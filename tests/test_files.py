"""Files are written whole or not at all, links and pipes stay what they are, and an error says what to do."""

from __future__ import annotations

import errno
import io
import os
import shutil
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from outlive.errors import FaultError
from outlive.files import JsonDocument, copy_tree, read_bytes, read_text, unwritten, write_bytes, write_text


class Full(io.BytesIO):
    """A file on a full disk: it can be made, and holds nothing."""

    def write(self, content: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(path: Path, *_: object, **__: object) -> Full:
        path.touch()
        return Full()

    monkeypatch.setattr(Path, "open", made)


@pytest.mark.usefixtures("full_disk")
@pytest.mark.parametrize("name", ["x.json", ".outlive/results/x.json"])
def test_a_full_disk_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(FaultError, match=r"x\.json cannot be written: the disk is full: free some room, or "):
        write_text(tmp_path / name, "text")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_folder_for_results_is_ignored_by_git(tmp_path: Path) -> None:
    write_bytes(tmp_path / ".outlive" / "results" / "x", b"x")
    write_bytes(tmp_path / "y" / "x", b"x")
    assert [path.read_text() for path in tmp_path.rglob(".gitignore")] == ["*\n"]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("cache/locks/x", "set OUTLIVE_CACHE to another folder"),
        ("shop/.outlive/results/x", "set OUTLIVE_RESULTS to another folder"),
        ("tmp/outlive-1/graph.json", "set TMPDIR to another folder"),
        ("shop/.outlive/site/x", "name another place"),
        ("x.json", "name another place"),
    ],
)
def test_it_says_where_to_write(
    tmp_path: Path, name: str, advice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    error = unwritten(tmp_path / name, OSError(errno.EROFS, "Read-only file system"))
    assert str(error) == f"{tmp_path / name} cannot be written: Read-only file system: {advice}"


def test_a_link_stays_one_and_its_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("target")
    for text in ("once", "again"):
        write_text(tmp_path / "link", text)
        assert (tmp_path / "target").read_text() == text
    assert (tmp_path / "link").is_symlink()


@pytest.mark.parametrize("name", ["pipe", "missing/../pipe", "link"])
def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path, name: str) -> None:
    """As is a device: as root, it would be replaced, and `--json /dev/null` would end all others."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tmp_path / "link").symlink_to("pipe")
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    write_text(tmp_path / name, "document")
    reader.join()
    assert got == ["document"]
    assert pipe.is_fifo()
    assert not (tmp_path / "missing").exists()


def test_an_open_stream_is_written_to(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w+") as log:
        write_text(Path(f"/proc/self/fd/{log.fileno()}"), "document")
        assert log.read() == "document"


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FaultError, match="file is not a folder"):
        write_text(tmp_path / "file" / "sub" / "x", "")


def test_what_has_no_end_or_nobody_writes_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
            read_bytes(path)


def test_editors_of_windows_write_text_too(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xef\xbb\xbfname = 1\r\n")
    assert read_text(tmp_path / "x") == "name = 1\n"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "the disk is full: free some room, or set TMPDIR to another folder"),
        (errno.EACCES, "Permission denied: '/app/secret'"),
    ],
)
def test_a_folder_that_cannot_be_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    why = str(OSError(number, os.strerror(number), "/app/secret"))
    target = Path(tempfile.gettempdir()) / "outlive-copy"

    def fails(*_: object, **__: object) -> None:
        raise shutil.Error([("/app/secret", str(target / "secret"), why), ("/app/other", "", why)])

    monkeypatch.setattr(shutil, "copytree", fails)
    with pytest.raises(FaultError) as error:
        copy_tree(tmp_path, target, lambda *_: [], "the app")
    assert str(error.value) == f"the app cannot be copied: {said}"


def test_a_socket_in_a_folder_does_not_keep_it_from_being_copied(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "file").touch()
    os.mkfifo(tmp_path / "app" / "pipe")
    copy_tree(tmp_path / "app", tmp_path / "copy", lambda *_: [], "app")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == ["file"]


def test_a_path_that_is_no_text_can_be_in_a_document() -> None:
    class Named(JsonDocument, frozen=True):
        path: Path

    assert Named(Path(os.fsdecode(b"a\xff"))).to_json() == (
        '{\n "path": "a\N{REPLACEMENT CHARACTER}",\n "schema_version": 1\n}\n'
    )
