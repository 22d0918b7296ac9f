"""Objects that outlive their request or its connection. Counts are exact."""

from ._harness import publish

SURVIVORS = {"unit": "objects/request", "gc": "off"}  # counted without automatic collections
LEAKED = {"unit": "objects/request", "gc": "on"}
A_CONNECTION = {  # except with keep-alive, each request has a connection of its own
    "unit": "objects/connection",
    "connections": ("keep-alive",),
}

publish(
    __name__,
    Survivors={**SURVIVORS, "what": "survivors", "reading": "survivors_per_request"},
    Leaked={**LEAKED, "what": "leaked objects", "reading": "leaked_per_request"},
    SurvivorsOfAConnection={
        **SURVIVORS,
        **A_CONNECTION,
        "what": "survivors of a connection",
        "reading": "survivors_per_connection",
    },
    LeakedOfAConnection={
        **LEAKED,
        **A_CONNECTION,
        "what": "leaked objects of a connection",
        "reading": "leaked_per_connection",
    },
)
