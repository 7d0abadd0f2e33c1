"""What a fault costs with the whole queue around it: seconds, steps, and nothing of the result.

    python -m benchmarks.faults drills                    every kind of drill against runs without; on the stand-in GPU
    python -m benchmarks.faults drills --device cuda:0    the same on a real one
    python -m benchmarks.faults storm --faults 240 --epochs 215        random faults over one run

Real processes and a real Redis. On the stand-in the CPU passes for the GPU: that measures accounting and supervision,
not drivers. On a real GPU equality is numerical: `apart` is the relative L2 distance of the weights from a clean run's.
"""

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import cat

from benchmarks.machine import facts
from jobs.device import DeviceHealth
from jobs.errors import StoreUnavailable
from jobs.job import Job, Pool
from jobs.ledger import Run
from jobs.spec import JobSpec
from tests.conftest import wait_until
from tests.stack import Stack, make_data, tiny

LIMIT_S = 900.0
DRILLS: dict[str, dict[str, Any]] = {
    "oom, once": {"kind": "oom", "step": 25},
    "oom in forward": {"kind": "oom", "step": 25, "times": 2},
    "oom in backward": {"kind": "oom", "step": 25, "where": "backward", "times": 2},
    "oom in optimizer": {"kind": "oom", "step": 25, "where": "optimizer", "times": 2},
    "nan": {"kind": "nan", "step": 25, "where": "optimizer"},
    "slow": {"kind": "slow", "step": 25},
    "sticky": {"kind": "sticky", "step": 25},
    "abort": {"kind": "abort", "step": 25},
    "segfault": {"kind": "segfault", "step": 25},
    "hang": {"kind": "hang", "step": 25},
    "bitflip": {"kind": "bitflip", "step": 1, "where": "optimizer"},
}
BATCH_FAULTS = {"oom": 2, "nan": 1}  # and how often each must happen for its batch to move
DEATHS = ["sticky", "abort", "segfault"]
GAP, JITTER = 27, 5  # steps


def every_drill(stack: Stack, device: str, epochs: int, cleans: int) -> list[dict[str, Any]]:
    clean = [run(stack, device, tiny(epochs=epochs, placement="gpu")) for _ in range(cleans)]
    usual_s = statistics.median(trained_s(stack, job) for job in clean)
    rows: list[dict[str, Any]] = [{
        "drill": "none", "trained_s": [round(trained_s(stack, job), 2) for job in clean],
        "apart": [apart(stack, job, clean[0]) for job in clean[1:]], "best": clean[0].best,
    }]  # fmt: skip
    print(json.dumps(rows[-1]), flush=True)
    for name, drill in DRILLS.items():
        job = run(stack, device, tiny(epochs=epochs, placement="gpu", drill=[drill]))
        rows.append({
            "drill": name, "recovered": job.state == "succeeded", "identical": same_weights(stack, job, clean[0]),
            "apart": apart(stack, job, clean[0]), "best": job.best, "error": job.error and job.error.message,
            "audits": audits(stack.store.events(job.id, limit=10_000)),
            "seconds_lost": round(trained_s(stack, job) - usual_s, 2), "out_of_action_s": out_of_action_s(stack, job),
            "ran_on": "-".join(a.pool for a in job.attempts), "reason": job.last_reason,
            **ledger(stack, job), "device_after": stack.fleet.device(device).health,
        })  # fmt: skip
        print(json.dumps(rows[-1]), flush=True)
    return rows


def storm(stack: Stack, device: str, faults: int, epochs: int, seed: int) -> list[dict[str, Any]]:
    """Random faults over one run, the same run without any beside it, and what the events say of every move."""
    training = {"epochs": epochs, "batch_size": 2}  # many steps an epoch: it is them that fail
    stack.start("cpu-2")
    clean_id = stack.submit(tiny(training=training, placement="cpu"))
    job = stack.until(clean_id, lambda j: (j.progress or {}).get("steps"), LIMIT_S)
    steps = job.progress["steps"] if job.progress else 0
    drills = random_drills(random.Random(seed), faults, steps)
    job_id = stack.submit(tiny(training=training, placement="gpu", drill=drills))
    began = time.monotonic()
    while time.monotonic() < began + 4 * LIMIT_S:
        with suppress(StoreUnavailable):  # a busy machine's Redis may be late
            if (job := stack.store.get(job_id)).state.final:
                break
            vouch(stack, device)
        time.sleep(0.1)
    clean = stack.wait(clean_id, LIMIT_S)
    return [{
        "seed": seed, "planned": faults, "state": job.state, "error": job.error and job.error.message, "steps": steps,
        "identical": same_weights(stack, job, clean), "clean_s": round(ran_s(clean), 1),
        "faulty_s": round(ran_s(job), 1), "attempts": len(job.attempts), **ledger(stack, job),
        **moves(stack.store.events(job_id, limit=20_000)),
    }]  # fmt: skip


