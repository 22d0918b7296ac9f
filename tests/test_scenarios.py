"""Scenarios: the bytes that are sent, the choice among them, and what is wrong with a file."""

from __future__ import annotations

from email.parser import BytesParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlive.errors import UsageError
from outlive.measurement import CONNECTIONS, Connection
from outlive.scenarios import PNG_SIGNATURE, Request, Scenario, load, select

FILE = Path(__file__).parents[1] / "loadtests" / "scenarios.toml"
SCENARIOS = load(FILE)
NAMES = [scenario.name for scenario in SCENARIOS]


def scenario(**request: object) -> Scenario:
    return Scenario("one", "a summary", Request(**request), ("200",))  # type: ignore[arg-type]


class TestTheFile:
    def test_names_are_unique(self) -> None:
        assert len(set(NAMES)) == len(NAMES) == 16

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
        assert str(caught.value) == "no scenario 'not-fuond'; try not-found, abort-upload, method-not-allowed"

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
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
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
