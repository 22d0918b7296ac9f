"""Memory of the served worker: blocks and C heap that requests leave, and the most that was resident."""

from ._harness import publish

publish(
    __name__,
    "What {} takes.",
    track_blocks=("allocated blocks", "blocks_per_request", "blocks/request"),
    track_heap=("C heap", "heap_bytes_per_request", "bytes/request"),
    track_peak_rss=("peak memory of the worker", "peak_rss_bytes", "bytes"),
)