def moves(events: list[dict[str, Any]]) -> dict[str, Any]:
    """What the events say of faults and of the time that every move between pools took."""
    of: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        of.setdefault(event["type"], []).append(event["data"])
    deaths = [row["fault"]["kind"] for row in of.get("requeued", []) if row["pool"] == "cpu"]
    batches = [row["kind"] for row in of.get("fault", [])]
    returned = [row for row in of.get("batch_returned", []) if row["ok"]]
    overheads, steps = [row["seconds"] - row["step_s"] for row in returned], [row["step_s"] for row in returned]
    to_cpu, to_gpu = switches(events)
    return {
        "faults_seen": len(deaths) + len(batches), "deaths": Counter(deaths), "batches": Counter(batches),
        "events_without_gap": [e["seq"] for e in events] == list(range(1, len(events) + 1)),
        "audits": audits(events),
        "handoff_overhead_s": spread(overheads), "handoff_step_s": spread(steps),
        "switch_to_cpu_s": spread(to_cpu), "switch_to_gpu_s": spread(to_gpu),
        "all": {"handoff_overhead_s": rounded(overheads), "to_cpu_s": rounded(to_cpu), "to_gpu_s": rounded(to_gpu)},
    }  # fmt: skip


def audits(events: list[dict[str, Any]]) -> Counter[str]:
    return Counter(event["data"]["finding"] for event in events if event["type"] == "audited")


def random_drills(rng: random.Random, faults: int, steps: int) -> list[dict[str, Any]]:
    """Failed batches as close together as the budget of 5 in 100 steps lets them be moved, then deaths in the steps
    that are left: on the CPU no drill fires, and a death costs the faults of a whole stay there."""
    wheres = ("forward", "backward", "optimizer")
    drills = []
    for i in range(faults):
        kind = rng.choice(list(BATCH_FAULTS))
        where = "optimizer" if kind == "nan" else rng.choice(wheres)
        drills.append(
            {"kind": kind, "step": 5 + i * GAP + rng.randrange(JITTER), "times": BATCH_FAULTS[kind], "where": where}
        )
    left = range(10 + faults * GAP, steps - 5)
    places = sorted(rng.sample(left, min(len(DEATHS), len(left))))
    return drills + [
        {"kind": kind, "step": step} for kind, step in zip(rng.sample(DEATHS, len(places)), places, strict=True)
    ]


def vouch(stack: Stack, device: str) -> None:
    """An operator who clears the device at once: the point is many faults, not its rest."""
    if not stack.fleet.device(device).health.takes_work:
        stack.fleet.change(device, lambda _: DeviceHealth(device))


def switches(events: list[dict[str, Any]]) -> tuple[list[float], list[float]]:
    """Seconds from each requeue to the next attempt's first training, to the CPU and back."""
    found: dict[str, list[float]] = {"cpu": [], "gpu": []}
    since: tuple[float, str] | None = None
    for event in events:
        if event["type"] == "requeued":
            since = (event["at"], event["data"]["pool"])
        elif since and event["data"].get("phase") == "training":
            found[since[1]].append(event["at"] - since[0])
            since = None
    return found["cpu"], found["gpu"]


def out_of_action_s(stack: Stack, job: Job) -> float | None:
    """From the fault that was noticed to the next step: of a batch its hand-off, of a job its switch."""
    events = stack.store.events(job.id, limit=10_000)
    returned = [e["data"]["seconds"] for e in events if e["type"] == "batch_returned"]
    to_cpu, _ = switches(events)
    found = returned or to_cpu
    return round(found[0], 3) if found else None


