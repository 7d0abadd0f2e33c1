"""Kill storm: tiny training jobs while processes are killed, frozen and restarted at random, by seed.

`python -m benchmarks.storm --seconds 60 --seed 1` counts what was lost, repeated or changed; benchmarks/plain_celery.py
puts plain Celery through the same. Knows the queue from outside only: processes, the store, files.
"""

import argparse
import hashlib
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx

from jobs.errors import EegqError
from jobs.job import Job, JobState, Outcome
from tests.stack import Stack, is_running, make_data, tiny

SPECS = 3  # different jobs, so that three unkilled runs are enough to compare with
EPOCHS = 10
CRASHES_ALLOWED = 2  # a third death without a checkpoint in between ends a job as poison, as it should
BLOWS = {
    "trainer": 10, "supervisor": 2, "worker": 2, "freeze supervisor": 2, "freeze worker": 1, "reaper": 1,
    "api": 2, "redis": 2, "everything": 1,
}  # fmt: skip


@dataclass
class Storm:
    """What is done to a stack, and how often."""

    stack: Stack
    rng: random.Random
    mean_gap_s: float
    frozen: list[tuple[float, int]] = field(default_factory=list)
    blows: Counter[str] = field(default_factory=Counter)
    next_at: float = 0.0

    def strike_if_due(self) -> None:
        self.thaw(time.monotonic())
        if time.monotonic() < self.next_at:
            return
        self.next_at = time.monotonic() + self.rng.expovariate(1 / self.mean_gap_s)
        kind = self.rng.choices(list(BLOWS), list(BLOWS.values()))[0]
        if self._strike(kind):
            self.blows[kind] += 1

    def thaw(self, now: float) -> None:
        """Wakes whoever slept longer than a lease."""
        for at, pid in [entry for entry in self.frozen if entry[0] <= now]:
            self.frozen.remove((at, pid))
            send(pid, signal.SIGCONT)

    def _strike(self, kind: str) -> bool:
        stack, name = self.stack, self.rng.choice(workers(self.stack))
        match kind:
            case "trainer":
                return self._kill_a_trainer()
            case "supervisor":
                return send(stack.supervisor(name), signal.SIGKILL)
            case "worker" | "api" | "reaper":
                name = name if kind == "worker" else f"{kind}-1"
                stack.kill(name)
                stack.start(name)
            case "freeze supervisor":
                return self._freeze(stack.supervisor(name))
            case "freeze worker":
                return self._freeze(stack.processes[name].pid)
            case "redis":
                stack.redis.kill()
                stack.redis.start()
            case "everything":
                stack.power_cut()
                stack.redis.start()
                for each in list(stack.processes):
                    stack.start(each)
        return True

    def _freeze(self, pid: int | None) -> bool:
        sleep_s = self.stack.lease_s * self.rng.uniform(1.5, 3)
        if not send(pid, signal.SIGSTOP):
            return False
        self.frozen.append((time.monotonic() + sleep_s, pid or 0))
        return True

    def _kill_a_trainer(self) -> bool:
        running = [job for job in self.stack.store.page(state=JobState.RUNNING) if job.crashes < CRASHES_ALLOWED]
        if not running:
            return False
        return send(self.stack.trainer(self.rng.choice(running).id), signal.SIGKILL)


def workers(stack: Stack) -> list[str]:
    return [name for name in stack.processes if name.startswith("cpu")]


def send(pid: int | None, number: int) -> bool:
    if pid is None or not is_running(pid):
        return False
    os.kill(pid, number)
    return True


# --- a run: reference, storm, calm, judgement -------------------------------------------------------------------------


def run(stack: Stack, seconds: float, jobs: int, seed: int, n_workers: int, mean_gap_s: float) -> dict[str, Any]:
    for name in ("reaper-1", "reaper-2", "api-1", *(f"cpu-{i + 1}" for i in range(n_workers))):
        stack.start(name)
    wanted = references(stack)
    storm, door = Storm(stack, random.Random(seed), mean_gap_s), Door(stack, seed)
    started = time.monotonic()
    while (time.monotonic() - started < seconds and len(door.accepted) < jobs) or storm.frozen:
        storm.strike_if_due()
        if len(door.accepted) < jobs and waiting(stack) < 2 * n_workers:
            door.knock()
        time.sleep(0.05)
    stormy_s = time.monotonic() - started
    calm(stack)
    until_filed(stack)
    found = [judge(stack, job_id, wanted[spec]) for job_id, spec in door.accepted.items()]
    return report(found, storm, stormy_s, time.monotonic() - started)


