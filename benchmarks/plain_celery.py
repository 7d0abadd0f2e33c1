"""Plain Celery on Redis under the same storm: `python -m benchmarks.plain_celery --mode early|late|late6`.

The task trains the same tiny jobs in the worker's child, as one would write it without a queue of one's own: early
acknowledgement, late with the default visibility timeout of an hour, late with 6 s. Knows nothing of jobs/.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from celery import Celery
from kombu.exceptions import OperationalError

from benchmarks.storm import EPOCHS, SPECS, send
from tests.redis_server import RedisServer
from tests.stack import ROOT, make_data, parents, tiny

MODES = {"early": (False, 3600), "late": (True, 3600), "late6": (True, 6)}
BLOWS = {"child": 9, "worker": 3, "freeze child": 2, "freeze worker": 1, "redis": 2, "everything": 1}
LATE, VISIBLE_S = MODES[os.environ.get("PLAIN_MODE", "early")]

app = Celery("plain", broker=os.environ.get("PLAIN_BROKER"))
app.conf.update(
    task_acks_late=LATE, task_ignore_result=True, worker_prefetch_multiplier=1, worker_redirect_stdouts=False,
    broker_connection_retry_on_startup=True, broker_connection_max_retries=None, task_publish_retry=False,
    broker_transport_options={"visibility_timeout": VISIBLE_S},
)  # fmt: skip


if "PLAIN_BROKER" in os.environ:  # a worker: what tasks.py imports at its top is there before the fork
    import braindecode.models  # noqa: F401


@app.task(name="train")  # this module is __main__ where jobs are sent from
def train(number: int, folder: str, data: str) -> None:
    from worker.training.__main__ import main as train_alone

    run = Path(folder) / f"run-{number}-{os.getpid()}-{time.time_ns()}"
    spec = Path(folder) / f"spec-{number % SPECS}.json"
    status = train_alone([str(spec), "--folder", str(run), "--data", data, "--cache", f"{data}/.cache", "--threads",
                          "1"])  # fmt: skip
    with open(Path(folder) / "done", "a") as file:
        file.write(f"{number} {status}\n")


@dataclass
class Plain:
    """Workers and Redis, and what is done to them."""

    folder: Path
    data: Path
    mode: str
    rng: random.Random
    redis: RedisServer
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)
    frozen: list[tuple[float, int]] = field(default_factory=list)
    blows: Counter[str] = field(default_factory=Counter)

    def start(self, name: str) -> None:
        environment = {**os.environ, "PLAIN_MODE": self.mode, "PLAIN_BROKER": self.redis.url, "PYTHONPATH": str(ROOT),
                       "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}  # fmt: skip
        command = [sys.executable, "-m", "celery", "-A", "benchmarks.plain_celery", "worker", "-n", name, "-P",
                   "prefork", "-c", "1", "--without-gossip", "--without-mingle"]  # fmt: skip
        with open(self.folder / f"{name}.log", "ab") as log:
            self.processes[name] = subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                start_new_session=True,
            )  # fmt: skip

    def strike(self) -> None:
        kind = self.rng.choices(list(BLOWS), list(BLOWS.values()))[0]
        name = self.rng.choice(list(self.processes))
        worker = self.processes[name]
        children = [pid for pid, parent in parents() if parent == worker.pid]
        victim = worker.pid if kind == "freeze worker" else children[0] if children else None
        if kind in ("child", "freeze child", "freeze worker"):
            hit = send(victim, signal.SIGKILL if kind == "child" else signal.SIGSTOP)
            if hit and kind != "child":
                self.frozen.append((time.monotonic() + self.rng.uniform(4.5, 9), victim or 0))
            self.blows[kind] += hit
            return
        if kind in ("redis", "everything"):
            self.redis.kill()
        for each in [name] if kind == "worker" else list(self.processes) if kind == "everything" else []:
            os.killpg(self.processes[each].pid, signal.SIGKILL)
            self.processes[each].wait()
            self.start(each)
        if kind in ("redis", "everything"):
            self.redis.start()
        self.blows[kind] += 1

    def thaw(self) -> None:
        for at, pid in [entry for entry in self.frozen if entry[0] <= time.monotonic()]:
            self.frozen.remove((at, pid))
            send(pid, signal.SIGCONT)

    def done(self) -> Counter[int]:
        path = self.folder / "done"
        return Counter(int(line.split()[0]) for line in path.read_text().splitlines()) if path.exists() else Counter()

    def close(self) -> None:
        for process in self.processes.values():
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        self.redis.stop()


def run(plain: Plain, seconds: float, n_workers: int, mean_gap_s: float, calm_s: float) -> dict:
    for n in range(SPECS):
        (plain.folder / f"spec-{n}.json").write_text(tiny(EPOCHS, seed=n).model_dump_json())
    for i in range(n_workers):
        plain.start(f"w{i + 1}")
    sender = Celery(broker=plain.redis.url)
    sender.conf.task_publish_retry = False
    accepted, started, next_at = 0, time.monotonic(), time.monotonic() + 30
    while time.monotonic() - started < seconds or plain.frozen:
        plain.thaw()
        if time.monotonic() >= next_at and time.monotonic() - started < seconds:
            next_at = time.monotonic() + plain.rng.expovariate(1 / mean_gap_s)
            plain.strike()
        if accepted - len(plain.done()) < 3 * n_workers or time.monotonic() - started > 4 * (accepted + 8):
            try:
                sender.send_task(train.name, [accepted, str(plain.folder), str(plain.data)], retry=False)
                accepted += 1
            except OperationalError:
                pass
        time.sleep(0.05)
    wait_for_calm(plain, accepted, calm_s)
    done = plain.done()
    return {
        "mode": plain.mode, "accepted": accepted, "blows": dict(plain.blows), "blows_in_all": sum(plain.blows.values()),
        "never_finished": sum(done[n] == 0 for n in range(accepted)),
        "finished_more_than_once": sum(done[n] > 1 for n in range(accepted)),
        "calm_s": calm_s,
    }  # fmt: skip


def wait_for_calm(plain: Plain, accepted: int, calm_s: float) -> None:
    """Until all have finished, or none has for `calm_s`."""
    last, since = -1, time.monotonic()
    while len(plain.done()) < accepted and time.monotonic() - since < calm_s:
        if sum(plain.done().values()) != last:
            last, since = sum(plain.done().values()), time.monotonic()
        time.sleep(0.5)
    time.sleep(15)  # repetitions may still come


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plain_celery", description=__doc__)
    parser.add_argument("--mode", choices=MODES, default="early")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--gap", type=float, default=4.0)
    parser.add_argument("--calm", type=float, default=60.0, help="seconds without any job finishing that end the wait")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = Path(tempfile.mkdtemp(prefix="plain-"))
    redis = RedisServer(folder / "redis").start()
    plain = Plain(folder, make_data(args.data or folder / "data"), args.mode, random.Random(args.seed), redis)
    try:
        result = run(plain, args.seconds, args.workers, args.gap, args.calm)
    finally:
        plain.close()
    settings = {k: getattr(args, k) for k in ("seconds", "seed", "workers", "gap")}
    text = json.dumps({"settings": settings, **result}, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
