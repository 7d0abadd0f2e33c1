"""Does a killed Redis lose what it acknowledged? `python -m benchmarks.redis_kills --kills 50`; without AOF it must.

Jobs are submitted, claimed, reported and settled all the while; after every restart each acknowledged revision is
looked for.
"""

import argparse
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from jobs.connection import connect
from jobs.errors import EegqError, StaleFence, StoreUnavailable
from jobs.job import Claim, JobState, Pool
from jobs.store import JobStore
from tests.redis_server import RedisServer
from tests.stack import tiny


@dataclass
class Writer:
    """Takes jobs through their lives and keeps the last revision that Redis acknowledged of each."""

    store: JobStore
    rng: random.Random
    acknowledged: dict[str, int] = field(default_factory=dict)
    writes: Counter[str] = field(default_factory=Counter)
    claims: list[Claim] = field(default_factory=list)
    pause: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    resting: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            if self.pause.is_set():
                self.resting.set()
                time.sleep(0.005)
                continue
            self.resting.clear()
            try:
                self._one()
            except StaleFence:
                self.claims.clear()
            except StoreUnavailable:
                time.sleep(0.01)

    def _one(self) -> None:
        kind = self.rng.choice(["submit", "claim", "report", "report", "settle"])
        if kind == "submit" or not self.claims:
            job, _ = self.store.submit(tiny(1))
            self._acknowledge("submit", job.id, job.revision)
            if claim := self.store.claim(Pool.CPU, worker="w", device="cpu", lease_s=1e6):
                self.claims.append(claim)
                self._acknowledge("claim", claim.job.id, claim.job.revision)
        elif kind == "report":
            claim = self.rng.choice(self.claims)
            revision = self.acknowledged[claim.job.id] + 1
            self.store.report(claim, revision, [("x", {}, {})])
            self._acknowledge("report", claim.job.id, revision)
        elif kind == "settle":
            claim = self.claims.pop(self.rng.randrange(len(self.claims)))
            revision = self.acknowledged[claim.job.id] + 1
            self.store.settle(claim, JobState.SUCCEEDED)
            self._acknowledge("settle", claim.job.id, revision)

    def _acknowledge(self, kind: str, job_id: str, revision: int) -> None:
        self.acknowledged[job_id] = max(revision, self.acknowledged.get(job_id, 0))
        self.writes[kind] += 1


def run(kills: int, fsync: str, seed: int) -> dict:
    server = RedisServer(Path(tempfile.mkdtemp(prefix="redis-kills-")), fsync).start()
    client = connect(server.url)
    asserted = {name: client.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy")}
    store = JobStore(client)
    store.open()
    rng = random.Random(seed)
    writer = Writer(store, rng)
    thread = threading.Thread(target=writer.run)
    thread.start()
    lost, checked = 0, 0
    for _ in range(kills):
        time.sleep(rng.uniform(0.2, 0.8))
        server.kill()
        writer.pause.set()
        writer.resting.wait()
        server.start()
        found = {job.id: job.revision for job in store._read(list(writer.acknowledged))}
        missing = [i for i, revision in writer.acknowledged.items() if found.get(i, 0) < revision]
        lost, checked = lost + len(missing), checked + len(writer.acknowledged)
        if missing:  # the control: begin again with what is there
            writer.acknowledged = found
            writer.claims.clear()
        writer.pause.clear()
    writer.stop.set()
    thread.join()
    server.stop()
    return {"fsync": fsync, "settings": asserted, "kills": kills, "seed": seed, "acknowledged": dict(writer.writes),
            "jobs_checked": checked, "jobs_that_lost_an_acknowledged_change": lost}  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.redis_kills", description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = [run(args.kills, "always", args.seed), run(max(3, args.kills // 10), "off", args.seed)]
    text = json.dumps(rows, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    kept, control = (row["jobs_that_lost_an_acknowledged_change"] for row in rows)
    return 0 if kept == 0 and control > 0 else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except EegqError as error:
        sys.exit(str(error))