def references(stack: Stack) -> dict[int, str]:
    """The weights of unkilled runs, by the spec's number."""
    ids = {n: stack.submit(tiny(EPOCHS, seed=n)) for n in range(SPECS)}
    return {n: weights(stack, stack.wait(job_id, 1200)) for n, job_id in ids.items()}


@dataclass
class Door:
    """Submits through the API as a client would: the same key again until there is an answer."""

    stack: Stack
    seed: int
    accepted: dict[str, int] = field(default_factory=dict)
    number: int = 1

    def knock(self) -> None:
        spec = self.number % SPECS
        try:
            answer = httpx.post(
                f"http://127.0.0.1:{self.stack.api_port}/jobs", json=tiny(EPOCHS, seed=spec).model_dump(mode="json"),
                headers={"Idempotency-Key": f"storm-{self.seed}-{self.number}"}, timeout=2,
            )  # fmt: skip
        except httpx.HTTPError:
            return
        if answer.status_code == 202:
            self.accepted[answer.json()["id"]] = spec
            self.number += 1


def waiting(stack: Stack) -> int:
    try:
        return stack.store.count(JobState.QUEUED)
    except EegqError:
        return 1000


def calm(stack: Stack, timeout_s: float = 900.0) -> None:
    """Nobody is hit any more: whatever has not ended now within a quarter of an hour is lost."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if stack.store.count(JobState.QUEUED) + stack.store.count(JobState.RUNNING) == 0:
            return
        time.sleep(0.2)


def until_filed(stack: Stack, timeout_s: float = 60.0) -> None:
    """The keeper files what a dead worker left."""
    deadline = time.monotonic() + timeout_s
    while stack.store.unfiled() and time.monotonic() < deadline:
        time.sleep(0.2)


def zombies(stack: Stack) -> int:
    """Attempts that came back after their lease and had a write refused."""
    return sum(log.read_text(errors="replace").count("superseded") for log in stack.folder.glob("cpu-*.log"))


@dataclass
class Verdict:
    """What became of one accepted job; all but the first two should be empty or false."""

    job: str
    state: str
    attempts: int = 0
    crashes: int = 0
    lost_workers: int = 0
    ended_times: int = 0
    steps_wrong: bool = False
    seqs_wrong: bool = False
    weights_differ: bool = False
    files_wrong: bool = False
    steps_repeated: int = 0
    recovery_s: list[float] = field(default_factory=list)
    error: str | None = None


def judge(stack: Stack, job_id: str, weights_wanted: str) -> Verdict:
    try:
        job = stack.store.get(job_id)
    except EegqError as error:
        return Verdict(job_id, "gone", error=str(error))
    events = stack.store.events(job_id, limit=10_000)
    steps = stack.live_steps(job_id)
    n_steps = (job.progress or {}).get("steps", -1)
    repeated = sum(r.last - r.first + 1 for r in stack.ledger.runs(job_id) if r.superseded)
    return Verdict(
        job_id, job.state, len(job.attempts),
        crashes=sum(a.outcome is Outcome.REQUEUED for a in job.attempts),
        lost_workers=sum(a.outcome is Outcome.LOST for a in job.attempts),
        ended_times=sum(e["type"] in ("succeeded", "failed", "cancelled") for e in events),
        steps_wrong=steps != list(range(n_steps)),
        seqs_wrong=[e["seq"] for e in events] != list(range(1, len(events) + 1)),
        weights_differ=job.state is JobState.SUCCEEDED and weights(stack, job) != weights_wanted,
        files_wrong=not files_agree(stack, job), steps_repeated=repeated,
        recovery_s=recoveries(events), error=job.error.message if job.error else None,
    )  # fmt: skip


def weights(stack: Stack, job: Job) -> str:
    path = stack.runs / job.id / "results" / "weights.safetensors"
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "none"


def files_agree(stack: Stack, job: Job) -> bool:
    folder = stack.runs / job.id
    try:
        record = json.loads((folder / "job.json").read_text())
        rows = (folder / "events.jsonl").read_text().splitlines()
        epochs = [json.loads(row)["epoch"] for row in (folder / "metrics.jsonl").read_text().splitlines()]
    except (OSError, ValueError):
        return False
    agrees = record["state"] == job.state and len(rows) == record["revision"]
    return agrees and (job.state is not JobState.SUCCEEDED or epochs == list(range(1, EPOCHS + 1)))


def recoveries(events: list[dict[str, Any]]) -> list[float]:
    """Seconds from each requeue to training again."""
    found, since = [], None
    for event in events:
        if event["type"] == "requeued":
            since = event["at"]
        elif since is not None and event["data"].get("phase") == "training":
            found.append(round(event["at"] - since, 3))
            since = None
    return found


def report(found: list[Verdict], storm: Storm, stormy_s: float, all_s: float) -> dict[str, Any]:
    recovery = sorted(s for v in found for s in v.recovery_s)
    odd = [v for v in found if v.state != "succeeded" or v.ended_times != 1 or v.steps_wrong or v.seqs_wrong
           or v.weights_differ or v.files_wrong]  # fmt: skip
    return {
        "accepted": len(found),
        "states": dict(Counter(v.state for v in found)),
        "blows": dict(storm.blows),
        "blows_in_all": sum(storm.blows.values()),
        "kills": sum(n for kind, n in storm.blows.items() if not kind.startswith("freeze")),
        "zombies_refused": zombies(storm.stack),
        "lost": sum(v.ended_times == 0 for v in found),
        "ended_more_than_once": sum(v.ended_times > 1 for v in found),
        "ledger_wrong": sum(v.steps_wrong for v in found if v.state == "succeeded"),
        "event_numbers_wrong": sum(v.seqs_wrong for v in found),
        "weights_differ": sum(v.weights_differ for v in found),
        "files_wrong": sum(v.files_wrong for v in found),
        "attempts": sum(v.attempts for v in found),
        "attempts_lost_with_their_worker": sum(v.lost_workers for v in found),
        "steps_repeated": sum(v.steps_repeated for v in found),
        "requeue_to_training_s": {"n": len(recovery), "p50": quantile(recovery, 0.5), "p99": quantile(recovery, 0.99)},
        "storm_s": round(stormy_s),
        "all_s": round(all_s),
        "odd": [asdict(v) for v in odd],
    }


def quantile(values: list[float], q: float) -> float | None:
    return values[min(len(values) - 1, int(q * len(values)))] if values else None


def sound(result: dict[str, Any]) -> bool:
    """Every accepted job ended once, as it would have ended unharmed."""
    wrong = ("lost", "ended_more_than_once", "ledger_wrong", "event_numbers_wrong", "weights_differ", "files_wrong")
    return not any(result[name] for name in wrong) and set(result["states"]) <= {"succeeded"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--jobs", type=int, default=1000, help="at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--lease", type=float, default=3.0)
    parser.add_argument("--gap", type=float, default=4.0, help="mean seconds between two blows")
    parser.add_argument("--folder", type=Path, help="kept; a temporary one otherwise")
    parser.add_argument("--data", type=Path, help="made there if it is empty")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    folder = args.folder or Path(tempfile.mkdtemp(prefix="storm-"))
    stack = Stack(folder, make_data(args.data or folder / "data"), args.lease)
    try:
        result = run(stack, args.seconds, args.jobs, args.seed, args.workers, args.gap)
    finally:
        stack.close()
    settings = {k: getattr(args, k) for k in ("seconds", "seed", "workers", "lease", "gap")}
    text = json.dumps({"settings": settings, **result}, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    return 0 if sound(result) else 1


if __name__ == "__main__":
    sys.exit(main())
