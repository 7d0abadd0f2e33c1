"""Submits: many POSTs with few Idempotency-Keys while the API is killed; then POST's speed over a long queue.

`python -m benchmarks.submits --posts 10000 --keys 100 --pending 10000`
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import httpx

from jobs.job import JobState
from tests.stack import Stack, tiny

AT_ONCE = 16


async def post(client: httpx.AsyncClient, key: str | None, tries: Counter[str]) -> str:
    """Until it is answered with 202, as a client that must not lose a job does."""
    headers = {"Idempotency-Key": key} if key else {}
    while True:
        try:
            answer = await client.post("/jobs", json=tiny(1).model_dump(mode="json"), headers=headers)
            tries[str(answer.status_code)] += 1
            if answer.status_code == 202:
                return answer.json()["id"]
        except httpx.HTTPError as error:
            tries[type(error).__name__] += 1
        await asyncio.sleep(0.05)


async def flood(stack: Stack, posts: int, keys: int, seed: int) -> dict:
    """POSTs at random over the keys, AT_ONCE at a time, the API killed after every few hundred meanwhile."""
    rng, tries, ids = random.Random(seed), Counter[str](), defaultdict[str, set[str]](set)
    todo = [f"key-{rng.randrange(keys)}" for _ in range(posts)]
    kills = 0

    async def one_after_another(client: httpx.AsyncClient) -> None:
        while todo:
            key = todo.pop()
            ids[key].add(await post(client, key, tries))

    async with api(stack) as client:
        workers = [asyncio.create_task(one_after_another(client)) for _ in range(AT_ONCE)]
        next_at = rng.randint(200, 600)
        while not all(worker.done() for worker in workers):
            await asyncio.wait(workers, timeout=0.05)
            if todo and tries["202"] >= next_at:
                stack.kill("api-1")
                stack.start("api-1")
                kills, next_at = kills + 1, tries["202"] + rng.randint(200, 600)
    doubled = sum(len(found) > 1 for found in ids.values())
    return {"posts": posts, "keys": len(ids), "api_kills": kills, "answers": dict(tries),
            "jobs": stack.store.count(JobState.QUEUED), "keys_with_several_jobs": doubled}  # fmt: skip


async def speed(stack: Stack, pending: int, posts: int) -> dict:
    """New jobs with `pending` others in the queue: one at a time, then AT_ONCE."""
    stack.client.config_set("appendfsync", "no")  # while the queue is filled
    for i in range(pending - stack.store.count(JobState.QUEUED)):
        stack.store.submit(tiny(1), owner=f"owner-{i % 10}")
    stack.client.config_set("appendfsync", "always")
    async with api(stack) as client:
        await post(client, None, Counter())
        alone = [await timed(client) for _ in range(posts)]
        started = time.perf_counter()
        together = await asyncio.gather(*(several(client, posts // AT_ONCE) for _ in range(AT_ONCE)))
        all_s = time.perf_counter() - started
    crowd = [s for times in together for s in times]
    return {"pending": pending, "posts": posts, "alone_ms": quantiles(alone), f"{AT_ONCE}_at_once_ms": quantiles(crowd),
            "posts_per_s": round(len(crowd) / all_s, 1)}  # fmt: skip


async def several(client: httpx.AsyncClient, n: int) -> list[float]:
    return [await timed(client) for _ in range(n)]


async def timed(client: httpx.AsyncClient) -> float:
    started = time.perf_counter()
    await post(client, None, Counter())
    return time.perf_counter() - started


def quantiles(times: list[float]) -> dict[str, float]:
    ordered = sorted(1000 * t for t in times)
    return {"p50": round(ordered[len(ordered) // 2], 1), "p99": round(ordered[int(0.99 * len(ordered))], 1)}


def api(stack: Stack) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{stack.api_port}", timeout=10)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.submits", description=__doc__)
    parser.add_argument("--posts", type=int, default=1000)
    parser.add_argument("--keys", type=int, default=100)
    parser.add_argument("--pending", type=int, default=1000)
    parser.add_argument("--timed", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and close what was started
    folder = Path(tempfile.mkdtemp(prefix="submits-"))
    (folder / "data" / "demo" / "sub-1" / "eeg").mkdir(parents=True)
    stack = Stack(folder / "stack", folder / "data")
    try:
        stack.start("api-1")
        result = {"flood": asyncio.run(flood(stack, args.posts, args.keys, args.seed)),
                  "speed": asyncio.run(speed(stack, args.pending, args.timed))}  # fmt: skip
    finally:
        stack.close()
    text = json.dumps({"seed": args.seed, **result}, indent=1)
    print(text)
    if args.out:
        args.out.write_text(text + "\n")
    flooded = result["flood"]
    return 0 if flooded["jobs"] == flooded["keys"] and not flooded["keys_with_several_jobs"] else 1


if __name__ == "__main__":
    sys.exit(main())
