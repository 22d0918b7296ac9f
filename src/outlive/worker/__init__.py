"""What runs in the server's process, in the environment of the release that is measured.

outlive is not installed there, so each file is loaded by its path. It uses the standard library only, in the
syntax of Python 3.8, and imports nothing of ours but siblings, by path. Imports for types stand behind a
`TYPE_CHECKING` that is False: even `typing` would add a module to the heap that is counted.

gunicorn loads `gunicorn_conf`, which starts the `probe`. The probe counts; the modules in `survivors`
describe what it found alive; `plant` leaves a known leak and a known cycle as a gate's control. Every process
that we start runs `lifeline` first, which makes it die with us.
"""
