"""Stacks: the text that names one, and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outlive.errors import UsageError
from outlive.records.stack import Package, Stack

names = st.sampled_from(["flask", "aiohttp", "multidict", "yarl", "gunicorn", "ruamel-yaml", "a", "x9"])
versions = st.builds(
    lambda numbers, end: ".".join(map(str, numbers)) + end,
    st.lists(st.integers(0, 99), min_size=1, max_size=4),
    st.sampled_from(["", "a1", "b2", "rc1", ".post1", ".dev3"]),
)


@st.composite
def stacks(draw: st.DrawFn) -> Stack:
    framework, *others = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    paths = st.sampled_from(["@../werkzeug", "@/a b/dist/x-1.0-py3-none-any.whl", "@https://host/x.whl"])
    pins = tuple(sorted(Package(name, draw(versions | paths)) for name in others))
    python = draw(st.none() | st.sampled_from(["3.8", "3.12.1", "3.15.0rc1", "3.14t", "@/opt/a b/python"]))
    return Stack(framework, draw(versions | paths), python, pins)


@given(stack=stacks())
def test_the_text_of_a_stack_names_it(stack: Stack) -> None:
    assert Stack.parse(str(stack)) == stack


@given(stack=stacks(), order=st.randoms(use_true_random=False))
def test_the_order_after_the_framework_and_blanks_do_not_matter(stack: Stack, order: object) -> None:
    first, *rest = str(stack).split(",")
    order.shuffle(rest)  # type: ignore[attr-defined]
    assert Stack.parse(" , ".join([first, *rest])) == stack


def test_names_are_written_as_the_index_does() -> None:
    stack = Stack.parse("Flask==3.1.3,Ruamel_YAML==0.18, python==3.12")
    assert stack == Stack("flask", "3.1.3", "3.12", (Package("ruamel-yaml", "0.18"),))
    assert str(stack) == "flask==3.1.3,ruamel-yaml==0.18,python==3.12"


PYTHON = "python takes a version, as in python==3.11 or python==3.12.1, or python@ and a path"
FORM = "is not NAME==VERSION, as in aiohttp==3.11.14,python==3.11"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", f"'' {FORM}"),
        ("flask", f"'flask' {FORM}"),
        ("flask=3.1", f"'flask=3.1' {FORM}"),
        ("flask==3.1,", f"'flask==3.1,': '' {FORM}"),
        ("==3.1", f"'==3.1' {FORM}"),
        ("../flask==3.1", f"'../flask==3.1' {FORM}"),
        ("-flask==3.1", f"'-flask==3.1' {FORM}"),
        ("flask==", f"'flask==' {FORM}"),
        ("flask==new", "'flask==new': 'new' is not a version"),
        ("flask===3.1", "'flask===3.1': '=3.1' is not a version"),
        ("flask==3.*", "'flask==3.*': '3.*' is not a version"),
        ("flask==3.1,python==3", f"'flask==3.1,python==3': {PYTHON}"),
        ("flask==3.1,python==3.11.", f"'flask==3.1,python==3.11.': {PYTHON}"),
        ("flask==3.1,python==2.7", f"'flask==3.1,python==2.7': {PYTHON}"),
        ("flask==3.1,python@", "'flask==3.1,python@': python@ takes a path, as in python@/path/to/it"),
        ("flask==3.1,Flask==3.0", "'flask==3.1,Flask==3.0': flask is named twice"),
        ("flask==3.1,yarl==1.0,yarl==1.1", "'flask==3.1,yarl==1.0,yarl==1.1': yarl is named twice"),
        (
            "flask==3.1,python==3.11,python==3.12",
            "'flask==3.1,python==3.11,python==3.12': python is named twice",
        ),
    ],
)
def test_a_wrong_text_gets_one_line(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Stack.parse(text)
    assert str(caught.value) == message


@given(text=st.text(max_size=30))
def test_any_text_is_a_stack_or_one_line(text: str) -> None:
    try:
        stack = Stack.parse(text)
    except UsageError as caught:
        said = str(caught)
    else:
        said = str(Stack.parse(str(stack)))
        assert said == str(stack)
    assert len(said.splitlines()) == 1
