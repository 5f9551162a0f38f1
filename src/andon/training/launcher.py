"""Becomes a training process, limited. Run as a script; imports nothing of Andon.

``python -I -S launcher.py PARENT MEMORY NICENESS COMMAND…`` lowers its priority, sets resource
limits, asks the kernel to be killed with the parent, and replaces itself by COMMAND. Python
code between fork and exec in a threaded server can deadlock; a program of its own cannot.

Exit code 126: COMMAND could not be started, the reason stands on stderr.
"""

import ctypes
import os
import resource
import signal
import sys

CANNOT_START = 126

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38


def _limit(kind: int, value: int) -> None:
    """Lower a limit, never raise it."""
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def main() -> None:
    """Limit this process and become the training."""
    parent, memory, niceness, *command = sys.argv[1:]
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if os.getppid() != int(parent):
        # The parent died before the kernel was asked.
        sys.exit(CANNOT_START)
    # Answers come before trainings.
    os.nice(int(niceness))
    os.umask(0o077)
    _limit(resource.RLIMIT_CORE, 0)
    if int(memory):
        _limit(resource.RLIMIT_AS, int(memory))
    try:
        os.execv(command[0], command)  # noqa: S606  (a shell is what we avoid)
    except OSError as error:
        sys.stderr.write(f"cannot start: {error.strerror}\n")
        sys.exit(CANNOT_START)


if __name__ == "__main__":
    main()