def run(stack: Stack, device: str, spec: JobSpec) -> Job:
    """On a healthy device."""
    stack.fleet.change(device, lambda _: DeviceHealth(device))
    wait_until(lambda: stack.fleet.ready(Pool.GPU), 120)
    return stack.wait(stack.submit(spec), LIMIT_S)


def ran_s(job: Job) -> float:
    return (job.finished_at or 0.0) - (job.started_at or 0.0)


def same_weights(stack: Stack, job: Job, other: Job) -> bool:
    """Bit for bit."""
    return apart(stack, job, other) == 0.0


def trained_s(stack: Stack, job: Job) -> float:
    """From its first training to its end: how long the first trainer took to load its libraries is no fault's doing."""
    events = stack.store.events(job.id, limit=10_000)
    began = next((e["at"] for e in events if e["data"].get("phase") == "training"), job.started_at or 0.0)
    return (job.finished_at or 0.0) - began


def apart(stack: Stack, job: Job, other: Job) -> float | None:
    """Relative L2 distance of all weights together; None where one of the jobs has none."""
    paths = [stack.runs / j.id / "results" / "weights.safetensors" for j in (job, other)]
    if not all(path.exists() for path in paths):
        return None
    a, b = (load_file(path) for path in paths)
    flat_a, flat_b = (cat([weights[name].double().flatten() for name in sorted(a)]) for weights in (a, b))
    return float((flat_a - flat_b).norm() / flat_b.norm())


def ledger(stack: Stack, job: Job) -> dict[str, Any]:
    rows, live = stack.ledger.runs(job.id), stack.live_steps(job.id)
    return {
        "live_rows": len(live), "twice": len(live) - len(set(live)), "in_order": live == sorted(live),
        "missing": len(set(range(max(live) + 1)) - set(live)),
        "moved": sum(length(row) for row in rows if row.reason and not row.superseded),
        "replayed": sum(length(row) for row in rows if row.superseded),
    }  # fmt: skip


def length(row: Run) -> int:
    return row.last - row.first + 1


def spread(seconds: list[float]) -> dict[str, Any]:
    if not seconds:
        return {"n": 0}
    s = sorted(seconds)
    at = {f"p{round(100 * q)}": round(s[min(len(s) - 1, int(q * len(s)))], 3) for q in (0.5, 0.95, 0.99)}
    return {"n": len(s), **at, "worst": round(s[-1], 3)}


def rounded(seconds: list[float]) -> list[float]:
    return [round(s, 3) for s in seconds]


def main() -> None:
    options = parse()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # and close what was started
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    settings = {
        "EEGQ_DEVICE": "standin" if options.device == "standin:0" else options.device,
        "EEGQ_STAY_S": "3600" if options.what == "drills" else "0",
        "EEGQ_AUDIT_EVERY_S": str(options.audit_every_s),
    }
    stack = Stack(folder, make_data(options.data or folder / "data"), lease_s=10.0, settings=settings)
    try:
        for name in ("reaper-1", "cpu-1", "gpu-1", "batch-1"):
            stack.start(name)
        wait_until(lambda: stack.fleet.ready(Pool.GPU) and stack.fleet.ready(Pool.CPU), 240)
        if options.what == "drills":
            rows = every_drill(stack, options.device, options.epochs, options.cleans)
        else:
            rows = storm(stack, options.device, options.faults, options.epochs, options.seed)
    finally:
        stack.close()
    told = {
        "command": " ".join(sys.argv[1:]),
        "at": time.strftime("%Y-%m-%d"),
        "machine": facts(),
        "load": os.getloadavg(),
    }
    text = "".join(json.dumps(row) + "\n" for row in [told, *rows])
    print(text)
    if options.out:
        options.out.write_text(text)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("what", choices=("drills", "storm"))
    parser.add_argument("--device", default="standin:0")
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--cleans", type=int, default=3, help="runs without a fault")
    parser.add_argument("--faults", type=int, default=240, help="failed batches; deaths come on top")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--audit-every-s", type=float, default=60.0)
    parser.add_argument("--data", type=Path, help="where the recordings are made, or were")
    parser.add_argument("--out", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    main()
