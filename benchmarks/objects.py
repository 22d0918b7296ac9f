"""Objects that outlive their request: all, those that a full collection frees, those that it does not."""

from ._harness import publish

UNIT = "objects/request"
OFF = ("off",)  # survivors are what is there without automatic collections
ON_AND_OFF = ("on", "off")
HELD = ("keep-alive",)  # with the others each request has a connection of its own
A_CONNECTION = "objects/connection"

publish(
    __name__,
    "What {} leaves.",
    track_survivors=("survivors", "survivors_per_request", UNIT, OFF),
    track_cyclic=("cyclic garbage", "cyclic_per_request", UNIT, OFF),
    track_leaked=("leaked objects", "leaked_per_request", UNIT),
    track_survivors_of_a_connection=(
        "survivors of a connection",
        "survivors_per_connection",
        A_CONNECTION,
        OFF,
        HELD,
    ),
    track_leaked_of_a_connection=(
        "leaked objects of a connection",
        "leaked_per_connection",
        A_CONNECTION,
        ON_AND_OFF,
        HELD,
    ),
)
