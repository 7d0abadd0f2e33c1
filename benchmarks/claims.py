"""How long a claim takes with many jobs pending: `python -m benchmarks.claims`.

Seen from a worker (a round trip, with `appendfsync always`), inside Redis (the script alone), and beside a bare SET:
what a round trip to the disk costs here and now.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jobs.connection import connect
from jobs.job import Pool
from jobs.store import JobStore
from tests.redis_server import RedisServer
from tests.stack import tiny


def measure(pending: int, owners: int, claims: int) -> dict:
    server = RedisServer(Path(tempfile.mkdtemp(prefix="claims-"))).start()
    client = connect(server.url)
    store = JobStore(client)
    store.open()
    client.config_set("appendfsync", "no")  # while the queue is filled
    for i in range(pending):
        store.submit(tiny(1, priority=i % 3), owner=f"owner-{i % owners}")
    client.config_set("appendfsync", "always")
    client.config_resetstat()
    pairs = [
        (timed(lambda: store._run("claim", Pool.CPU, "w", "cpu", 30_000, "")), timed(lambda: client.set("bare", 1)))
        for _ in range(claims)
    ]
    trips, bare = zip(*pairs, strict=True)
    inside = client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"] / 1000
    server.stop()
    return {"pending": pending, "owners": owners, "claims": claims, "script_mean_ms": round(inside, 3),
            "round_trip_p50_ms": round(statistics.median(trips), 3),
            "round_trip_p99_ms": round(sorted(trips)[int(0.99 * len(trips))], 3),
            "bare_set_p50_ms": round(statistics.median(bare), 3),
            "claim_over_set_p50_ms": round(statistics.median(c - s for c, s in pairs), 3)}  # fmt: skip


def timed(call: Callable[[], Any]) -> float:
    started = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.claims", description=__doc__)
    parser.add_argument("--pending", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--owners", type=int, nargs="+", default=[1, 10])
    parser.add_argument("--claims", type=int, default=90)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    rows = [measure(pending, owners, args.claims) for owners in args.owners for pending in args.pending]
    text = json.dumps(rows, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
