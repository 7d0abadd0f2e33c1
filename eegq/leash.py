"""Runs a command that must not outlive whoever started it: `python leash.py PARENT_PID COMMAND...`.

Run as a plain file before every child of `eegq up`; knows nothing of what it starts. On Linux the kernel kills the
command when the parent dies, however it dies; elsewhere the parent's own clean-up is all there is.
"""

import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the line above
        raise SystemExit(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # the parent blocks its signals while it starts a child
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
