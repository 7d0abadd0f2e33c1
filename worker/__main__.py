"""Starts a worker: `python -m worker --pool gpu|cpu|batch|errand`. Becomes Celery's own worker process."""

import argparse
import json
import os
import sys
import time

from jobs.connection import connect
from jobs.errors import SchemaMismatch, StoreUnavailable
from jobs.job import CPU_BATCH_QUEUE, ERRAND_QUEUE
from jobs.store import JobStore
from worker.settings import Takes, WorkerSettings

WAIT_S = 2.0

QUEUES = {"gpu": "gpu", "cpu": "cpu", "batch": CPU_BATCH_QUEUE, "errand": ERRAND_QUEUE}
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1", "HIP_VISIBLE_DEVICES": "-1"}  # a forked trainer fails on a GPU that it sees
TAKES = {"batch": Takes.BATCHES, "errand": Takes.ERRANDS}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--pool", choices=sorted(QUEUES), default="cpu")
    parser.add_argument("--name", default="", help="unique among workers")
    args = parser.parse_args()
    os.environ["EEGQ_POOL"] = "gpu" if args.pool == "gpu" else "cpu"
    os.environ["EEGQ_WORKER_NAME"] = name = args.name or f"{args.pool}-{os.getpid()}@{os.uname().nodename}"
    refuse_another_schema()
    if args.pool == "gpu" and not choose_device():
        sys.exit("no usable GPU: this worker takes no work")
    if args.pool != "gpu" or os.environ["EEGQ_CHOSEN_DEVICE"].startswith("standin"):
        os.environ.update(NO_GPU)
    os.environ["EEGQ_TAKES"] = TAKES.get(args.pool, Takes.JOBS)
    command = [
        sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-Q", QUEUES[args.pool], "-n", name,
        "-P", "prefork", "-c", "1", "--without-gossip", "--without-mingle", "--loglevel", "INFO",
    ]  # fmt: skip
    os.execv(sys.executable, command)


def refuse_another_schema() -> None:
    """Waits for Redis; a store that another release wrote ends the start with the reason."""
    settings = WorkerSettings()
    store = JobStore(connect(settings.url()))
    while True:
        try:
            store.open()
            return
        except StoreUnavailable as error:
            print(f"waiting for Redis: {error}", file=sys.stderr)
            time.sleep(WAIT_S)
        except SchemaMismatch as error:
            sys.exit(f"{error}; {error.hint}")


def choose_device() -> bool:
    """Finds a GPU that computes rightly, in a process of its own, and hands its name down."""
    from worker.devices.bootrecord import BootRecords
    from worker.devices.probe import choose
    from worker.settings import WorkerSettings

    settings = WorkerSettings()
    found = settings.device if settings.device.startswith("standin") else None
    if found is None:
        folder = settings.cache
        choice = choose(settings.device, records=BootRecords(folder / "boot"), cache_file=folder / "device-tests.json")
        print(json.dumps(choice.to_dict()), file=sys.stderr, flush=True)
        found = choice.device
    if found:
        os.environ["EEGQ_CHOSEN_DEVICE"] = found if ":" in found or found == "mps" else f"{found}:0"
    return found is not None


if __name__ == "__main__":
    main()
