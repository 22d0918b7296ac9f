"""Templates to pages: each page is one file that loads nothing and runs only its own style and script."""

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
from outlive.reports.claims import ClaimVerdict
from outlive.reports.verdict import SIGNS, TONES
from outlive.retention.trails import short_name
from outlive.wording import ARROW, capital, counted, listed, number, one_line

CODE = re.compile(r"`([^`]+)`")
SEEN_TONES: dict[ClaimVerdict, str] = {
    "confirmed": "good",
    "partly": "setting",
    "not seen": "unknown",
    "contradicted": "hold",
}


class Link(msgspec.Struct, frozen=True):
    """A link in the header of the site; `href` is relative to the site's folder."""

    text: str
    href: str


class Frame(msgspec.Struct, frozen=True):
    """The site around a page: the path to its folder (`../`; None for a page by itself) and its links.

    `documents` tells whether the site includes the project's documents.
    """

    root: str | None = None
    links: tuple[Link, ...] = ()
    documents: bool = False


ALONE = Frame()


def render(
    template: str, frame: Frame, *, title: str, summary: str, scripts: Sequence[str] = (), **values: object
) -> str:
    """Return the page made from `template`; `scripts` are the names of its scripts."""
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
    """Return `text` escaped, with addresses as links and text in backticks as code.

    Lines do not break at arrows.
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
    """Return a file from the templates' folder unescaped."""
    source = resources.files("outlive.pages") / "templates" / name
    return Markup(source.read_text("utf-8"))  # noqa: S704 - the package's own text, no input


class _Compiled(jinja2.FileSystemBytecodeCache):
    """Compiled templates in the user's cache. If it cannot be written, each command compiles them anew."""

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        """Store a template if the cache can be written."""
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
"""Functions that templates use to write values, by name."""


@functools.cache
def environment() -> jinja2.Environment:
    """Return the environment that loads templates and caches them compiled."""
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("outlive.pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        bytecode_cache=_Compiled(str(cache_dir() / "templates")),
    )
    templates.filters |= FILTERS
    templates.globals["version"] = __version__
    return templates


def _policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """Return the content security policy that allows these styles and scripts and nothing else."""
    parts = ["default-src 'none'", "img-src 'self' data:", "base-uri 'none'", "form-action 'none'"]
    parts += [f"style-src {' '.join(map(_hashed, styles))}"]
    parts += [f"script-src {' '.join(map(_hashed, scripts))}"] if scripts else []
    return "; ".join(parts)


def _hashed(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
