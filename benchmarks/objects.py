"""Objects that outlive their request: all, those that a full collection frees, those that it does not."""

from ._harness import publish

UNIT = "objects/request"
OFF = ("off",)  # survivors are what is there without automatic collections
HELD = ("keep-alive",)  # with the others each request has a connection of its own
A_CONNECTION = "objects/connection"

publish(
    __name__,
    "What {} leaves.",
    track_survivors={"what": "survivors", "reading": "survivors_per_request", "unit": UNIT, "policies": OFF},
    track_cyclic={"what": "cyclic garbage", "reading": "cyclic_per_request", "unit": UNIT, "policies": OFF},
    track_leaked={"what": "leaked objects", "reading": "leaked_per_request", "unit": UNIT},
    track_survivors_of_a_connection={
        "what": "survivors of a connection",
        "reading": "survivors_per_connection",
        "unit": A_CONNECTION,
        "policies": OFF,
        "connections": HELD,
    },
    track_leaked_of_a_connection={
        "what": "leaked objects of a connection",
        "reading": "leaked_per_connection",
        "unit": A_CONNECTION,
        "connections": HELD,
    },
)
