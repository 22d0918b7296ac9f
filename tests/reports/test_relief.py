"""What remedies do for a release: means, advice, rounds, and the tables as a user sees them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from goldens import same_as_golden
from measuring import CHECKOUT
from outlive.cli import cli
from outlive.comparison.noisy.metrics import GROWTH, THROUGHPUT, latency, memory
from outlive.comparison.noisy.noise import Metric
from outlive.comparison.noisy.remedies import CPU, Trial, judged
from outlive.errors import UsageError
from outlive.loads import turns as trials
from outlive.loads.turns import Arm
from outlive.project import Project
from outlive.records.load import Traffic
from outlive.records.measurement import Measurement, Phase, StackRecord
from outlive.records.remedy import Remedy
from outlive.replay.store import provenance
from outlive.reports import remedies
from outlive.reports.remedies import Leftover, Relief, ReliefDocument, RemedyRow
from outlive.reports.remedies_text import row_notes, show
from outlive.stacks.prepare import Prepared
from reporting import relief_document

SHARES = {"ok": 0.5, "not-found": 0.3, "handler-error": 0.2}
TRAFFIC = Traffic(requests=3000, connection="close")
FAILING = frozenset({"not-found", "handler-error"})
PEAK, P99 = memory("peak RSS"), latency("p99")


def measurement(scenario: str, survivors: float, leaked: float = 0, **changes: object) -> Measurement:
    whole: dict[str, object] = {
        "framework": "flask",
        "release": "3.1.3",
        "python": "3.11",
        "app_version": 1,
        "scenario": scenario,
        "connection": "close",
        "gc": "off",
        "worker": "sync",
        "lock": "0123456789ab",
        "status": "measured",
        "survivors_per_request": survivors,
        "leaked_per_request": leaked,
        "growth": "cyclic",
    }
    return msgspec.convert(whole | changes, Measurement)


def left(**objects: float) -> Leftover:
    found = remedies.left(
        [measurement(name.replace("_", "-"), count) for name, count in objects.items()], SHARES, FAILING
    )
    assert found is not None
    return found


def row(name: str | None, **fields: object) -> RemedyRow:
    return msgspec.convert({"remedy": name, "kind": "remedy", "summary": f"does {name}"} | fields, RemedyRow)


def test_means_are_weighted_by_the_traffic() -> None:
    found = remedies.left(
        [measurement("ok", 8), measurement("not-found", 90), measurement("handler-error", 80, leaked=5)],
        SHARES,
        FAILING,
    )
    assert found is not None
    assert found.mean == pytest.approx(0.5 * 8 + 0.3 * 90 + 0.2 * 80)
    assert found.leaked == pytest.approx(0.2 * 5)
    assert (found.clean, found.failing, found.worst) == (0, 2, "not-found")


def test_what_could_not_be_measured_is_named_and_the_rest_is_weighted_anew() -> None:
    failed = measurement("not-found", 0, status="failed", reason="the worker died")
    found = remedies.left([measurement("ok", 8), failed, measurement("handler-error", 15)], SHARES, FAILING)
    assert found is not None
    assert found.unmeasured == {"not-found": "the worker died"}
    assert found.mean == pytest.approx((0.5 * 8 + 0.2 * 15) / 0.7)
    assert remedies.left([failed], SHARES, FAILING) is None


def test_objects_that_stay_for_good_are_told() -> None:
    phase = Phase(
        requests=53,
        survivors=0,
        leaked=700,
        blocks=0,
        blocks_kept=0,
        heap=None,
        heap_kept=None,
        rss=None,
        fds=None,
        threads=1,
    )
    found = remedies.left([measurement("ok", 0, phases=[msgspec.to_builtins(phase)])], SHARES, FAILING)
    assert found is not None
    assert found.kept == 700
    kept = row("logging", left=msgspec.structs.replace(found, kept=12_837))
    assert row_notes(kept) == ["keeps up to 12,837 objects for good, however many requests follow"]


def test_advice_takes_what_leaves_least_and_names_its_drawback() -> None:
    advice = remedies.advise(
        [
            row(None, left=left(ok=8, not_found=90, handler_error=80)),
            row("patch", left=left(ok=0, not_found=0, handler_error=0), caution="patches Flask"),
            row("drop", left=left(ok=8, not_found=8, handler_error=8)),
            row("recycle"),
        ]
    )
    assert advice.remedy == "patch"
    assert advice.reasons == (
        "47 → 0 objects per request",
        "2 of 2 failing scenarios leave nothing",
        "but patches Flask",
        "drop has no such drawback, and leaves 8",
        "without it, even a plain 200 leaves 8",
    )


def test_advice_where_something_is_left_says_how_to_bound_it() -> None:
    advice = remedies.advise(
        [
            row(None, left=left(ok=0, not_found=50, handler_error=40)),
            row("drop", left=left(ok=0, not_found=6, handler_error=0)),
            row("collect"),
            row("recycle", caution="a worker ends slowly"),
            row("other", unsupported="not for this release"),
        ]
    )
    assert advice.remedy == "drop"
    assert advice.reasons[2:] == (
        "collect and recycle free or drop what is left, in not-found (6)",
        "recycle: a worker ends slowly",
    )


def test_no_advice_where_nothing_is_left_and_where_nothing_helps() -> None:
    clean = remedies.advise([row(None, left=left(ok=0)), row("drop", left=left(ok=0))])
    assert (clean.remedy, clean.reasons) == (
        None,
        ("no scenario leaves anything: nothing to do",),
    )
    hopeless = remedies.advise([row(None, left=left(ok=3)), row("drop", left=left(ok=3)), row("recycle")])
    assert hopeless.remedy is None
    assert hopeless.reasons[0] == "no remedy leaves less than the unchanged release: limit the growth instead"


def test_a_practice_or_what_was_only_partly_measured_is_never_advised() -> None:
    partly = msgspec.structs.replace(left(ok=0), unmeasured={"not-found": "the worker died"})
    rows = [row(None, left=left(ok=3)), row("a", kind="practice", left=left(ok=0)), row("b", left=partly)]
    assert remedies.advise(rows).remedy is None


# Rounds


def arm(name: str | None) -> Arm:
    remedy = Remedy(name=name, summary="s") if name else None
    stack = msgspec.structs.replace(Prepared(None, None, None), remedy=remedy)  # type: ignore[arg-type]
    return Arm(stack, "off")


def readings(throughput: float, peak: float = 4e7) -> dict[Metric, float]:
    return {THROUGHPUT: throughput, PEAK: peak, P99: 0.1, GROWTH: 100.0, CPU: 1 / throughput}


def test_every_other_round_runs_backwards_and_the_plain_release_has_two_turns() -> None:
    plain, a, b = arm(None), arm("a"), arm("b")
    turns = [(number, one.name) for number, one in trials.order(plain, [a, b], 2)]
    assert turns == [
        (1, None), (1, "a"), (1, "b"), (1, None),
        (2, None), (2, "b"), (2, "a"), (2, None),
    ]  # fmt: skip


def policies(*arms: Arm) -> dict[str | None, str]:
    return {one.name: one.policy for one in arms}


@given(st.floats(0.9, 1.1))
def test_a_large_change_is_found_and_none_is_not(drift: float) -> None:
    plain, slow, same = arm(None), arm("slow"), arm("same")
    seen = []
    for at, (number, one) in enumerate(trials.order(plain, [slow, same], 8)):
        speed = 500.0 * drift**number * (1 + 0.002 * (at % 3 - 1))
        seen.append((number, one.name, readings(speed * (0.7 if one.name == "slow" else 1))))
    found = judged(policies(plain, slow, same), TRAFFIC, seen)
    decisions = {
        name: {one.metric.name: one.decision for one in trial.decided} for name, trial in found.items()
    }
    assert decisions[None] == {}
    assert decisions["slow"]["throughput"] == "changed"
    assert decisions["same"]["throughput"] == "no change seen"
    assert found["slow"].rounds == 8


def test_a_metric_that_a_load_test_did_not_give_has_no_mean() -> None:
    plain, a = arm(None), arm("a")
    bare = {THROUGHPUT: 500.0, PEAK: 4e7, P99: 0.1}
    seen = [(number, one.name, bare) for number, one in trials.order(plain, [a], 4)]
    found = judged(policies(plain, a), TRAFFIC, seen)
    assert GROWTH.name not in found["a"].means
    (growth,) = (one for one in found["a"].decided if one.metric == GROWTH)
    assert growth.decision == "inconclusive"


# What is kept and shown


def document() -> ReliefDocument:
    plain, a = arm(None), arm("drop")
    seen = [
        (number, one.name, readings(500.0 + number, 5e7 if one.name is None else 4e7))
        for number, one in trials.order(plain, [a], 4)
    ]
    off = judged(policies(plain, a), TRAFFIC, seen)
    rows: tuple[RemedyRow, ...] = (
        row(None, left=left(ok=8, not_found=90, handler_error=80), summary="the unchanged release"),
        row("drop", left=left(ok=8, not_found=8, handler_error=8), caution="no traceback afterwards"),
        row("recycle", summary="gunicorn's --max-requests 1000"),
        row("context", unsupported="nobody holds it"),
        row("tracker", kind="practice", left=left(ok=8, not_found=120, handler_error=110)),
    )
    rows = remedies.tried(rows, "off", off)
    return ReliefDocument(
        provenance=provenance([]),
        relief=Relief(
            release="flask 3.1.3",
            python="3.13",
            user="ErrorHeavy",
            connection="close",
            rows=rows,
            advice=remedies.advise(rows),
        ),
    )


def test_the_tables() -> None:
    text = io.StringIO()
    show(document().relief, Console(file=text, width=110))
    shown = "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())
    same_as_golden("remedies.txt", shown)


def test_a_document_is_kept_and_its_trials_are_remembered(tmp_path: Path) -> None:
    project = Project(tmp_path)
    stack = StackRecord(framework="flask", release="3.1.3", python="3.13", lock="0123456789ab", packages=())
    found = document()
    assert remedies.load(project, stack, "ErrorHeavy", "close") == ()
    remedies.keep(project, stack, found)
    path = remedies.path(project.measured, stack)
    kept = path.stat().st_ino
    remedies.keep(project, stack, document())  # says the same: the file stays as it is
    assert path.stat().st_ino == kept
    earlier = remedies.load(project, stack, "ErrorHeavy", "close")
    assert earlier == found.relief.rows
    assert remedies.load(project, stack, "Steady", "close") == ()
    bare = [row(None), row("drop"), row("drop", version=2)]
    again = remedies.remembered(bare, earlier)
    assert [isinstance(one.off, Trial) for one in again] == [True, True, False]


def keep(project: Project, document: ReliefDocument, lock: str = "0123456789ab") -> Path:
    """Store a document as `outlive remedies` does, and return its file."""
    framework, _, version = document.relief.release.partition(" ")
    python = document.relief.python
    stack = StackRecord(framework=framework, release=version, python=python, lock=lock, packages=())
    remedies.keep(project, stack, document)
    return remedies.path(project.measured, stack)


def stack(release: str, python: str) -> StackRecord:
    return StackRecord(framework="aiohttp", release=release, python=python, lock="0" * 12, packages=())


class TestStored:
    def test_the_release_itself_counts_then_the_newest(self, tmp_path: Path) -> None:
        project = Project(tmp_path)
        for release in ("aiohttp 3.9.5", "aiohttp 3.10.10", "flask 3.1.3"):
            for python in ("3.9", "3.11"):
                keep(project, relief_document(release, python))
        found = remedies.stored(project, "aiohttp")
        assert (len(found.documents), found.problems) == (4, ())
        told = [
            (one.relief.release, one.relief.python)
            for version, python in (("3.9.5", "3.9"), ("3.9.5", "3.13"), ("3.0.0", "3.9"))
            if (one := found.about(stack(version, python)))
        ]
        assert told == [("aiohttp 3.9.5", "3.9"), ("aiohttp 3.9.5", "3.11"), ("aiohttp 3.10.10", "3.9")]
        assert remedies.stored(project, "django").about(stack("3.0.0", "3.9")) is None

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (("schema_version", 0), "has schema version 0, this is 1: remove it to measure again"),
            (("relief", ...), "is not a results file: Object missing required field `relief`"),
            (("relief", "release", "<b>"), "it names '<b>', its folder 'aiohttp 3.10.10'"),
            (("relief", "python", "3.11\nx"), "'3.11 x' is not the Python that its name has"),
            (("relief", "rows", []), "its first row is not the unchanged release"),
            (("relief", "rows", 0, "remedy", "x"), "its first row is not the unchanged release"),
            (("relief", "rows", 0, "left", "scenarios", {}), "a row has no scenarios"),
            (("relief", "rows", 0, "left", "mean", 1e300), "mean is 1e+300: no measured number"),
            (("relief", "advice", "reasons", []), "its advice has no reasons"),
            (("relief", "rows", 0, "kind", "magic"), "Invalid enum value 'magic'"),
        ],
    )
    def test_a_file_that_is_not_ours_is_a_problem_in_one_line(
        self, tmp_path: Path, change: tuple[Any, ...], said: str
    ) -> None:
        project = Project(tmp_path)
        path = keep(project, relief_document())
        document = json.loads(path.read_bytes())
        *way, last, value = change
        place: Any = document
        for step in way:
            place = place[step]
        if value is ...:
            del place[last]
        else:
            place[last] = value
        path.write_text(json.dumps(document))
        found = remedies.stored(project, "aiohttp")
        assert found.documents == ()
        (problem,) = found.problems
        assert problem.startswith(f"{path} ")
        assert said in problem
        assert "\n" not in problem

    def test_a_truncated_file(self, tmp_path: Path) -> None:
        project = Project(tmp_path)
        path = keep(project, relief_document())
        path.write_bytes(path.read_bytes()[:-30])
        (problem,) = remedies.stored(project, "aiohttp").problems
        assert problem.startswith(f"{path} is not a results file: Input data was truncated")


def test_a_stored_document_has_the_texts_and_the_advice_of_today() -> None:
    today = [
        Remedy(name="drop", summary="drops the error", caution="it patches a handler"),
        Remedy(name="freeze", summary="another remedy", version=2),
        Remedy(name="handlers", summary="handles all", unsupported="there is nothing to handle"),
    ]
    relief = remedies.reworded(relief_document().relief, today)
    assert [(row.remedy, row.summary, row.caution, row.unsupported) for row in relief.rows] == [
        (None, "the unchanged release", None, None),
        ("drop", "drops the error", "it patches a handler", None),
        ("freeze", "gc.freeze() once the app is loaded", None, None),
        ("handlers", "handles all", None, "there is nothing to handle"),
        ("tracker", "an error tracker", None, None),
    ]
    assert relief.advice.remedy == "drop"
    assert relief.advice.reasons[:3] == (
        "44 → 0 objects per request",
        "1 of 1 failing scenario leaves nothing",
        "but it patches a handler",
    )


def test_rows_of_other_remedies_are_kept_if_they_are_still_known() -> None:
    known = [
        Remedy(name="a", summary="s"),
        Remedy(name="b", summary="s"),
        Remedy(name="c", summary="s", version=2),
    ]
    earlier = [row(None), row("b", summary="old"), row("c"), row("gone")]
    found = remedies.merged([row(None), row("a"), row("b", summary="new")], earlier, known)
    assert [(one.remedy, one.summary) for one in found[1:]] == [("a", "does a"), ("b", "new")]


# The command


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a checkout with results of its own."""
    for name in ("apps", "releases", "loadtests"):
        (tmp_path / name).symlink_to(CHECKOUT.root / name)
    monkeypatch.setenv("OUTLIVE_ROOT", str(tmp_path))
    return tmp_path


