"""`python -m outlive.probe FOLDER` asks the probes of a service and prints their readings."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from outlive.probe.readings import answers, prometheus


def main() -> int:
    """Print the readings of the processes with a socket in a folder; exit with 4 if none answers."""
    parser = argparse.ArgumentParser(prog="python -m outlive.probe", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the folder that the service's probes were started with")
    parser.add_argument("--prometheus", action="store_true", help="in Prometheus' text form instead of JSON")
    arguments = parser.parse_args()
    if not os.access(arguments.folder, os.R_OK | os.X_OK):
        parser.error(f"{arguments.folder}: not a folder that can be read")
    results = answers(arguments.folder)
    readings = [result for result in results if not isinstance(result, OSError)]
    for result in results:
        if isinstance(result, OSError):
            print(result, file=sys.stderr)
    if not readings:
        print(f"{arguments.folder}: no process answers", file=sys.stderr)
        return 4
    text = prometheus(readings) if arguments.prometheus else json.dumps(readings, indent=1) + "\n"
    try:
        sys.stdout.buffer.write(text.encode(errors="backslashreplace"))
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


sys.exit(main())
