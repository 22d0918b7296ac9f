"""Scenarios: the bytes that are sent, the choice among them, and what is wrong with a file."""

from __future__ import annotations

import gzip
import zlib
from email.parser import BytesParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from goldens import same_as_golden
from measuring import CHECKOUT
from outlive.errors import UsageError
from outlive.records.measurement import CONNECTIONS, Connection
from outlive.service import app as apps
from outlive.service.scenarios import PNG_SIGNATURE, Request, Scenario, Set, find, load, load_set, select

FILE = Path(__file__).parents[2] / "loadtests" / "scenarios.toml"
SCENARIOS = load(FILE)
NAMES = [scenario.name for scenario in SCENARIOS]


def scenario(**request: object) -> Scenario:
    return Scenario("one", "a summary", Request(**request), ("200",))  # type: ignore[arg-type]


class TestTheFile:
    def test_names_are_unique(self) -> None:
        assert len(set(NAMES)) == len(NAMES)

    def test_the_first_is_the_baseline(self) -> None:
        assert NAMES[0] == "ok"

    @pytest.mark.parametrize("name", NAMES)
    def test_each_says_what_it_expects(self, name: str) -> None:
        (one,) = select(SCENARIOS, [name])
        assert one.summary
        assert one.expect
        assert (one.expect == ("aborted",)) == ("leave" in one.steps)


class TestMessage:
    def test_a_request_without_body(self) -> None:
        assert scenario(path="/ok").message("keep-alive") == (
            b"GET /ok HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
        )

    def test_a_body_says_its_type_and_length(self) -> None:
        assert scenario(method="POST", path="/json", body="json").message("close") == (
            b"POST /json HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nContent-Length: 33\r\n\r\n"
            b'{"item": "widget", "quantity": 3}'
        )

    def test_raw_bytes_are_sent_as_they_are(self) -> None:
        assert scenario(raw="nonsense\r\n\r\n").message("close") == b"nonsense\r\n\r\n"

    @given(size=st.integers(8, 5000), connection=st.sampled_from(CONNECTIONS))
    def test_an_image_has_the_size_that_is_asked_for(self, size: int, connection: Connection) -> None:
        message = scenario(method="POST", path="/images", body="image", bytes=size).message(connection)
        head, _, body = message.partition(b"\r\n\r\n")
        fields = BytesParser().parsebytes(head.partition(b"\r\n")[2])
        assert int(fields["Content-Length"]) == len(body)
        form = BytesParser().parsebytes(f"Content-Type: {fields['Content-Type']}\r\n\r\n".encode() + body)
        part = next(one for one in form.walk() if not one.is_multipart())
        image = part.get_payload(decode=True)
        assert isinstance(image, bytes)
        assert len(image) == size
        assert image.startswith(PNG_SIGNATURE)

    @pytest.mark.parametrize("name", NAMES)
    def test_what_is_cut_is_the_second_half_of_the_body(self, name: str) -> None:
        (one,) = select(SCENARIOS, [name])
        whole, cut = one.message("close"), one.cut("close")
        body = whole.partition(b"\r\n\r\n")[2]
        assert whole.startswith(cut)
        assert len(whole) - len(cut) == len(body) - len(body) // 2


class TestRequest:
    def test_headers_come_last_or_in_place_of_others(self) -> None:
        one = scenario(path="/ok", headers={"Cookie": "a=1", "Connection": "Upgrade"})
        assert one.message("close") == (
            b"GET /ok HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nCookie: a=1\r\n\r\n"
        )

    def test_raw_bytes_are_latin_1(self) -> None:
        assert scenario(raw="\u0088\u0080\u0000").message("close") == b"\x88\x80\x00"

    def test_a_corrupt_body_says_what_it_should_be(self) -> None:
        head, _, body = scenario(method="POST", body="broken-gzip").message("close").partition(b"\r\n\r\n")
        assert b"Content-Encoding: gzip" in head
        assert body.startswith(b"\x1f\x8b")
        with pytest.raises((OSError, zlib.error)):
            gzip.decompress(body)

    @given(size=st.integers(1, 5000))
    def test_chunks_hold_the_whole_body(self, size: int) -> None:
        request = {"method": "POST", "body": "image", "bytes": size}
        head, _, framed = scenario(**request, chunked=True).message("close").partition(b"\r\n\r\n")
        assert b"Transfer-Encoding: chunked" in head
        assert b"Content-Length" not in head
        body, rest = b"", framed
        while True:
            length, _, rest = rest.partition(b"\r\n")
            body, rest = body + rest[: int(length, 16)], rest[int(length, 16) :].removeprefix(b"\r\n")
            if length == b"0":
                break
        assert rest == b""
        assert body == scenario(**request).message("close").partition(b"\r\n\r\n")[2]


