"""Records of load tests: kept whole, read back, continued; growth and predictions from them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loads import MIB, answers, collections, load_measurement, sample
from outlive.errors import FaultError
from outlive.loads import rate, soak
from outlive.loads.sampler import thinned
from outlive.loads.store import LoadStore, read
from outlive.project import Project
from outlive.records.load import (
    Collections,
    Deployment,
    Generated,
    LoadDocument,
    Segment,
    Traffic,
    json_schema,
    percentile,
    total,
)
from outlive.records.measurement import StackRecord
from outlive.replay.store import provenance

STACK = StackRecord(framework="flask", release="3.1.3", python="3.11", lock="0123456789ab", packages=())


@pytest.fixture
def store(tmp_path: Path) -> LoadStore:
    return LoadStore(Project(tmp_path), STACK)


class TestStore:
    def test_a_record_is_read_back_as_it_was(self, store: LoadStore) -> None:
        kept = load_measurement(collections=collections(), gc="thresholds:700,10,10")
        path = store.keep(kept)
        assert path.name == "py3.11-0123456789ab-gthread-thresholds-700-10-10-20260102T0304056780000.json"
        assert read(path).measurements == (kept,)
        assert read(path).provenance.stacks == (STACK,)

    def test_the_same_test_replaces_its_record_and_another_does_not(self, store: LoadStore) -> None:
        first = load_measurement(status="partial")
        later = msgspec.structs.replace(first, status="measured")
        other = load_measurement(segments=(Segment(started="2026-02-02T00:00", seconds=1.0, requests=1),))
        assert store.keep(first) == store.keep(later) != store.keep(other)
        assert list(store.load()) == [later, other]

    def test_only_the_newest_that_was_ended_in_the_middle_is_continued(self, store: LoadStore) -> None:
        partial = load_measurement(status="partial", reason="ended")
        assert store.unfinished(partial.deployment, partial.traffic) is None
        store.keep(partial)
        assert store.unfinished(partial.deployment, partial.traffic) == partial
        assert store.unfinished(Deployment(worker="sync"), partial.traffic) is None
        assert store.unfinished(partial.deployment, Traffic(seconds=7.0)) is None
        store.keep(msgspec.structs.replace(partial, status="failed"))
        assert store.unfinished(partial.deployment, partial.traffic) is None

    @pytest.mark.parametrize("size", [0, 10, 500, -3])
    def test_a_truncated_file_is_told_in_a_line(self, store: LoadStore, size: int) -> None:
        path = store.keep(load_measurement())
        path.write_bytes(path.read_bytes()[:size])
        with pytest.raises(FaultError) as error:
            list(store.load())
        assert str(error.value).startswith(f"{path} is not a results file: ")
        assert str(error.value).endswith("; remove it to measure again")
        assert "\n" not in str(error.value)

    def test_a_framework_that_is_a_path_is_refused(self, tmp_path: Path) -> None:
        """The page of a record from somebody else would be written there."""
        path = tmp_path / "record.json"
        test = load_measurement(framework="../../evil")
        path.write_text(LoadDocument(provenance=provenance([STACK]), measurements=(test,)).to_json())
        with pytest.raises(FaultError, match=r"cannot be right: '../../evil' is not a framework$"):
            read(path)

    def test_the_schema_names_what_is_written(self) -> None:
        document = LoadDocument(provenance=provenance([STACK]), measurements=(load_measurement(),))
        written = msgspec.json.decode(document.to_json())
        schema = json_schema()["$defs"]
        unstored = {"published"}
        assert set(written["measurements"][0]) == set(schema["LoadMeasurement"]["properties"]) - unstored
        assert set(written) == set(schema["LoadDocument"]["properties"])


class TestGrowth:
    def test_a_steady_growth_is_found(self) -> None:
        found = rate.rate(load_measurement().samples)
        assert found is not None
        assert found.bytes_per_request == pytest.approx(MIB / 100)
        assert found.bytes_per_hour == pytest.approx(360 * MIB)
        assert found.low == pytest.approx(found.high)

    def test_outliers_do_not_move_it(self) -> None:
        samples = list(load_measurement().samples)
        for at in (20, 35, 50):
            samples[at] = msgspec.structs.replace(samples[at], pss=900 * MIB)
        found = rate.rate(samples)
        assert found is not None
        assert found.bytes_per_request == pytest.approx(MIB / 100, rel=0.02)

    def test_none_is_none(self) -> None:
        flat = [sample(10.0 * at, 30 * MIB + at % 2, 100 * at) for at in range(61)]
        found = rate.rate(flat)
        assert found is not None
        assert found.bytes_per_request == 0
        assert found.low <= 0 <= found.high

    def test_what_it_settles_to_counts_not_what_it_takes_at_first(self) -> None:
        samples = [sample(float(at), MIB * min(at, 10), 100 * at) for at in range(61)]
        found = rate.rate(samples)
        assert found is not None
        assert found.bytes_per_request == 0

    def test_it_is_of_the_longest_stretch(self) -> None:
        first = [sample(float(at), MIB * at, at, 0) for at in range(20)]
        second = [sample(20.0 + at, MIB, 20 + at, 1) for at in range(50)]
        found = rate.rate([*first, *second])
        assert found is not None
        assert found.bytes_per_request == 0

    def test_a_short_test_has_no_rate(self) -> None:
        assert rate.rate(load_measurement().samples[:8]) is None
        assert rate.rate([]) is None
        assert rate.rate([sample(float(at), MIB, 5) for at in range(50)]) is None

    def test_a_prediction_is_weighted_by_what_was_sent(self) -> None:
        sent = (answers("ok", 300), answers("not-found", 100))
        assert rate.predicted(sent, {"ok": 8.0, "not-found": 106.0, "upload": 9.0}) == 32.5
        assert rate.predicted(sent, {"ok": 8.0}) is None
        assert rate.predicted((), {"ok": 8.0}) is None


class TestSoak:
    LATER = Generated(300.0, 3000, 5, 10.0, (answers("ok", 3000),), 0.24, None, 0.5, (("odd", 5),))

    def test_what_is_left_to_send(self) -> None:
        earlier = load_measurement(seconds=123.4, requests=50)
        assert soak.remaining(Traffic(seconds=600.0), earlier).seconds == 477
        assert soak.remaining(Traffic(requests=60), earlier).requests == 10
        assert soak.remaining(Traffic(seconds=100.0), earlier).seconds == 1
        assert soak.remaining(Traffic(seconds=100.0), None) == Traffic(seconds=100.0)

    def test_two_runs_add_up(self) -> None:
        earlier = load_measurement(faults=(("odd", 1), ("bad", 2)), unexpected=3)
        found = soak.together(earlier, self.LATER)
        assert (found.seconds, found.requests, found.unexpected) == (900, 9000, 8)
        assert found.throughput == 10
        assert found.cores == pytest.approx(0.16)
        assert found.faults == (("odd", 6), ("bad", 2))
        assert [(one.scenario, one.requests) for one in found.scenarios] == [
            ("not-found", 2400),
            ("ok", 6600),
        ]
        assert found.scenarios[1].histogram == ((0.01, 6598), (0.05, 2))
        assert found.scenarios[1].p99 == 0.01

    def test_the_first_run_is_all_there_is(self) -> None:
        assert soak.together(None, self.LATER) is self.LATER

    def test_samples_stay_few_and_keep_the_end_of_each_run(self) -> None:
        samples = [sample(float(at), MIB, at, segment=at > 6) for at in range(10)]
        assert [int(one.seconds) for one in thinned(samples)] == [0, 2, 4, 6, 8, 9]


class TestPauses:
    def test_workers_add_up(self) -> None:
        found = total([collections(20), collections(10), Collections()])
        assert (found.count, found.freed, found.pause, found.longest) == (30, 8000, 0.5, 0.031)
        assert found.histogram == ((0.01, 28), (0.032, 2))
        assert found.p99 == 0.031

    def test_none_are_none(self) -> None:
        assert total([]) == Collections()

    @given(st.lists(st.integers(1, 50), min_size=1), st.floats(0.1, 100))
    def test_a_percentile_is_a_bound(self, counts: list[int], percent: float) -> None:
        histogram = [(float(at), count) for at, count in enumerate(counts, 1)]
        every = [bound for bound, count in histogram for _ in range(count)]
        found = percentile(histogram, percent)
        assert sum(value <= found for value in every) >= len(every) * percent / 100 - 1e-9
        assert found == histogram[0][0] or sum(value < found for value in every) < len(every) * percent / 100
