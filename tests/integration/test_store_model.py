"""The store against a plain Python model of it, on a real Redis: any order of calls, each perhaps sent twice.

By hand for longer: EEGQ_MODEL_EXAMPLES=5000 pytest -s tests/integration/test_store_model.py
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from jobs import keys
from jobs.connection import connect
from jobs.errors import IdempotencyConflict, LedgerGap, QuotaExceeded, StaleFence, WrongState
from jobs.fault import Fault, FaultKind
from jobs.job import Checkpoint, Claim, JobState, Pool
from jobs.ledger import Ledger
from jobs.spec import JobSpec, Placement
from jobs.store import LOSS_BUDGET, JobStore

EXAMPLES = int(os.environ.get("EEGQ_MODEL_EXAMPLES", "60"))
OWNERS, QUOTA = ("ann", "ben"), 6
LONG_S = 1e5
DELAYED = keys.PREFIX + "delayed"
FAULT = Fault(FaultKind.KILLED, "signal 9")


@dataclass
class ModelJob:
    """What the store should believe of one job."""

    owner: str
    priority: int
    pool: str
    created_at: float
    state: str = "queued"
    fence: int = 0
    held: bool = False
    delayed: bool = False
    cancel_requested: bool = False
    expired: bool = False
    crashes: int = 0
    losses: int = 0
    requeues: int = 0
    events: int = 1
    reported: int = 0
    checkpoint: int | None = None
    next_step: int = 0
    live_steps: list[int] = field(default_factory=list)
    outcomes: list[str] = field(default_factory=list)

    @property
    def pending(self) -> bool:
        return self.state == "queued" and not self.held and not self.delayed

    def end(self, state: str) -> None:
        self.state = state
        self.events += 1


class StoreAgainstModel(RuleBasedStateMachine):
    client: redis.Redis
    compared = 0  # times that store and model were looked at side by side: once a step

    @initialize()
    def begin(self) -> None:
        self.client.flushall()
        self.store, self.ledger = JobStore(self.client), Ledger(self.client)
        self.store.reap(LONG_S)  # the first one only says that a reaper lives
        self.jobs: dict[str, ModelJob] = {}
        self.claims: list[tuple[Claim, str]] = []
        self.keys: dict[tuple[str, str], tuple[str, str]] = {}

    # --- the door -------------------------------------------------------------------------------------------------

    @rule(owner=st.sampled_from(OWNERS), priority=st.integers(-1, 1), pool=st.sampled_from(Placement),
          key=st.sampled_from(["", "", "k1", "k2"]))  # fmt: skip
    def submit(self, owner: str, priority: int, pool: Placement, key: str) -> None:
        spec = JobSpec(priority=priority, placement=pool, gpu_wait_s=0)
        active = sum(j.owner == owner and j.state in ("queued", "running") for j in self.jobs.values())
        known = self.keys.get((owner, key)) if key else None
        if known and known[0] in self.jobs:
            if known[1] != spec.model_dump_json():
                with pytest.raises(IdempotencyConflict):
                    self.store.submit(spec, owner=owner, idempotency_key=key, max_active=QUOTA)
            else:
                job, made = self.store.submit(spec, owner=owner, idempotency_key=key, max_active=QUOTA)
                assert (job.id, made) == (known[0], False)
        elif active >= QUOTA:
            with pytest.raises(QuotaExceeded):
                self.store.submit(spec, owner=owner, idempotency_key=key, max_active=QUOTA)
        else:
            job, made = self.store.submit(spec, owner=owner, idempotency_key=key, max_active=QUOTA)
            assert made
            self.jobs[job.id] = ModelJob(owner, priority, pool.value, job.created_at)
            if key:
                self.keys[owner, key] = (job.id, spec.model_dump_json())

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), twice=st.booleans())
    def cancel(self, data: st.DataObject, twice: bool) -> None:
        job_id, job = self._any_job(data)
        if job.state in ("succeeded", "failed"):
            with pytest.raises(WrongState):
                self.store.cancel(job_id)
            return
        self._send(lambda: self.store.cancel(job_id), twice)
        if job.state == "queued":
            job.delayed = False
            job.end("cancelled")
        elif job.state == "running" and not job.cancel_requested:
            job.cancel_requested = True
            job.events += 1

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), held=st.booleans(), twice=st.booleans())
    def hold(self, data: st.DataObject, held: bool, twice: bool) -> None:
        job_id, job = self._any_job(data)
        call = self.store.pause if held else self.store.resume
        if job.state not in ("queued", "running"):
            with pytest.raises(WrongState):
                call(job_id)
            return
        self._send(lambda: call(job_id), twice)
        if job.held != held:
            job.held, job.events = held, job.events + 1
            if job.state == "queued":
                job.delayed = False

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        job_id, job = self._any_job(data)
        if job.state in ("queued", "running"):
            with pytest.raises(WrongState):
                self.store.delete(job_id)
        else:
            self.store.delete(job_id)
            del self.jobs[job_id]

    # --- workers --------------------------------------------------------------------------------------------------

    @rule(pool=st.sampled_from(Pool))
    def claim(self, pool: Pool) -> None:
        claim = self.store.claim(pool, worker="w", device=f"d-{pool}", lease_s=LONG_S)
        allowed = self._best(pool)
        assert (claim.job.id if claim else None) in (allowed or {None})
        if claim is None:
            return
        job = self.jobs[claim.job.id]
        job.state, job.expired, job.reported = "running", False, 0
        job.fence, job.events = job.fence + 1, job.events + 1
        job.outcomes.append("")
        self.claims.append((claim, claim.job.id))
        assert (claim.fence, claim.attempt) == (job.fence, len(job.outcomes))

    def _best(self, pool: Pool) -> set[str]:
        """Whom a claim may take: twins of one millisecond are equally good."""
        for sources in [{"gpu", "auto"}] if pool is Pool.GPU else [{"cpu"}, {"auto"}]:
            found = {i: j for i, j in self.jobs.items() if j.pending and j.pool in sources}
            if not found:
                continue
            running = {o: sum(j.owner == o and j.state == "running" for j in self.jobs.values()) for o in OWNERS}
            least = min(running[j.owner] for j in found.values())
            best = set()
            for owner in OWNERS:
                own = {i: j for i, j in found.items() if j.owner == owner and running[owner] == least}
                first = min(((-j.priority, j.created_at) for j in own.values()), default=None)
                best |= {i for i, j in own.items() if (-j.priority, j.created_at) == first}
            return best
        return set()

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), lapses=st.booleans())
    def beat(self, data: st.DataObject, lapses: bool) -> None:
        claim, job = self._any_claim(data)
        if self._write(lambda: self.store.beat(claim, 0 if lapses else LONG_S), claim, job, False):
            assert job
            job.expired = lapses

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), n=st.integers(1, 3), again=st.integers(0, 3), twice=st.booleans())
    def report(self, data: st.DataObject, n: int, again: int, twice: bool) -> None:
        claim, job = self._any_claim(data)
        first = max(1, (job.reported if job else 0) + 1 - again)
        messages = [("x", {"i": i}, {"phase": "training"}) for i in range(again + n)][: n + again]
        if self._write(lambda: self.store.report(claim, first, messages), claim, job, twice):
            assert job
            last = max(job.reported, first + len(messages) - 1)
            job.events += last - job.reported
            job.reported = last

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), n=st.integers(1, 4), skip=st.integers(0, 1), device=st.sampled_from(["a", "b"]),
          twice=st.booleans())  # fmt: skip
    def commit(self, data: st.DataObject, n: int, skip: int, device: str, twice: bool) -> None:
        claim, job = self._any_claim(data)
        first = (job.next_step if job else 0) + skip
        if skip and self._live(claim, job):
            with pytest.raises(LedgerGap):
                self.ledger.commit(claim, first, first + n - 1, device)
        elif self._write(lambda: self.ledger.commit(claim, first, first + n - 1, device), claim, job, twice):
            assert job
            job.live_steps += range(first, first + n)
            job.next_step = first + n

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), twice=st.booleans())
    def publish(self, data: st.DataObject, twice: bool) -> None:
        claim, job = self._any_claim(data)
        step = job.next_step if job else 0
        if self._write(lambda: self.store.publish(claim, Checkpoint(step, "p", "")), claim, job, twice):
            assert job
            if job.checkpoint is None or job.checkpoint < step:
                job.crashes = job.losses = 0
                job.checkpoint = step

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), back=st.integers(0, 6), twice=st.booleans())
    def resume_ledger(self, data: st.DataObject, back: int, twice: bool) -> None:
        claim, job = self._any_claim(data)
        step = max(0, (job.next_step if job else 0) - back)
        if self._write(lambda: self.ledger.resume(claim, step), claim, job, twice):
            assert job
            job.live_steps = [k for k in job.live_steps if k < step]
            job.next_step = step
            if job.checkpoint is not None and job.checkpoint > step:
                job.checkpoint = None

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), state=st.sampled_from([JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED]),
          twice=st.booleans())  # fmt: skip
    def settle(self, data: st.DataObject, state: JobState, twice: bool) -> None:
        claim, job = self._any_claim(data)
        if job and job.fence == claim.fence and job.state == state:
            self.store.settle(claim, state)  # the reply was lost
        elif self._write(lambda: self.store.settle(claim, state), claim, job, twice):
            assert job
            job.outcomes[-1] = state.value
            job.end(state.value)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), pool=st.sampled_from(Placement), crashed=st.booleans(), later=st.booleans(),
          twice=st.booleans())  # fmt: skip
    def requeue(self, data: st.DataObject, pool: Placement, crashed: bool, later: bool, twice: bool) -> None:
        claim, job = self._any_claim(data)
        if job and job.state == "queued" and job.outcomes[-1] == "requeued" and job.fence == claim.fence:
            return
        delay_s = LONG_S if later else 0.0
        live = self._live(claim, job)
        if not live and job and self.client.hget(keys.job(claim.job.id), "requeued_fence") == str(claim.fence):
            self.store.requeue(claim, pool, FAULT)  # the reply was lost: said again, nothing happens
            return
        if self._write(
            lambda: self.store.requeue(claim, pool, FAULT, crashed=crashed, delay_s=delay_s), claim, job, twice
        ):
            assert job
            job.outcomes[-1] = "requeued"
            if job.cancel_requested:
                job.end("cancelled")
                return
            job.crashes += crashed
            self._back(job, delayed=later)
            job.pool = pool.value

    @rule()
    def reap(self) -> None:
        taken = self.store.reap(LONG_S)
        expired = {i for i, j in self.jobs.items() if j.state == "running" and j.expired}
        assert set(taken) == expired
        for job in (self.jobs[i] for i in taken):
            job.losses, job.fence = job.losses + 1, job.fence + 1
            if job.cancel_requested:
                job.outcomes[-1] = "cancelled"
                job.end("cancelled")
            elif job.losses >= LOSS_BUDGET:
                job.outcomes[-1] = "lost"
                job.end("failed")
            else:
                job.outcomes[-1] = "lost"
                self._back(job, delayed=job.losses > 1)
        for job_id in self.client.zrange(DELAYED, 0, -1):
            self.client.zadd(DELAYED, {job_id: 1e15})  # the model has no clock: no backoff ends

    def _back(self, job: ModelJob, delayed: bool) -> None:
        job.requeues, job.events, job.state = job.requeues + 1, job.events + 1, "queued"
        job.delayed = delayed and not job.held

    # --- what has to hold after every step ------------------------------------------------------------------------

    @invariant()
    def every_job_is_as_the_model_says(self) -> None:
        type(self).compared += 1
        for job_id, model in getattr(self, "jobs", {}).items():
            job, events = self.store.get(job_id), self.store.events(job_id)
            assert [e["seq"] for e in events] == list(range(1, model.events + 1)), job_id
            assert (job.state, job.fence, job.held, job.cancel_requested) == (
                model.state, model.fence, model.held, model.cancel_requested,
            )  # fmt: skip
            assert (job.crashes, job.requeues, job.revision, job.pool) == (
                model.crashes, model.requeues, model.events, model.pool,
            )  # fmt: skip
            assert [a.outcome or "" for a in job.attempts] == model.outcomes
            assert (job.checkpoint.step if job.checkpoint else None) == model.checkpoint
            rows = [r for r in self.ledger.runs(job_id) if not r.superseded]
            assert [k for r in rows for k in range(r.first, r.last + 1)] == model.live_steps

    @invariant()
    def the_indices_hold_just_these_jobs(self) -> None:
        jobs = getattr(self, "jobs", {})
        for state in JobState:
            assert set(self.client.zrange(keys.in_state(state), 0, -1)) == {
                i for i, j in jobs.items() if j.state == state
            }
        assert set(self.client.zrange(keys.LEASES, 0, -1)) == {i for i, j in jobs.items() if j.state == "running"}
        delayed = set(self.client.zrange(DELAYED, 0, -1))
        assert delayed == {i for i, j in jobs.items() if j.state == "queued" and j.delayed}
        assert set(self.store.unfiled()) == {i for i, j in jobs.items() if JobState(j.state).final}
        for owner in OWNERS:
            for pool in ("gpu", "cpu", "auto"):
                there = {i for i, j in jobs.items() if j.pending and (j.pool, j.owner) == (pool, owner)}
                assert set(self.client.zrange(keys.pending(pool, owner), 0, -1)) == there
                assert bool(there) == (owner in self.client.zrange(keys.owners(pool), 0, -1))

    # --- helpers --------------------------------------------------------------------------------------------------

    def _any_job(self, data: st.DataObject) -> tuple[str, ModelJob]:
        job_id = data.draw(st.sampled_from(sorted(self.jobs, key=list(self.jobs).index)))
        return job_id, self.jobs[job_id]

    def _any_claim(self, data: st.DataObject) -> tuple[Claim, ModelJob | None]:
        """Old ones too: those are the zombies'."""
        claim, job_id = data.draw(st.sampled_from(self.claims[-8:]))
        return claim, self.jobs.get(job_id)

    @staticmethod
    def _live(claim: Claim, job: ModelJob | None) -> bool:
        return job is not None and job.state == "running" and job.fence == claim.fence

    def _write(self, call: Callable[[], Any], claim: Claim, job: ModelJob | None, twice: bool) -> bool:
        """A zombie is refused; whether it was let through."""
        if not self._live(claim, job):
            with pytest.raises(StaleFence):
                call()
            return False
        self._send(call, twice)
        return True

    @staticmethod
    def _send(call: Callable[[], Any], twice: bool) -> None:
        """`twice` is what a client does whose reply was lost."""
        for _ in range(1 + twice):
            call()


def test_no_order_of_calls_makes_store_and_model_differ(redis_url: str) -> None:
    StoreAgainstModel.client = connect(redis_url, timeout_s=60)  # a full machine is no divergence
    run_state_machine_as_test(
        StoreAgainstModel,
        settings=settings(max_examples=EXAMPLES, stateful_step_count=40, deadline=None, derandomize=EXAMPLES <= 60,
                          suppress_health_check=list(HealthCheck)),
    )  # fmt: skip
    StoreAgainstModel.client.close()
    print(f"{StoreAgainstModel.compared} steps compared")
