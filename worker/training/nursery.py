"""Nursery: imports once what every trainer needs, then forks one whenever it is asked.

For the CPU only: the runtime of an accelerator does not survive a fork. A trainer is handed over to the supervisor,
which waits for it, signals it and takes it along when it dies, as if it had started it itself.
"""

import gc
import os
import socket
import time
from importlib import import_module

from worker.training.orphan import die_with_parent
from worker.training.protocol import Channel, inherited

# Seconds each; torch's optimizers import its compiler at their first call.
SLOW = (
    "braindecode.models",
    "torch._dynamo",
    "torch._inductor",
    "worker.data.prepare",
    "worker.training.loop",
    "worker.export.charts",
    "worker.export.results",
)


def warm_up() -> None:
    """The device is untouched: only code is loaded."""
    for name in SLOW:
        import_module(name)


def wait_to_be_born(asked: socket.socket, supervisor: int) -> Channel | None:
    """In the nursery: serves until nobody asks any more, then None. In every trainer: its pipe."""
    warm_up()
    gc.freeze()  # what all share is not looked through, or it would be copied
    Channel(asked).send("warm")
    while True:
        _, pipes, _, _ = socket.recv_fds(asked, 1, 1)
        if not pipes:
            return None
        between = os.fork()
        if between == 0:
            if os.fork() == 0:
                return _begin_life(asked, pipes[0], supervisor)
            os._exit(0)
        os.close(pipes[0])
        os.waitpid(between, 0)


def _begin_life(asked: socket.socket, pipe: int, supervisor: int) -> Channel:
    """An orphan falls to the supervisor, the nearest subreaper; whoever dies before that leaves nothing behind."""
    between = os.getppid()
    while os.getppid() == between and between != supervisor:
        time.sleep(0.001)
    die_with_parent(supervisor)
    os.setsid()
    Channel(asked).send("born", pid=os.getpid())
    asked.close()
    return inherited(pipe)
