"""Temporary folders go with their process, at the latest when the next one needs one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive import temporary
from outlive.errors import FaultError

MAKER = """
import sys, tempfile
from outlive import temporary
from outlive.errors import FaultError
tempfile.tempdir = sys.argv[1]
with temporary.folder() as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def next_run() -> None:
    temporary._remove_left.cache_clear()
    with temporary.folder() as folder:
        assert folder.stat().st_mode & 0o777 == 0o700


def test_a_folder_goes_with_its_process_or_with_the_next(parent: Path) -> None:
    argv = [sys.executable, "-c", MAKER, str(parent)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as maker:
        assert maker.stdout
        folder = Path(maker.stdout.readline().strip())
        next_run()
        assert (folder / "file").exists()
        maker.kill()
    assert (folder / "file").exists()
    next_run()
    assert not folder.exists()


def test_where_there_is_no_room_it_says_so(parent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(parent / "gone"))
    with pytest.raises(FaultError, match=r"^temporary files cannot be written: .*TMPDIR"), temporary.folder():
        pass


def test_nothing_is_removed_that_is_not_ours(parent: Path) -> None:
    with_a_file, link, file = parent / "outlive-theirs", parent / "outlive-link", parent / "outlive-file"
    with_a_file.mkdir()
    (with_a_file / "file").touch()
    os.utime(with_a_file, (0, 0))
    (parent / "target").mkdir()
    (parent / "target" / temporary.OWNER).touch()
    link.symlink_to(parent / "target")
    file.touch()
    next_run()
    for path in (with_a_file / "file", link, parent / "target" / temporary.OWNER, file):
        path.unlink()
    for path in (with_a_file, parent / "target"):
        path.rmdir()


def test_an_empty_folder_may_be_one_that_is_being_made(parent: Path) -> None:
    made, left = parent / "outlive-made", parent / "outlive-left"
    made.mkdir()
    left.mkdir()
    long_ago = time.time() - 2 * temporary.EMPTY
    os.utime(left, (long_ago, long_ago))
    next_run()
    assert not left.exists()
    made.rmdir()


def test_an_owner_that_is_a_link_is_not_followed(parent: Path) -> None:
    folder, other = parent / "outlive-x", parent / "other"
    folder.mkdir()
    other.touch()
    (folder / temporary.OWNER).symlink_to(other)
    next_run()
    assert (folder / temporary.OWNER).is_symlink()
    (folder / temporary.OWNER).unlink()
    folder.rmdir()
    other.unlink()
