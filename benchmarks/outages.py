"""Redis away for 1, 10 and 60 s while a job trains: `python -m benchmarks.outages`. Nothing may restart or be lost."""

import argparse
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.slow import slow, slow_stack
from tests.stack import Stack, make_data


def outage(stack: Stack, away_s: float) -> dict:
    job_id = stack.submit(slow(away_s + 15))
    stack.until(job_id, lambda job: job.checkpoint is not None, 900)
    stack.redis.kill()
    time.sleep(away_s)
    stack.redis.start()
    job = stack.wait(job_id, 900)
    events = stack.store.events(job_id, limit=10_000)
    epochs = [e["data"]["epoch"] for e in events if e["type"] == "metrics"]
    return {
        "away_s": away_s, "state": job.state, "attempts": len(job.attempts), "events": len(events),
        "numbers_without_gaps": [e["seq"] for e in events] == list(range(1, job.revision + 1)),
        "every_step_once": stack.live_steps(job_id) == list(range(job.progress["steps"])),
        "every_epoch_in_order": epochs == list(range(1, len(epochs) + 1)) and len(epochs) == job.progress["epochs"],
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outages", description=__doc__)
    parser.add_argument("--away", type=float, nargs="+", default=[1, 10, 60])
    parser.add_argument("--lease", type=float, default=30.0)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and close what was started
    folder = Path(tempfile.mkdtemp(prefix="outages-"))
    stack = slow_stack(folder, make_data(args.data or folder / "data"), args.lease)
    try:
        for name in ("reaper-1", "cpu-1"):
            stack.start(name)
        rows = [outage(stack, away_s) for away_s in args.away]
    finally:
        stack.close()
    text = json.dumps({"lease_s": args.lease, "rows": rows}, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    sound = all(
        r["attempts"] == 1 and r["numbers_without_gaps"] and r["every_step_once"] and r["every_epoch_in_order"]
        for r in rows
    )
    return 0 if sound else 1


if __name__ == "__main__":
    sys.exit(main())
