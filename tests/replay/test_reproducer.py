"""Reproducers: the smallest script that shows a structure; none is offered that was not seen to."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from analyses import by_hand
from measuring import CHECKOUT, SCENARIOS, checkout, environment, reference
from outlive.commands.first_steps.explain import explain_command
from outlive.errors import FaultError, UsageError
from outlive.replay.explanation import reproducer
from outlive.replay.explanation.reduction import reduce
from outlive.replay.explanation.reproducer import Reproducer
from outlive.service import app as apps

APP = '''\
"""An app."""

import json
import os, sys
from shop import price, tax as vat

LIMIT = 3


class Refused(Exception):
    """Not today."""


def helper(value):
    """Help."""
    return json.dumps(value, indent=LIMIT)


def refuse():
    try:
        print(helper(1))
        raise Refused()
    except ValueError:
        pass


def create_app():
    """Return it."""
    print("made", flush=True)
    return [refuse, helper, os.getcwd, vat]
'''


def test_what_is_not_needed_goes_with_all_that_only_it_needs() -> None:
    text = reduce(APP, "create_app", lambda text: "refuse" in text and "Refused()" in text, 100)
    assert (
        text
        == """\
class Refused(Exception):
    pass

def refuse():
    raise Refused()

def create_app():
    return [refuse]"""
    )


def test_without_trials_only_what_nothing_refers_to_goes() -> None:
    text = reduce(APP, "create_app", lambda text: pytest.fail("no trial is left"), 0)
    assert "import sys" not in text
    assert "price" not in text
    assert '"""' not in text
    assert "import os" in text
    assert "from shop import tax as vat" in text
    assert "LIMIT = 3" in text


def test_no_trial_has_an_undefined_name() -> None:
    tried: list[str] = []

    def shows(text: str) -> bool:
        tried.append(text)
        compile(text, "app.py", "exec")
        return False

    reduce(APP, "create_app", shows, 1000)
    assert tried
    assert all("Refused" in text or "raise" not in text for text in tried)
    assert all("json.dumps" not in text or "import json" in text for text in tried)


def test_trials_are_counted() -> None:
    tried: list[str] = []

    def shows(text: str) -> bool:
        tried.append(text)
        return False

    reduce(APP, "create_app", shows, 5)
    assert len(tried) == 5


def reproduces(framework: str, scenario: str) -> Reproducer:
    (chosen,) = (one for one in SCENARIOS if one.name == scenario)
    app = apps.load(CHECKOUT, framework, chosen.app)
    return Reproducer(msgspec.structs.replace(reference(framework), app=app), chosen)


def test_what_runs_a_script_is_there() -> None:
    assert reproducer.RUNNER.is_file()  # without it no script would ever show anything
    assert reproducer.MAIN.is_file()


@pytest.mark.real
def test_a_script_is_written_once_it_was_seen_to_show_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reproducer, "TRIALS", 3)
    path = tmp_path / "reproducer.py"
    done = CliRunner().invoke(
        explain_command,
        ["flask==3.1.3,python==3.11", "--scenario", "not-found", "--reproducer", str(path)],
        env=checkout(tmp_path),
        standalone_mode=False,
    )
    assert done.exception is None
    assert done.stdout.endswith(f"{path} reproduces b94ef349b0f5: it was run to be sure.\n")
    text = path.read_text(encoding="utf-8")
    assert "outlive calls it b94ef349b0f5" in (ast.get_docstring(ast.parse(text)) or "")
    assert '"flask==3.1.3"' in text
    assert "gunicorn" not in text
    ran = subprocess.run(
        [environment("flask").python, "-I", path], capture_output=True, text=True, check=True, timeout=60
    )
    said = re.match(r"(\d+) objects are left of 100 requests; a full collection frees (\d+)\.", ran.stdout)
    assert said
    assert min(int(said[1]), int(said[2])) >= 6000


@pytest.mark.real
def test_what_no_script_shows_is_a_fault() -> None:
    with pytest.raises(FaultError, match=r"^no reproducer: outside gunicorn ok does not show \w{12}$"):
        reproduces("flask", "ok").find(by_hand().structures[0], ())


@pytest.mark.parametrize(
    ("framework", "scenario", "why"),
    [
        ("flask", "not-found", ""),
        ("flask", "shared-error", ""),
        ("aiohttp", "site-not-found", ""),
        ("aiohttp", "gateway-refused", "its app needs more than a server"),
        ("aiohttp", "big-upload-truncated", "it is not a single plain request"),
    ],
)
def test_what_no_script_can_send_is_known_before(framework: str, scenario: str, why: str) -> None:
    (chosen,) = (one for one in SCENARIOS if one.name == scenario)
    assert reproducer.lacks(chosen, apps.load(CHECKOUT, framework, chosen.app)) == why


def test_an_application_of_ones_own_has_no_reproducer() -> None:
    app = msgspec.structs.replace(apps.load(CHECKOUT, "flask"), own=apps.Own(folder=".", code="."))
    assert reproducer.lacks(SCENARIOS[0], app) == "it is cut from a reference app, and this app is none"


@given(st.lists(st.binary(max_size=9) | st.builds(bytes.__mul__, st.binary(max_size=2), st.just(70))))
def test_a_request_in_a_script_is_the_same_request(parts: list[bytes]) -> None:
    request = b"".join([b"GET / HTTP/1.1\r\n", *parts])
    lines = [*reproducer._literal(request)]
    assert eval("\n".join(["(", *lines, ")"])) == request
    assert sum(map(len, lines)) < 4 * len(request) + 8 * len(lines)


def test_a_long_body_is_short_in_a_script() -> None:
    assert "\n".join(reproducer._literal(b"a: b\r\n\r\n\x89" + b"Z" * 5000 + b"\r\n--\r\n")) == (
        r"""    b'a: b\r\n'
    b'\r\n'
    b'\x89'
    + b'Z' * 5000
    + b'\r\n'
    b'--\r\n'"""
    )


def test_a_scenario_of_several_steps_cannot_be_sent() -> None:
    plain = reproduces("flask", "ok")
    steps = msgspec.structs.replace(plain.scenario, client=("send", "rest", "leave"))
    with pytest.raises(UsageError, match="not a single plain request"):
        msgspec.structs.replace(plain, scenario=steps).find(by_hand().structures[0], ())


@pytest.mark.real
def test_a_fingerprint_that_is_not_there_is_told(tmp_path: Path) -> None:
    path = tmp_path / "reproducer.py"
    options = ["--reproducer", str(path), "--fingerprint", "c0ffee"]
    done = CliRunner().invoke(
        explain_command,
        ["aiohttp==3.14.5,python==3.13", "--scenario", "malformed-request", *options],
        env=checkout(tmp_path),
        standalone_mode=False,
    )
    assert str(done.exception) == "no structure has the fingerprint c0ffee; there are afd84ab064bc"
    assert not path.exists()
