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


def _read(_app, _name, source):
    source[0] = OUTSIDE.sub(r"\1", BLOCK.sub("", source[0]))
