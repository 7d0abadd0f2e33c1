"""How long a claim takes with many jobs pending: `python -m benchmarks.claims`.

Seen from a worker (a round trip, with `appendfsync always`) and inside Redis (the script alone).
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

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
    for i in range(pending):
        store.submit(tiny(1, priority=i % 3), owner=f"owner-{i % owners}")
    trips = []
    client.config_resetstat()
    for _ in range(claims):
        started = time.perf_counter()
        store._run("claim", Pool.CPU, "w", "cpu", 30_000, "")
        trips.append(1000 * (time.perf_counter() - started))
    inside = client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"] / 1000
    server.stop()
    return {"pending": pending, "owners": owners, "claims": claims, "script_mean_ms": round(inside, 3),
            "round_trip_p50_ms": round(statistics.median(trips), 3),
            "round_trip_p99_ms": round(sorted(trips)[int(0.99 * len(trips))], 3)}  # fmt: skip


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
