"""The results folder: whole or not there, and one clear line where it is not what it should be."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from outlive.errors import FaultError
from outlive.files import SCHEMA_VERSION
from outlive.project import Project
from outlive.records.measurement import (
    Collector,
    Document,
    Leak,
    Machine,
    Measurement,
    Origin,
    Phase,
    PythonRecord,
    StackRecord,
)
from outlive.records.stack import Package
from outlive.replay import compact
from outlive.replay import store as stores
from outlive.replay.store import Keeper, Store, provenance, read
from outlive.worker.probe import COUNTING

STACK = StackRecord(
    framework="flask",
    release="3.1.3",
    python="3.11",
    lock="0123456789ab",
    packages=(Package("flask", "3.1.3"),),
)

NO_RESULTS = r"^[^\n]+ is not a results file: [^\n]+; remove it to measure again$"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("OUTLIVE_CACHE", str(tmp_path / "cache"))
    return Project(tmp_path)


@pytest.fixture
def store(project: Project) -> Store:
    return Store(project, STACK)


def measurement(scenario: str, survivors: float = 0, **changes: object) -> Measurement:
    return msgspec.structs.replace(
        Measurement(
            framework="flask",
            release="3.1.3",
            python="3.11",
            app_version=1,
            scenario=scenario,
            connection="close",
            gc="off",
            worker="sync",
            lock="0123456789ab",
            status="measured",
            survivors_per_request=survivors,
        ),
        **changes,
    )


def add_one(root: Path, name: str) -> None:
    Store(Project(root), STACK).add([measurement(name)])


class TestAdd:
    def test_what_is_kept_is_loaded(self, store: Store) -> None:
        assert store.load() == ()
        store.add([measurement("ok", 8.0)])
        assert store.load() == (measurement("ok", 8.0),)
        assert store.path.name == "py3.11-0123456789ab.json"

    def test_own_measurements_stand_beside_those_that_are_published(self, project: Project) -> None:
        store, published = Store(project, STACK), Store(project.publishing(), STACK)
        published.add([measurement("ok", 8.0), measurement("upload", 1.0)])
        whole = published.path.read_bytes()
        store.add([measurement("ok", 9.0)])
        assert [(m.scenario, m.survivors_per_request, m.published) for m in store.load()] == [
            ("ok", 9.0, False),
            ("upload", 1.0, True),
        ]
        assert published.path.read_bytes() == whole
        assert all(m.published for m in published.load())
        assert b"published" not in whole + store.path.read_bytes()

    def test_a_cell_is_replaced_others_stay(self, store: Store) -> None:
        store.add([measurement("upload"), measurement("ok", 1.0)])
        store.add([measurement("ok", 2.0), measurement("ok", 3.0, gc="on")])
        assert [(m.scenario, m.gc, m.survivors_per_request) for m in store.load()] == [
            ("ok", "off", 2.0),
            ("ok", "on", 3.0),
            ("upload", "off", 0.0),
        ]

    def test_what_was_not_measured_is_not_kept(self, store: Store) -> None:
        store.add([measurement("ok", status="failed"), measurement("upload", status="unsupported")])
        assert not store.path.exists()

    def test_writers_at_the_same_time_lose_nothing(self, store: Store, tmp_path: Path) -> None:
        names = [f"scenario-{number}" for number in range(24)]
        with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
            list(pool.map(add_one, [tmp_path] * len(names), names))
        assert sorted(m.scenario for m in store.load()) == sorted(names)
        assert [path.name for path in store.path.parent.iterdir()] == [store.path.name]

    def test_an_interruption_leaves_the_old_file(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        store.add([measurement("ok")])

        def interrupted(self: Path, target: Path) -> Path:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", interrupted)
            with pytest.raises(KeyboardInterrupt):
                store.add([measurement("upload")])
        assert store.load() == (measurement("ok"),)
        assert [path.name for path in store.path.parent.iterdir()] == [store.path.name]

    def test_where_nothing_can_be_written_it_is_one_line(self, store: Store) -> None:
        store.path.parent.parent.mkdir(parents=True)
        store.path.parent.touch()
        with pytest.raises(FaultError, match=r"^\S+\.json cannot be \w+: \w[\w :]+$"):
            store.add([measurement("ok")])

    def test_nor_the_cache(self, store: Store, tmp_path: Path) -> None:
        (tmp_path / "cache").touch()
        with pytest.raises(FaultError) as caught:
            store.add([measurement("ok")])
        lock = tmp_path / "cache" / "results" / "flask-py3.11-0123456789ab.lock"
        why = f"{tmp_path / 'cache'} is not a folder: set OUTLIVE_CACHE to another folder"
        assert str(caught.value) == f"{lock} cannot be written: {why}"

    def test_other_rules_of_counting_are_measured_again(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.add([measurement("ok")])
        monkeypatch.setattr(stores, "COUNTING", COUNTING + 1)
        assert store.load() == ()
        store.add([measurement("upload")])
        assert store.load() == (measurement("upload"),)

    @pytest.mark.parametrize("place", ["../3.1.2/{}", "py3.12-0123456789ab.json"])
    def test_a_file_that_was_copied_is_not_of_what_its_place_says(
        self, project: Project, store: Store, place: str
    ) -> None:
        store.add([measurement("ok")])
        copy = store.path.parent / place.format(store.path.name)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(store.path.read_bytes())
        python, release = ("3.11", "3.1.2") if "3.1.2" in place else ("3.12", "3.1.3")
        other = Store(project, msgspec.structs.replace(STACK, release=release, python=python))
        with pytest.raises(FaultError, match=r"has measurements of flask 3\.1\.3, .* copied or renamed"):
            other.load()


class TestRead:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "is not a results file: Input data was truncated; remove it to measure again"),
            (
                b"null",
                "is not a results file: Expected `object`, got `null`; remove it to measure again",
            ),
            (
                b'{"schema_version": 1, "provenance": 1}',
                (
                    "is not a results file: Expected `object`, got `int` - at `$.provenance`;"
                    " remove it to measure again"
                ),
            ),
            (
                b'{"schema_version": 0, "cells": []}',
                "has schema version 0, this is 1: remove it to measure again",
            ),
            (
                b'{"schema_version": 3, "provenance": []}',
                "has schema version 3, this is 1: remove it to measure again",
            ),
            (
                b'{"x": ' * 100_000,
                (
                    "is not a results file: maximum recursion depth exceeded while deserializing an object;"
                    " remove it to measure again"
                ),
            ),
        ],
    )
    def test_anything_else_is_one_line(self, tmp_path: Path, content: bytes, message: str) -> None:
        assert SCHEMA_VERSION == 1
        path = tmp_path / "results.json"
        path.write_bytes(content)
        with pytest.raises(FaultError) as caught:
            read(path)
        assert str(caught.value) == f"{path} {message}"

    @given(cut=st.floats(0, 1, exclude_max=True))
    def test_a_file_that_was_cut_off_is_one_line(
        self, tmp_path_factory: pytest.TempPathFactory, cut: float
    ) -> None:
        whole = Document(provenance=stores.provenance([STACK]), measurements=(measurement("ok"),)).to_json()
        path = tmp_path_factory.mktemp("cut") / "results.json"
        path.write_bytes(whole[: int(cut * (len(whole) - 2))])
        with pytest.raises(FaultError, match=NO_RESULTS):
            read(path)

    def test_bytes_that_are_no_text_are_one_line(self, tmp_path: Path) -> None:
        path = tmp_path / "results.json"
        whole = Document(provenance=stores.provenance([STACK]), measurements=()).to_json()
        unsealed = whole.partition(b',\n"checksum"')[0] + b"}"
        path.write_bytes(unsealed.replace(b"flask", b"fl\xffsk"))
        with pytest.raises(FaultError, match=NO_RESULTS):
            read(path)

    def test_a_folder_is_one_line(self, tmp_path: Path) -> None:
        with pytest.raises(FaultError, match=r"cannot be read: Is a directory$"):
            read(tmp_path)

    def test_a_link_to_nothing_is_not_the_same_as_no_file(self, tmp_path: Path) -> None:
        path = tmp_path / "results.json"
        path.symlink_to(tmp_path / "gone.json")
        with pytest.raises(FaultError, match=r"results\.json is a link to a file that does not exist$"):
            read(path)

    @pytest.mark.parametrize("number", [b"1e300", b"-1e16", b"10000000000000000", b"2.5E+20", b"9" * 30])
    @pytest.mark.parametrize("space", [b"", b" ", b"\n  "])
    @pytest.mark.parametrize("form", ["plain", "compact"])
    def test_a_number_too_large_is_one_line(
        self, tmp_path: Path, form: str, space: bytes, number: bytes
    ) -> None:
        """However it is written: a page has no room for it."""
        ok = measurement("ok", blocks_per_request=9.5)
        document = Document(provenance=stores.provenance([STACK]), measurements=(ok,))
        whole = compact.encode(document) if form == "compact" else document.to_json()
        data = whole.partition(b',\n"checksum"')[0].rstrip().removesuffix(b"}") + b"}"
        assert data.count(b'"blocks_per_request":9.5') == 1
        path = tmp_path / "results.json"
        path.write_bytes(data)
        assert read(path) == document
        path.write_bytes(data.replace(b":9.5", b":" + space + number))
        with pytest.raises(FaultError, match=r"cannot be right: blocks_per_request is \S+: no measured"):
            read(path)

    def test_none_is_none(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            read(tmp_path / "results.json")


class TestCompact:
    """Numbers once, names once, one cell a line, and nothing is lost."""

    def leaving(self, **changes: object) -> Measurement:
        leak = Leak(
            fingerprint="0566f80d9876",
            growth="cyclic",
            package="asyncio",
            python=True,
            trail="ring asyncio.Task",
            suspect="asyncio.Task",
            objects_per_request=7.0,
        )
        phases = tuple(
            Phase(
                requests=requests,
                survivors=7 * requests,
                leaked=0,
                blocks=9 * requests,
                blocks_kept=1,
                heap=None,
                heap_kept=None,
                rss=26_136_576,
                fds=12,
                threads=2,
                connections=1,
                held={"files": requests // 5},
            )
            for requests in (11, 211, 37)
        )
        whole = measurement(
            "not-found",
            7.0,
            cyclic_per_request=7.0,
            leaked_per_request=0.0,
            growth="leak",
            requests=259,
            blocks_per_request=9.0,
            types={"frame": 4.0, "tuple": 3.0},
            held={"files": 0.2},
            leaks=(leak, msgspec.structs.replace(leak, suspect="another of the same name", further=True)),
            fingerprints=(leak.fingerprint, leak.fingerprint),
            phases=phases,
            collector=Collector(
                collections_per_1000_requests=0.5,
                pause_ms_per_1000_requests=1 / 3,
                longest_pause_ms=2.0,
                freed_per_request=7.0,
            ),
        )
        return msgspec.structs.replace(whole, **changes)

    def through(self, *measurements: Measurement) -> tuple[bytes, tuple[Measurement, ...]]:
        document = Document(provenance=provenance([STACK]), measurements=measurements)
        data = compact.encode(document)
        assert compact.decode(msgspec.json.decode(data)) == document
        return data, measurements

    def test_what_follows_from_the_rest_is_left_out(self) -> None:
        data, _ = self.through(self.leaving())
        line = data.splitlines()[-2].decode()
        assert line == (
            '{"app_version":1,"scenario":"not-found","connection":"close","gc":"off","worker":"sync",'
            '"growth":"leak","cyclic_per_request":7,"leaked_per_request":0,"types":{"frame":4,"tuple":3},'
            '"held":{"files":0.2},"leaks":[["0566f80d9876",7],["0566f80d9876+",7,true]],'
            '"collector":[0.5,0.3333333333333333,2,7],"phases":['
            '[11,77,0,99,1,null,null,26136576,12,2,1,{"files":2}],'
            '[211,1477,0,1899,1,null,null,26136576,12,2,1,{"files":42}],'
            '[37,259,0,333,1,null,null,26136576,12,2,1,{"files":7}]]}'
        )

    @settings(max_examples=60)
    @given(st.data())
    def test_any_measurement_is_read_back_as_it_was(self, data: st.DataObject) -> None:
        count, amount = st.integers(0, 10**6), st.floats(0, 1e6)
        phases = st.builds(
            Phase,
            requests=st.integers(1, 2000),
            survivors=count,
            leaked=count,
            blocks=st.integers(-99, 10**6),
            blocks_kept=count,
            heap=st.none() | count,
            heap_kept=st.none() | count,
            rss=st.none() | count,
            fds=st.none() | count,
            threads=st.integers(1, 99),
            connections=st.none() | st.integers(1, 99),
            held=st.dictionaries(st.sampled_from(["files", "tasks"]), count),
        )
        changes = {
            "gc": st.sampled_from(["on", "off"]),
            "requests": count,
            "survivors_per_request": st.none() | amount,
            "cyclic_per_request": st.none() | amount,
            "leaked_per_request": st.none() | amount,
            "leaked_per_connection": st.none() | amount,
            "blocks_per_request": st.none() | amount,
            "heap_bytes_per_request": st.none() | amount,
            "phases": st.lists(phases, max_size=3, unique_by=lambda one: one.requests).map(tuple),
            "types": st.dictionaries(st.text(max_size=3), amount, max_size=2),
            "sent": st.none() | st.text(max_size=3),
        }
        chosen: dict[str, Any] = data.draw(st.fixed_dictionaries({}, optional=changes))
        heap = {phase.heap is None for phase in chosen.get("phases", ())}
        kept = {phase.heap_kept is None for phase in chosen.get("phases", ())}
        assume(len(heap) < 2 and len(kept) < 2)  # it is countable on a machine or not
        self.through(self.leaving(**chosen))

    def test_phases_of_one_length_have_no_slope(self) -> None:
        """Found by fuzzing."""
        data, _ = self.through(self.leaving())
        with pytest.raises(msgspec.ValidationError, match=r"^A cell does not have this form: "):
            compact.decode(msgspec.json.decode(data.replace(b"[37,259", b"[211,259")))

    @pytest.mark.parametrize(
        "changes",
        [
            {"requests": 3},
            {"survivors_per_request": 8.0},
            {"blocks_per_request": None},
            {"fingerprints": ()},
            {"held": {}},
            {"sensitivity": 50},
            {"remedy": "no-debug"},
            {"phases": (), "requests": 0, "blocks_per_request": None},
            {"status": "failed", "reason": "the worker died"},
            {"release": "3.1.2", "lock": "another"},
            {"types": {}, "leaks": (), "fingerprints": ()},
        ],
    )
    def test_what_does_not_is_told(self, changes: dict[str, object]) -> None:
        self.through(self.leaving(), self.leaving(**changes))

    def test_other_machines_are_told_once(self) -> None:
        machine = Machine(system="Linux", kernel="6", architecture="x86_64", libc="glibc 2", cpus=2)
        origin = Origin(host="0123abcd", machine=machine, interpreter=PythonRecord(version="3.11.7"))
        other = msgspec.structs.replace(origin, host="4567abcd")
        places = (origin, None, other, origin)
        data, _ = self.through(*(self.leaving(scenario=str(at), origin=one) for at, one in enumerate(places)))
        assert data.count(b"0123abcd") == data.count(b"4567abcd") == 1

    def test_a_cell_is_a_line(self) -> None:
        cells = [self.leaving(scenario=name) for name in ("a", "b", "c")]
        data, _ = self.through(*cells)
        less, _ = self.through(*cells[:1], *cells[2:])
        assert len(data.splitlines()) - len(less.splitlines()) == 1
        assert data.count(b"another of the same name") == 1

    def test_an_older_file_is_read(self, store: Store) -> None:
        old = Document(provenance=provenance([STACK]), measurements=(self.leaving(),))
        store.path.parent.mkdir(parents=True)
        store.path.write_bytes(old.to_json())
        assert store.load() == old.measurements
        store.add([self.leaving(scenario="ok")])
        assert {m.scenario for m in store.load()} == {"not-found", "ok"}
        assert store.path.stat().st_size < len(old.to_json())

    @pytest.mark.parametrize(
        "line", [b"{}", b'{"phases":[[1]]}', b'{"leaks":[["unknown",1]]}', b'{"collector":[1]}']
    )
    def test_a_cell_without_a_form_is_one_line(self, store: Store, line: bytes) -> None:
        store.add([measurement("ok")])
        whole = store.path.read_bytes()
        store.path.write_bytes(whole.replace(whole.splitlines()[-2], line))
        with pytest.raises(FaultError, match=NO_RESULTS):
            store.load()


def test_what_came_until_an_interruption_is_kept(store: Store) -> None:
    def measure() -> None:
        with Keeper() as keeper:
            for name in "abc":
                keeper.add(store, measurement(name))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure()
    assert [m.scenario for m in store.load()] == ["a", "b", "c"]
