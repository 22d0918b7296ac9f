"""One upgrade decided: the record of all that is said about it, as Markdown and in a terminal."""
