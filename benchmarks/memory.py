"""Memory of the served worker: blocks and C heap that requests leave, and the most that was resident."""

from ._harness import publish

publish(
    __name__,
    "What {} takes.",
    track_blocks={"what": "allocated blocks", "reading": "blocks_per_request", "unit": "blocks/request"},
    track_heap={"what": "C heap", "reading": "heap_bytes_per_request", "unit": "bytes/request"},
    track_peak_rss={"what": "peak memory of the worker", "reading": "peak_rss_bytes", "unit": "bytes"},
)