class TestSets:
    def test_the_default_one_is_the_file(self) -> None:
        assert load_set(FILE, "default") == SCENARIOS

    def test_together_they_are_all(self) -> None:
        extended = load_set(FILE, "extended")
        assert load_set(FILE, "all") == (*SCENARIOS, *extended)
        assert len(extended) > 100

    def test_every_extended_one_has_an_app_of_its_own(self) -> None:
        assert all(one.app for one in load_set(FILE, "extended"))

    def test_without_a_folder_there_is_no_extended_one(self, tmp_path: Path) -> None:
        path = tmp_path / "scenarios.toml"
        path.write_bytes(FILE.read_bytes())
        assert load_set(path, "all") == SCENARIOS

    def test_a_name_is_taken_once(self, tmp_path: Path) -> None:
        path = tmp_path / "scenarios.toml"
        path.write_bytes(FILE.read_bytes())
        (tmp_path / "extended").mkdir()
        (tmp_path / "extended" / "more.toml").write_text(
            '[[scenario]]\nname = "ok"\nsummary = "again"\nrequest = {}\nexpect = ["200"]\n'
        )
        with pytest.raises(UsageError, match=r"two scenarios have the same name: ok$"):
            load_set(path, "all")

    def test_what_a_file_says_holds_for_its_scenarios(self, tmp_path: Path) -> None:
        path = tmp_path / "more.toml"
        path.write_text(
            'app = "site"\nframeworks = ["flask"]\n'
            '[[scenario]]\nname = "a"\nsummary = "b"\nrequest = {}\nexpect = ["200"]\n'
            '[[scenario]]\nname = "c"\nsummary = "d"\nrequest = {}\nexpect = ["200"]\napp = "other"\n'
        )
        assert [(one.app, one.frameworks) for one in load(path)] == [
            ("site", ("flask",)),
            ("other", ("flask",)),
        ]


class TestFind:
    def names(self, *patterns: str, chosen: Set | None = None) -> list[str]:
        return [one.name for one in find(FILE, patterns, chosen)]

    def test_nothing_finds_the_default_set(self) -> None:
        assert self.names() == NAMES

    def test_a_pattern_that_fits_default_ones_finds_no_others(self) -> None:
        assert self.names("*-error") == [name for name in NAMES if name.endswith("-error")]

    def test_a_pattern_that_fits_none_of_them_finds_extended_ones(self) -> None:
        found = self.names("ok", "websocket-*")
        assert found[:2] == ["ok", "websocket-abort"]
        assert all(name.startswith("websocket-") for name in found[1:])

    def test_a_set_is_kept_to(self) -> None:
        assert self.names("ok", chosen="default") == ["ok"]
        assert "site-error" in self.names("*-error", chosen="extended")
        with pytest.raises(UsageError, match=r"^--set extended is without ok: --set all has"):
            self.names("ok", chosen="extended")

    def test_a_wrong_name_gets_the_nearest_of_all(self) -> None:
        with pytest.raises(UsageError) as caught:
            self.names("gateway-refusd")
        assert str(caught.value).startswith("no scenario 'gateway-refusd'; try gateway-refused")


class TestSelect:
    def test_nothing_selects_all(self) -> None:
        assert select(SCENARIOS, []) == SCENARIOS

    def test_patterns_select_in_the_order_of_the_file(self) -> None:
        chosen = [one.name for one in select(SCENARIOS, ["upload*", "not-found", "abort-?pload"])]
        assert chosen == [
            "not-found",
            "upload",
            "upload-method-not-allowed",
            "upload-too-large",
            "abort-upload",
        ]

    def test_a_wrong_name_gets_the_nearest(self) -> None:
        with pytest.raises(UsageError) as caught:
            select(SCENARIOS, ["ok", "not-fuond"])
        assert str(caught.value) == "no scenario 'not-fuond'; try not-found, site-not-found, not-modified"

    def test_a_name_near_to_nothing_gets_all(self) -> None:
        with pytest.raises(UsageError) as caught:
            select(SCENARIOS[:2], ["zzz"])
        assert str(caught.value) == "no scenario 'zzz'; try ok, not-found"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[[scenario]]\nname = ", "Invalid value (at end of document)"),
        (b'[[scenario]]\nname = "a"\n', "Object missing required field `summary` - at `$.scenario[0]`"),
        (
            b'[[scenario]]\nname = "a"\nsummary = "b"\nexpect = ["200"]\nrequest = { verb = "GET" }\n',
            "Object contains unknown field `verb` - at `$.scenario[0].request`",
        ),
        (
            b'[[scenario]]\nname = "a"\nsummary = "b"\nexpect = ["200"]\nrequest = {}\nclient = "shout"\n',
            "Invalid enum value 'shout' - at `$.scenario[0].client`",
        ),
        (
            b'[[scenario]]\nname = "a"\nsummary = "b"\nexpect = ["200"]\nrequest = {}\nclient = ["shout"]\n',
            "Invalid enum value 'shout' - at `$.scenario[0].client[0]`",
        ),
        (
            b'[[scenario]]\nname = "a"\nsummary = "b"\nexpect = ["200"]\nrequest = {}\nreleases = "new"\n',
            "Invalid specifier: 'new'",
        ),
        (b"\xff", "it is not UTF-8 text"),
    ],
)
def test_a_wrong_file_gets_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "scenarios.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: not a scenario file: {message}"


def test_a_file_that_is_not_there_gets_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"not a scenario file: \[Errno 2\] No such file or directory"):
        load(tmp_path / "none.toml")


def test_what_a_scenario_sends_stays_as_it_is_stored() -> None:
    """Published results of a name are of what it sends: what sends something else gets another name."""
    app = apps.load(CHECKOUT, "flask")
    known = load_set(FILE, "all")
    same_as_golden("what-scenarios-send.txt", "".join(f"{one.name} {app.sent(one)}\n" for one in known))
