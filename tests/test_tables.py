"""Text on a terminal, at its width."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from outlive.tables import UNFOLDED, columns, described, fold, output, say

LINK = "https://github.com/aio-libs/aiohttp/issues/10617"


def said(text: str, width: int, hang: int = 0) -> str:
    out = io.StringIO()
    say(Console(file=out, width=width), text, hang=hang)
    return out.getvalue()


def test_a_link_is_never_cut() -> None:
    assert said(f"    yanked: Regression: {LINK}", 40) == f"    yanked: Regression:\n    {LINK}\n"


def test_what_follows_hangs_below_the_text() -> None:
    assert (
        said("ok      uv: uv 0.13.9 for this machine", 24, 8)
        == "ok      uv: uv 0.13.9\n        for this machine\n"
    )


def test_texts_stand_beside_their_names() -> None:
    out = io.StringIO()
    described(Console(file=out, width=40), [("Safe?", f"No: it is yanked: {LINK}"), ("Why is that?", "A b")])
    assert out.getvalue() == f"Safe?         No: it is yanked:\n              {LINK}\nWhy is that?  A b\n"


def test_no_markup_is_read() -> None:
    assert said("[red]a[/red] [/] :smile:", 80) == "[red]a[/red] [/] :smile:\n"


@given(
    st.lists(st.text("ab-_/.", min_size=1, max_size=30), min_size=1), st.integers(10, 80), st.integers(0, 8)
)
def test_words_stay_whole_and_in_order(words: list[str], width: int, hang: int) -> None:
    folded = fold(" ".join(words), width, hang)
    assert folded.split() == words
    assert all(len(line) <= width or len(line.split()) == 1 for line in folded.splitlines())


@pytest.mark.parametrize(("columns", "width"), [(None, UNFOLDED), ("72", 72), ("0", UNFOLDED)])
def test_what_is_piped_is_not_folded(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, width: int
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert output().width == width


def test_further_lines_stand_below_the_first() -> None:
    out = io.StringIO()
    described(Console(file=out, width=30), [("Where?", "Worse:\n- on close, gc off: a and b\n- on")])
    assert out.getvalue() == (
        "Where?  Worse:\n        - on close, gc off: a\n          and b\n        - on\n"
    )


@pytest.mark.parametrize("width", [None, "40"])
def test_what_is_piped_has_no_spaces_at_the_end_of_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: str | None
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    if width:
        monkeypatch.setenv("COLUMNS", width)
    table = columns("", "scenario", "before")
    table.add_row("ok", "28 cyclic objects")
    table.add_row("not-found", "51")
    console = output()
    console.print(table)
    console.print("  a prompt: ", end="")
    assert capsys.readouterr().out == (
        "scenario   before\nok         28 cyclic objects\nnot-found  51\n  a prompt: "
    )
