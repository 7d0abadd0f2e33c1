"""What do many watchers cost a job that trains, and what do they get? `python -m benchmarks.watched_training`

A whole queue as processes on this machine. The same job in pairs: alone, and while 100 clients follow its events
and 100 polls a second ask for it; which comes first alternates. The clients' own work is done on the same cores.
"""

import argparse
import asyncio
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import httpx

from benchmarks.api_latency import STREAMS, Caller, at_a_rate, follow, show
from benchmarks.first_step import _answers
from benchmarks.machine import facts
from tests.conftest import wait_until
from tests.stack import TINY, Stack, make_data


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=400)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", default="1", help="of the trainer")
    parser.add_argument("--per-s", type=float, default=100.0)
    parser.add_argument("--data", type=Path, help="kept between runs")
    arguments = parser.parse_args()
    print(json.dumps({"machine": facts(), **{k: str(v) for k, v in vars(arguments).items()}}), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        data = make_data(arguments.data or Path(folder) / "data")
        stack = Stack(Path(folder), data, lease_s=10, settings={"EEGQ_THREADS": arguments.threads})
        try:
            for name in ("reaper-1", "api-1", "cpu-1"):
                stack.start(name)
            measure(stack, arguments)
        finally:
            stack.close()


def measure(stack: Stack, arguments: argparse.Namespace) -> None:
    url = f"http://127.0.0.1:{stack.api_port}"
    wait_until(lambda: stack.fleet.workers() and _answers(url), 120, "worker and API")
    spec = {**TINY, "training": {"epochs": arguments.epochs, "batch_size": arguments.batch_size}}
    trained(stack, url, {**spec, "training": {"epochs": 3, "batch_size": arguments.batch_size}})  # warm
    slower, polls, delays = [], [], []
    for pair in range(arguments.pairs):
        seconds = {}
        for watched in (False, True) if pair % 2 == 0 else (True, False):
            seconds[watched] = trained(stack, url, spec, (arguments.per_s, polls, delays) if watched else None)
        slower.append(seconds[True] / seconds[False])
        print(json.dumps({"pair": pair, "alone_s": seconds[False], "watched_s": seconds[True], "ratio": slower[-1]}),
              flush=True)  # fmt: skip
    show(f"GET /jobs/{{id}} at {arguments.per_s:g}/s, {STREAMS} streams, while it trains", polls)
    show(f"event to each of {STREAMS} streams", delays)
    print(f"the job's time, watched over alone: median {statistics.median(slower):.3f} of {len(slower)} pairs")


def trained(stack: Stack, url: str, spec: dict[str, Any], watchers: tuple | None = None) -> float:
    """Seconds from the first report of a step to the last."""
    job_id = httpx.post(f"{url}/jobs", json=spec).raise_for_status().json()["id"]
    stack.wait_training(job_id, 120)
    if watchers:
        asyncio.run(watch(stack, job_id, *watchers))
    assert stack.wait(job_id, 300).state == "succeeded"
    at = [event["at"] for event in stack.store.events(job_id, limit=20_000) if event["type"] == "progress"]
    return round(at[-1] - at[0], 3)


async def watch(stack: Stack, job_id: str, per_s: float, polls: list[float], delays: list[float]) -> None:
    """Until the job's end."""
    caller = Caller("127.0.0.1", stack.api_port, "none is asked for")
    followers = [asyncio.create_task(follow(caller, job_id, delays)) for _ in range(STREAMS)]
    while not (await asyncio.to_thread(stack.store.get, job_id)).state.final:
        polls += await at_a_rate(caller, ("GET", f"/jobs/{job_id}", None), per_s, 2.0)
    for follower in followers:
        follower.cancel()


if __name__ == "__main__":
    main()
