"""Run as ``python -I -S shim.py PARENT_PID PROGRAM ARGUMENT…``: becomes PROGRAM, and dies when its parent dies.

A program of its own rather than ``preexec_fn``, which may deadlock in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h; the setting survives execve


def _main() -> None:
    parent, *command = sys.argv[1:]
    # SIGKILL, because an apiserver whose etcd is gone doesn't end on anything less.
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0) != 0:
        sys.exit(f"prctl(PR_SET_PDEATHSIG): {os.strerror(ctypes.get_errno())}")
    if os.getppid() != int(parent):
        sys.exit("the parent died before its child could ask to die with it")
    # Python ignores these two for itself, and what is ignored stays ignored across execve.
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(ignored, signal.SIG_DFL)
    os.execv(command[0], command)  # noqa: S606  (no shell is the point)


if __name__ == "__main__":
    _main()
