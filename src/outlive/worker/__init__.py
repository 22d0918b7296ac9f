"""What runs in the server's process, in the environment of the release that is measured.

Each file is loaded by its path, for nothing of ours is installed there: standard library only, in the syntax
of Python 3.8, and no imports of ours but siblings by path. What types alone need is imported behind a
`TYPE_CHECKING` that is False: even `typing` would be one more module in the heap that is counted.

`gunicorn_conf` is where gunicorn comes in. It starts the `probe`, which counts; what is in `survivors` tells
what it found alive; `plant` leaves a known leak and cycle for a gate's control. `lifeline` is
what a server's process runs first, as does every other that we start: it ties its life to ours.
"""
