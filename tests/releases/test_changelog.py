from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from outlive.releases.changelog import Entry, issues, parse, plain, versions

TOWNCRIER = """\
..
    You should *NOT* be adding new change log entries to this file.

.. towncrier release notes start

3.11.14 (2025-03-16)
====================

Bug fixes
---------

- Break cyclic references at connection close when there was a traceback -- by :user:`bdraco`.

  Special thanks to :user:`availov` for reporting the issue.


  *Related issues and pull requests on GitHub:*
  :issue:`10556`.



- Fixed :py:class:`~aiohttp.web.Response` leaking
  -- by :user:`a` and :user:`b`.


  *Related issues and pull requests on GitHub:*
  :issue:`10, 11`, :pr:`12`.




Contributor-facing changes
--------------------------

- Sped up ``make``.

----


3.11.13 (2025-02-24)
====================

Bug fixes
---------

- Old.
"""
CLAIM = "Break cyclic references at connection close when there was a traceback."
CONTEXTS = (
    "The app and request contexts are managed using Python context vars directly, "
    "in better performance and memory use."
)
FLASK = """\
Version 2.2.0
-------------

Released 2022-08-01

-   Remove previously deprecated code. :pr:`4667`

    -   Old names for some ``send_file`` parameters have been removed.

-   The app and request contexts are managed using Python context vars
    directly, in better performance and memory use. :pr:`4682`
-   Mark :class:`Scaffold <flask.Scaffold>`. :issue:`4686,4687`


Version 2.1.3
-------------

Released 2022-07-13

-   Inline some optional imports.
"""
OLD = """\
3.8.0 (2021-10-31)
==================

Features
--------

- Add a feature.
  `#2988 <https://github.com/aio-libs/aiohttp/issues/2988>`_
- Fix memory leak in headers (`#723 <https://github.com/aio-libs/aiohttp/pull/723>`_)
"""
MARKDOWN = """\
# Changelog

## [1.2.0] - 2024-01-02
### Fixed
* A leak of [sockets](https://x.invalid/a) (GH-12)
* Another ([#13](https://x.invalid/13))

## v1.1
- First.
"""


def entries(text: str) -> list[tuple[str, str, str, tuple[int, ...]]]:
    return [(one.version, one.section, one.text, one.issues) for one in parse(text)]


def test_towncrier() -> None:
    assert entries(TOWNCRIER) == [
        (
            "3.11.14",
            "Bug fixes",
            f"{CLAIM} Special thanks to availov for reporting the issue.",
            (10556,),
        ),
        ("3.11.14", "Bug fixes", "Fixed Response leaking.", (10, 11, 12)),
        ("3.11.14", "Contributor-facing changes", "Sped up make.", ()),
        ("3.11.13", "Bug fixes", "Old.", ()),
    ]


def test_flask() -> None:
    assert entries(FLASK) == [
        (
            "2.2.0",
            "",
            "Remove previously deprecated code. - Old names for some send_file parameters have been removed.",
            (4667,),
        ),
        (
            "2.2.0",
            "",
            CONTEXTS,
            (4682,),
        ),
        ("2.2.0", "", "Mark Scaffold.", (4686, 4687)),
        ("2.1.3", "", "Inline some optional imports.", ()),
    ]


def test_an_old_one() -> None:
    assert entries(OLD) == [
        ("3.8.0", "Features", "Add a feature.", (2988,)),
        ("3.8.0", "Features", "Fix memory leak in headers", (723,)),
    ]


def test_markdown() -> None:
    assert entries(MARKDOWN) == [
        ("1.2.0", "Fixed", "A leak of sockets (GH-12)", (12,)),
        ("1.2.0", "Fixed", "Another", (13,)),
        ("1.1", "", "First.", ()),
    ]


def test_windows_line_ends_are_the_same() -> None:
    assert entries(TOWNCRIER.replace("\n", "\r\n")) == entries(TOWNCRIER)


def test_versions_are_those_with_a_heading() -> None:
    assert versions(TOWNCRIER) == {Version("3.11.14"), Version("3.11.13")}
    assert versions("Nothing here\n\n- 1.2.3 is no heading\n") == frozenset()


@pytest.mark.parametrize(
    ("markup", "said"),
    [
        (":meth:`~aiohttp.web.Application.router`", "router"),
        (":class:`Flask <flask.Flask>`", "Flask"),
        ("see :issue:`12`.", "see."),
        ("``gc.collect()`` and `name`", "gc.collect() and name"),
        ("`text <https://x.invalid>`__", "text"),
    ],
)
def test_markup_is_taken_off(markup: str, said: str) -> None:
    assert plain(markup) == said


def test_issues_in_their_order() -> None:
    assert issues("#12, GH-3 and :pr:`7` https://github.com/a/b/pull/99, a#5 &#38;") == (12, 3, 7, 99)


@given(st.text())
def test_any_text_can_be_read(text: str) -> None:
    for entry in parse(text):
        assert isinstance(entry, Entry)
        assert entry.text
    versions(text)


NOTES = """\
==========================
Bottle 5.2.1 release notes
==========================

*May 7, 2025*

Bottle 5.2.1 fixes a bug in 5.2.

Bugfixes
========

* Fixed a memory leak in the parser (:ticket:`36292`).

========================
Bottle 5.2 release notes
========================

Python 3.8 compatibility
========================

* Nothing else.
"""


def test_a_word_before_the_version_is_told() -> None:
    assert versions(NOTES) == set()
    assert versions(NOTES, "Bottle") == {Version("5.2"), Version("5.2.1")}
    found = [(entry.version, entry.section, entry.text) for entry in parse(NOTES, "Bottle")]
    assert found == [
        ("5.2.1", "Bugfixes", "Fixed a memory leak in the parser."),
        ("5.2", "Python 3.8 compatibility", "Nothing else."),
    ]
