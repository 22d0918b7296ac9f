"""Objects that outlive their request: all, those that a full collection frees, those that it does not."""

from ._harness import Measured, tracked

UNIT = "objects/request"
OFF = ("off",)  # survivors are what is there without automatic collections


class Aiohttp(Measured):
    """What aiohttp leaves."""

    track_survivors = tracked("aiohttp", "survivors", "survivors_per_request", UNIT, OFF)
    track_cyclic = tracked("aiohttp", "cyclic garbage", "cyclic_per_request", UNIT, OFF)
    track_leaked = tracked("aiohttp", "leaked objects", "leaked_per_request", UNIT)


class Flask(Measured):
    """What Flask leaves."""

    track_survivors = tracked("flask", "survivors", "survivors_per_request", UNIT, OFF)
    track_cyclic = tracked("flask", "cyclic garbage", "cyclic_per_request", UNIT, OFF)
    track_leaked = tracked("flask", "leaked objects", "leaked_per_request", UNIT)
