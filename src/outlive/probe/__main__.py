"""`python -m outlive.probe FOLDER`."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from outlive.probe.readings import answers, prometheus


def main() -> int:
    """Print what the processes with a socket in a folder say; return 4 where none answers."""
    parser = argparse.ArgumentParser(prog="python -m outlive.probe", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the folder that the service's probes were started with")
    parser.add_argument("--prometheus", action="store_true", help="in Prometheus' text form instead of JSON")
    arguments = parser.parse_args()
    if not os.access(arguments.folder, os.R_OK | os.X_OK):
        parser.error(f"{arguments.folder}: no folder that can be read")
    said = answers(arguments.folder)
    found = [answer for answer in said if not isinstance(answer, OSError)]
    for answer in said:
        if isinstance(answer, OSError):
            print(answer, file=sys.stderr)
    if not found:
        print(f"{arguments.folder}: no process answers", file=sys.stderr)
        return 4
    text = prometheus(found) if arguments.prometheus else json.dumps(found, indent=1) + "\n"
    try:
        sys.stdout.buffer.write(text.encode(errors="backslashreplace"))
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


sys.exit(main())
