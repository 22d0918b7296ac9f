"""Objects that outlive their request: all, those that a full collection frees, those that it does not."""

from ._harness import publish

UNIT = "objects/request"
OFF = ("off",)  # survivors are what is there without automatic collections

publish(
    __name__,
    "What {} leaves.",
    track_survivors=("survivors", "survivors_per_request", UNIT, OFF),
    track_cyclic=("cyclic garbage", "cyclic_per_request", UNIT, OFF),
    track_leaked=("leaked objects", "leaked_per_request", UNIT),
)
