"""Start a program that dies with its parent: `python -I -S lifeline.py PARENT_PID -- PROGRAM ARGUMENT…`.

On Linux the kernel kills the program when the *thread* that started it ends, even if the parent was killed
with SIGKILL. On other systems the program starts without that tie.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to the parent that the arguments name, then become the program."""
    parent, program = int(sys.argv[1]), sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:  # it died before the tie was made
            os.kill(os.getpid(), signal.SIGKILL)
    try:
        os.execvp(program[0], program)  # noqa: S606
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")


if __name__ == "__main__":
    main()
