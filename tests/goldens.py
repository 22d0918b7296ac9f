"""Golden texts: what users see, as files that are read in diffs."""

from __future__ import annotations

import os
from pathlib import Path

GOLDEN = Path(__file__).parent / "golden"


def same_as_golden(name: str, text: str) -> None:
    """Compare with a golden text; OUTLIVE_GOLDEN=write writes it anew, to be read in the diff."""
    path = GOLDEN / name
    if os.environ.get("OUTLIVE_GOLDEN") == "write":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")
