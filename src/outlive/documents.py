"""What most JSON documents have in common: they are indented, so that people can read them too."""

from __future__ import annotations

import msgspec


class JsonDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A record that is written as JSON."""

    def to_json(self) -> str:
        """Return the document as indented JSON that ends in a newline."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n"
