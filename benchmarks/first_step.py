"""From POST /jobs to the first training step with a warm worker: `python -m benchmarks.first_step [--jobs 7]`

A whole queue as processes (Redis with appendfsync always, reaper, API, one CPU worker with its spare), a small dataset
that is prepared already. The clock is Redis': from the job's creation to the first event that reports a step done.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.machine import facts
from tests.conftest import wait_until
from tests.stack import TINY, Stack, make_data

SPEC = {**TINY, "training": {"epochs": 3, "batch_size": 8}}
BETWEEN_S = 6.0  # nobody submits the next job in the moment the last one ends; the spare is warm again by then


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=7)
    parser.add_argument("--data", type=Path, help="kept between runs")
    arguments = parser.parse_args()
    print(json.dumps({"machine": facts()}), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        stack = Stack(Path(folder), make_data(arguments.data or Path(folder) / "data"), lease_s=10)
        try:
            for name in ("reaper-1", "api-1", "cpu-1"):
                stack.start(name)
            measure(stack, arguments.jobs)
        finally:
            stack.close()


def measure(stack: Stack, jobs: int) -> None:
    url = f"http://127.0.0.1:{stack.api_port}"
    wait_until(lambda: stack.fleet.workers() and _answers(url), 120, "worker and API")
    rows = []
    for number in range(jobs + 1):
        time.sleep(BETWEEN_S)
        row = once(stack, url, number)
        print(json.dumps({"warm": number > 0, **row}), flush=True)
        rows.append(row)
    first = [row["first_step_s"] for row in rows[1:]]  # the first job of all prepares the data
    print(f"POST to first step: n={len(first)} median {statistics.median(first):.2f} s, max {max(first):.2f} s")


def once(stack: Stack, url: str, seed: int) -> dict[str, float]:
    job_id = httpx.post(f"{url}/jobs", json={**SPEC, "seed": seed}).raise_for_status().json()["id"]
    job = stack.wait(job_id, 120)
    assert job.state == "succeeded", job
    events = stack.store.events(job_id)

    def at(is_it: Any) -> float:
        return round(next(event["at"] for event in events if is_it(event)) - job.created_at, 3)

    return {
        "claimed_s": at(lambda e: e["type"] == "claimed"),
        "training_s": at(lambda e: e["type"] == "phase" and e["data"].get("phase") == "training"),
        "first_step_s": at(lambda e: e["type"] in ("progress", "metrics") and e["data"].get("step", 0) >= 1),
        "ended_s": at(lambda e: e["type"] == "succeeded"),
    }


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").is_success
    except httpx.TransportError:
        return False


if __name__ == "__main__":
    main()
