"""Templates to pages: each is one file that loads nothing, and whose own style and script alone may run."""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from importlib import resources
from pathlib import Path

import jinja2
import msgspec
from markupsafe import Markup

from outlive import __version__
from outlive.comparison.lines import MARKS, step_text
from outlive.markdown import LINK
from outlive.pages.drawings import plots
from outlive.pages.tally import tallies
from outlive.project import cache_dir
from outlive.reports.claims import Seen
from outlive.reports.verdict import SIGNS, TONES
from outlive.retention.trails import short_name
from outlive.wording import ARROW, capital, counted, listed, number, one_line

CODE = re.compile(r"`([^`]+)`")
SEEN_TONES: dict[Seen, str] = {
    "confirmed": "good",
    "partly": "setting",
    "not seen": "unknown",
    "contradicted": "hold",
}


class Link(msgspec.Struct, frozen=True):
    """A link of the site's head; `href` is relative to the site's folder."""

    text: str
    href: str


class Frame(msgspec.Struct, frozen=True):
    """What is around a page: the way to the site's folder (`../`, None: a page by itself), and its links.

    `documents` is whether the site has pages of the documents.
    """

    root: str | None = None
    links: tuple[Link, ...] = ()
    documents: bool = False


ALONE = Frame()


def render(
    template: str, frame: Frame, *, title: str, summary: str, scripts: Sequence[str] = (), **values: object
) -> str:
    """Return the page that `template` gives; `scripts` are the names of those in it."""
    style, code = asset("style.css"), Markup("\n").join(map(asset, scripts))
    return (
        environment()
        .get_template(template)
        .render(
            **msgspec.structs.asdict(frame),
            title=title,
            summary=summary,
            policy=_policy([style], [code] if code else []),
            style=style,
            script=code,
            **values,
        )
    )


def linked(text: str) -> Markup:
    """Return `text` escaped, with plain addresses as links and what is in backticks as code.

    Arrows stay with what they connect.
    """
    parts = LINK.split(text.replace(f" {ARROW} ", f"\u00a0{ARROW}\u00a0"))
    link = Markup('<a rel="nofollow noreferrer" href="{0}">{0}</a>')
    return Markup("").join(
        link.format(part.rstrip(".")) + "." * part.endswith(".") if at % 2 else _coded(part)
        for at, part in enumerate(parts)
    )


def _coded(text: str) -> Markup:
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if at % 2 else part for at, part in enumerate(CODE.split(text)))


@functools.cache
def asset(name: str) -> Markup:
    """Return one of our own files beside the templates, as it is."""
    source = resources.files("outlive.pages") / "templates" / name
    return Markup(source.read_text("utf-8"))  # noqa: S704 - our own text, and nothing comes from elsewhere


class _Compiled(jinja2.FileSystemBytecodeCache):
    """Compiled templates in the user's cache; where they cannot be kept, each command compiles its own."""

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        """Keep a template if that can be done."""
        with contextlib.suppress(OSError):
            Path(self.directory).mkdir(parents=True, exist_ok=True)
            super().dump_bytecode(bucket)


FILTERS: dict[str, Callable[..., object]] = {
    "tone": (TONES | SEEN_TONES).__getitem__,
    "sign": SIGNS.__getitem__,
    "mark": MARKS.__getitem__,
    "runs": plots.runs,
    **{
        write.__name__: write
        for write in (capital, counted, linked, listed, number, one_line, short_name, step_text, tallies)
    },
}
"""What writes the values of records, by the names that templates use."""


@functools.cache
def environment() -> jinja2.Environment:
    """Return what reads templates, and keeps them compiled."""
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("outlive.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        bytecode_cache=_Compiled(str(cache_dir() / "templates")),
    )
    found.filters |= FILTERS
    found.globals["version"] = __version__
    return found


def _policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """Return the policy by which a browser runs and loads these and nothing else."""
    parts = ["default-src 'none'", "img-src 'self' data:", "base-uri 'none'", "form-action 'none'"]
    parts += [f"style-src {' '.join(map(_hashed, styles))}"]
    parts += [f"script-src {' '.join(map(_hashed, scripts))}"] if scripts else []
    return "; ".join(parts)


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