def ran(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["remedies", *arguments], standalone_mode=False, catch_exceptions=False)


def test_too_few_rounds_are_refused(root: Path) -> None:
    with pytest.raises(UsageError, match=r"^--rounds 2: 4 at least, or an interval says nothing$"):
        ran("flask==3.1.3", "--rounds", "2")


def test_an_unknown_remedy_is_refused(root: Path) -> None:
    with pytest.raises(UsageError, match=r"^no remedy 'freze' for flask; try freeze"):
        ran("flask==3.1.3", "--remedy", "freze")


def test_a_locustfile_has_no_mix_to_weigh_scenarios_by(root: Path) -> None:
    with pytest.raises(UsageError, match=r"^--user mine\.py: a locustfile has no mix"):
        ran("flask==3.1.3", "--user", "mine.py")


@pytest.mark.real
def test_the_command_on_a_real_release(root: Path) -> None:
    asked = ["--python", "3.11", "--scenario", "ok", "--scenario", "handler-error"]
    asked += ["--remedy", "clear-all", "--remedy", "freeze", "--remedy", "clear-all"]
    done = ran("flask==3.1.3", *asked)
    assert done.exit_code == 0
    assert "Take clear-all:" in done.stdout
    document = msgspec.json.decode(ran("flask==3.1.3", *asked, "--json").stdout, type=ReliefDocument)
    plain, treated, freeze = document.relief.rows
    assert plain.left is not None
    assert treated.left is not None
    assert plain.left.mean > treated.left.mean == 0
    assert (freeze.remedy, freeze.left, freeze.unsupported) == ("freeze", None, None)
    # A part of the scenarios is not kept as the whole.
    mine = root / ".outlive" / "results"
    kept = sorted(path.relative_to(mine).parent.as_posix() for path in mine.rglob("*.json"))
    assert kept == ["measurements/flask/3.1.3", "remedies/flask/3.1.3/clear-all-v1"]
