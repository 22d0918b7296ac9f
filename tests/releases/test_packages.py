from __future__ import annotations

import datetime as dt
import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from outlive import packed
from outlive.errors import FaultError, UnavailableError
from outlive.records.release import Release
from outlive.releases import packages
from package_index import Index, Wheel, serving

NEW = "2.0\n---\n\n- Fixed a leak\n\n1.0\n---\n\n- First\n"


def release(version: str) -> Release:
    return Release(
        "flask", version, dt.datetime(2024, 1, 2, tzinfo=dt.UTC), None, False, None, ("py3",), sdist=False
    )


def wheel(version: str, text: str | None, name: str = "flask/CHANGES.rst") -> Wheel:
    return Wheel("flask", version, files={} if text is None else {name: text})


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Index]:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    with serving(Index([])) as index:
        monkeypatch.setenv("OUTLIVE_INDEX_URL", index.url)
        yield index


def asked(index: Index) -> list[str]:
    return [path for path in index.asked if path.startswith("/files/")]


def test_the_newest_package_is_read_first_and_no_more_than_needed(served: Index) -> None:
    served.wheels = [wheel("1.0", "1.0\n---\n- Old\n"), wheel("2.0", NEW)]
    found = packages.texts("flask", [release("1.0"), release("2.0")])
    assert found == [("flask-2.0-py3-none-any.whl", NEW)]
    assert asked(served) == ["/files/flask-2.0-py3-none-any.whl"]


def test_older_packages_are_read_for_what_the_newer_do_not_name(served: Index) -> None:
    served.wheels = [wheel("1.0", "1.0\n---\n- Old\n"), wheel("2.0", "2.0\n---\n- New\n"), wheel("3.0", None)]
    found = packages.texts("flask", [release(version) for version in ("1.0", "2.0", "3.0")])
    assert [name for name, _ in found] == [
        "flask-3.0-py3-none-any.whl",  # its description, which names no version
        "flask-2.0-py3-none-any.whl",
        "flask-1.0-py3-none-any.whl",
    ]


def test_what_was_read_is_kept(served: Index) -> None:
    served.wheels = [wheel("2.0", NEW)]
    first = packages.texts("flask", [release("2.0")])
    assert packages.texts("flask", [release("2.0")]) == first
    assert len(asked(served)) == 1


def test_no_more_than_a_few_packages_are_read(served: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "MOST_PACKAGES", 2)
    served.wheels = [wheel(f"{n}.0", "nothing") for n in range(1, 6)]
    packages.texts("flask", [release(f"{n}.0") for n in range(1, 6)])
    assert len(asked(served)) == 2


def test_a_package_that_is_not_what_the_index_says_is_not_read(served: Index) -> None:
    served.wheels = [wheel("2.0", NEW)]
    answer = served.answer

    def swapped(path: str) -> tuple[str, bytes] | None:
        return ("x", b"other") if path.startswith("/files/") else answer(path)

    served.answer = swapped  # type: ignore[method-assign]
    with pytest.raises(FaultError, match=r"^a package of flask is not what the index says: "):
        packages.texts("flask", [release("2.0")])


def test_an_index_without_the_project(served: Index) -> None:
    with pytest.raises(UnavailableError, match=r"^the package index has no project flask$"):
        packages.texts("flask", [release("2.0")])


def test_an_index_that_cannot_be_reached(served: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTLIVE_INDEX_URL", "http://user:secret@127.0.0.1:9/simple/")
    with pytest.raises(FaultError) as caught:
        packages.texts("flask", [release("2.0")])
    assert str(caught.value).startswith("the package index at http://127.0.0.1:9/simple/ cannot be read")
    assert "secret" not in str(caught.value)


class TestArchives:
    def tar(self, path: Path, files: dict[str, bytes]) -> Path:
        with tarfile.open(path, "w:gz") as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        return path

    def test_an_sdist(self, tmp_path: Path) -> None:
        files = {
            "a-1/CHANGES.rst": b"1.0",
            "a-1/docs/x/CHANGES.rst": b"no, too deep",
            "a-1/PKG-INFO": b"info",
        }
        assert packages.changelog_of(self.tar(tmp_path / "a", files)) == "1.0"

    def test_the_files_that_the_framework_names_make_it_up_together(self, tmp_path: Path) -> None:
        files = {
            "a-1/NEWS": b"no",
            "a-1/docs/1.0.txt": b"1.0",
            "a-1/docs/1.1.txt": b"1.1",
            "a-1/docs/x.md": b"no",
        }
        path = self.tar(tmp_path / "a", files)
        assert packages.changelog_of(path, ("docs/*.txt",)) == "1.0\n1.1"
        assert packages.changelog_of(path, ("notes/*.txt",)) == "no"

    def test_the_description_where_there_is_nothing_else(self, tmp_path: Path) -> None:
        assert (
            packages.changelog_of(self.tar(tmp_path / "a", {"a-1/PKG-INFO": b"1.0\n---\n"})) == "1.0\n---\n"
        )

    def test_a_wheel(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "a", "w") as archive:
            archive.writestr("a/HISTORY.md", "# 1.0")
        assert packages.changelog_of(tmp_path / "a") == "# 1.0"

    def test_bytes_that_are_no_text_do_no_harm(self, tmp_path: Path) -> None:
        assert packages.changelog_of(self.tar(tmp_path / "a", {"a/NEWS": b"\xff\xfe1.0"})).endswith("1.0")

    def test_links_and_enormous_files_are_passed_over(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(packed, "LARGEST", 10)
        with tarfile.open(tmp_path / "a", "w:gz") as tar:
            member = tarfile.TarInfo("a/CHANGES.rst")
            member.type = tarfile.SYMTYPE
            member.linkname = "/etc/passwd"
            tar.addfile(member)
            large = tarfile.TarInfo("a/NEWS")
            large.size = 11
            tar.addfile(large, io.BytesIO(b"12345678901"))
        assert not packages.changelog_of(tmp_path / "a")

    @pytest.mark.parametrize("content", [b"", b"no archive", b"\x1f\x8b\x08broken"])
    def test_a_damaged_package_has_none(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a").write_bytes(content)
        assert not packages.changelog_of(tmp_path / "a")
