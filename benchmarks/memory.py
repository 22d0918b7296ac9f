"""Memory of the served worker: blocks and C heap that requests leave, and the most that was resident."""

from ._harness import Measured, tracked


class Aiohttp(Measured):
    """What aiohttp takes."""

    track_blocks = tracked("aiohttp", "allocated blocks", "blocks_per_request", "blocks/request")
    track_heap = tracked("aiohttp", "C heap", "heap_bytes_per_request", "bytes/request")
    track_peak_rss = tracked("aiohttp", "peak memory of the worker", "peak_rss_bytes", "bytes")


class Flask(Measured):
    """What Flask takes."""

    track_blocks = tracked("flask", "allocated blocks", "blocks_per_request", "blocks/request")
    track_heap = tracked("flask", "C heap", "heap_bytes_per_request", "bytes/request")
    track_peak_rss = tracked("flask", "peak memory of the worker", "peak_rss_bytes", "bytes")
