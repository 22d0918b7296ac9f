"""How Sphinx makes the documents of this folder into pages: `sphinx-build docs .outlive/docs`."""

import re

import outlive

project = "outlive"
version = release = outlive.__version__
extensions = ["myst_parser", "sphinx_click"]
exclude_patterns = ["blocks"]
myst_heading_anchors = 3
smartquotes = False  # two hyphens are an option's
html_theme = "furo"  # its fonts are the system's: a page loads nothing from elsewhere
html_title = "outlive"
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_theme_options = {"top_of_page_buttons": []}

BLOCK = re.compile(r"<!-- \[\[\[.*?-->\n", re.DOTALL)  # the code that cog ran to write what follows it
OUTSIDE = re.compile(r"\[([^\]]*)\]\(\.\./[^)]*\)")  # files of the repository are no pages


def setup(app):
    """Have pages hold what readers read."""
    app.connect("source-read", _read)
    app.connect("html-page-context", _level, priority=900)  # after the theme has written its navigation


def _read(_app, _name, source):
    source[0] = OUTSIDE.sub(r"\1", BLOCK.sub("", source[0]))


PRINT = "<style>@media print { .skip-to-content { display: none; } @page { margin: 14mm 12mm; } }</style>"


def _level(_app, _name, _template, context, _doctree):
    """Give captions of lists the level of a heading, and have the keyboard scroll wide code and tables."""
    context["metatags"] = (
        context.get("metatags", "") + PRINT
    )  # on paper the link to skip to the content lies over the text
    for part in ("body", "furo_navigation_tree"):
        text = context.get(part) or ""
        for old, new in (
            ('role="heading">', 'role="heading" aria-level="2">'),
            ("<pre>", '<pre tabindex="0">'),
            ('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper'),
        ):
            text = text.replace(old, new)
        context[part] = text
