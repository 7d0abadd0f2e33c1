"""JobStore: the only reader and writer of job state. Each change is one Lua script, compare-and-set on state and fence.

Knows no HTTP and no trainer. Workers and devices are in jobs/fleet.py, steps in jobs/ledger.py.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import redis

from jobs import keys
from jobs.connection import Scripts, away_is_unavailable
from jobs.errors import IdempotencyConflict, QuotaExceeded, SchemaMismatch, StaleFence, UnknownJob, WrongState
from jobs.failover import STAY_S
from jobs.fault import Fault
from jobs.finite import finite
from jobs.job import Attempt, Checkpoint, Claim, Job, JobState, Order, Outcome, Pool
from jobs.spec import JobSpec, Placement

LOSS_BUDGET = 20
OUTAGE_MS = 5_000
PAGE_CHUNK = 100


class JobStore:
    def __init__(self, client: redis.Redis) -> None:
        self._redis: Any = client
        self._run = Scripts(client)

    def open(self) -> None:
        """Claim the store for this schema, or refuse one that a newer or older release wrote.

        Raises SchemaMismatch.
        """
        with away_is_unavailable():
            self._redis.set(keys.SCHEMA_KEY, keys.SCHEMA, nx=True)
            found = int(self._redis.get(keys.SCHEMA_KEY))
        if found != keys.SCHEMA:
            raise SchemaMismatch(
                f"the store has schema {found}, this release reads {keys.SCHEMA}",
                hint="finish its jobs with the release that wrote it, or point this one at another Redis",
            )

    # --- for the door ---------------------------------------------------------------------------------------------

    def submit(
        self,
        spec: JobSpec,
        *,
        owner: str = "default",
        sources: Sequence[dict[str, str]] = (),
        idempotency_key: str = "",
        parent_id: str = "",
        checkpoint: Checkpoint | None = None,
        max_active: int = 0,
    ) -> tuple[Job, bool]:
        """The job and whether it was made now; the same key and body give the same job.

        With `checkpoint` (the parent's last one) its first attempt resumes there and the ledger begins at that step.
        Raises IdempotencyConflict, QuotaExceeded.
        """
        body = spec.model_dump_json()
        resumes = json.dumps(asdict(checkpoint)) if checkpoint else ""
        digest = hashlib.sha256(f"{body} {parent_id} {resumes}".encode()).hexdigest()
        answer, what, *made = self._run(
            "submit", new_job_id(), owner, body, json.dumps(list(sources)), spec.priority, spec.placement,
            max_active, idempotency_key, digest, parent_id, int(spec.gpu_wait_s * 1000),
            resumes, occasions(spec.model_dump(mode="json", include={"alerts"})),
        )  # fmt: skip
        if answer == "conflict":
            raise IdempotencyConflict(f"this Idempotency-Key belongs to {what}, which has another body")
        if answer == "quota":
            raise QuotaExceeded(
                f"{what} active jobs; {max_active} are allowed", hint="wait for one to end or cancel one"
            )
        return (job_of(_fields(made[0]), ()), True) if made else (self.get(what), False)

    def cancel(self, job_id: str) -> Job:
        """Idempotent. Raises UnknownJob, WrongState when the job has ended otherwise."""
        self._expect(job_id, self._run("cancel", job_id), ends_well=("cancelled", "requested"))
        return self.get(job_id)

    def pause(self, job_id: str) -> Job:
        self._expect(job_id, self._run("hold", job_id, 1))
        return self.get(job_id)

    def resume(self, job_id: str) -> Job:
        self._expect(job_id, self._run("hold", job_id, 0))
        return self.get(job_id)

    def delete(self, job_id: str) -> None:
        """Raises UnknownJob, WrongState while it is queued or running."""
        self._expect(job_id, self._run("delete", job_id))

    def _expect(self, job_id: str, answer: str, ends_well: tuple[str, ...] = ("ok",)) -> None:
        if answer == "unknown":
            raise UnknownJob(f"no job {job_id}")
        if answer not in ends_well:
            state = self.get(job_id).state
            raise WrongState(f"{job_id} is {state}", hint="only jobs that have ended can be deleted; cancel it first")

    # --- for readers ----------------------------------------------------------------------------------------------

    def get(self, job_id: str) -> Job:
        """Raises UnknownJob."""
        found = self._read([job_id])
        if not found:
            raise UnknownJob(f"no job {job_id}")
        return found[0]

    def page(
        self,
        *,
        state: JobState | None = None,
        before: str | None = None,
        limit: int = 20,
        since: float = 0.0,
        match: Callable[[Job], bool] = lambda job: True,
    ) -> list[Job]:
        """Jobs created at `since` or later that match, newest first; `before` is the last job of the page in front.

        Raises UnknownJob where `before` has been deleted.
        """
        found: list[Job] = []
        size = limit
        while len(found) < limit and (chunk := self._read(self._ids(state, before, since, size))):
            found += [job for job in chunk if match(job)]
            before, size = chunk[-1].id, PAGE_CHUNK
        return found[:limit]

    def _ids(self, state: JobState | None, before: str | None, since: float, limit: int) -> list[str]:
        """Creation time alone orders the pages, so a cursor that has changed its state meanwhile still holds."""
        index = keys.in_state(state) if state else keys.ALL_JOBS
        with away_is_unavailable():
            if before is None:
                return self._redis.zrevrangebyscore(index, "+inf", since * 1000, start=0, num=limit)
            created_ms = self._redis.zscore(keys.ALL_JOBS, before)
            if created_ms is None:
                raise UnknownJob(
                    f"no job {before}", hint="the page's last job was deleted; begin again without `after`"
                )
            twins = [job_id for job_id in self._redis.zrangebyscore(index, created_ms, created_ms) if job_id < before]
            older = self._redis.zrevrangebyscore(index, f"({created_ms}", since * 1000, start=0, num=limit)
        return [*reversed(twins), *older]

    def count(self, state: JobState) -> int:
        with away_is_unavailable():
            return int(self._redis.zcard(keys.in_state(state)))

    def events(self, job_id: str, after: str = "-", limit: int = 1000) -> list[dict[str, Any]]:
        """Events with stream ids greater than `after`, oldest first."""
        start = after if after == "-" else f"({after}"
        with away_is_unavailable():
            rows = self._redis.xrange(keys.events(job_id), min=start, count=limit)
        return [event_of(entry_id, fields) for entry_id, fields in rows]

    def all_events(self, after: str, limit: int = 1000) -> list[dict[str, Any]]:
        """(job, type) of every job's events with stream ids greater than `after`, oldest first."""
        with away_is_unavailable():
            rows = self._redis.xrange(keys.ALL_EVENTS, min=f"({after}", count=limit)
        return [{"id": entry_id, **fields} for entry_id, fields in rows]

    def newest_event(self) -> str:
        """The stream id of the last event of any job."""
        with away_is_unavailable():
            rows = self._redis.xrevrange(keys.ALL_EVENTS, count=1)
        return rows[0][0] if rows else "0-0"

    def _read(self, ids: Sequence[str]) -> list[Job]:
        with away_is_unavailable():
            pipe = self._redis.pipeline(transaction=True)
            for job_id in ids:
                pipe.hgetall(keys.job(job_id))
                pipe.lrange(keys.attempts(job_id), 0, -1)
            rows = pipe.execute()
        return [job_of(fields, attempts) for fields, attempts in zip(rows[::2], rows[1::2], strict=True) if fields]

    # --- for workers ----------------------------------------------------------------------------------------------

    def claim(self, pool: Pool, *, worker: str, device: str, lease_s: float, volume: str = "") -> Claim | None:
        """The best pending job with its lease open, or None."""
        answer = self._run("claim", pool, worker, device, int(lease_s * 1000), volume)
        if not answer:
            return None
        job_id, attempt, fence = answer
        return Claim(self.get(job_id), int(attempt), int(fence))

    def beat(self, claim: Claim, lease_s: float, stay_s: float = STAY_S) -> Order | None:
        """Keeps the lease; what the attempt is told to do, if anything. Raises StaleFence."""
        answer, *order = self._run("beat", claim.job.id, claim.fence, int(lease_s * 1000), int(stay_s * 1000))
        self._fenced(claim, answer)
        return Order(order[0]) if order[0] else None

    def report(self, claim: Claim, first: int, messages: Sequence[tuple[str, dict[str, Any], dict[str, Any]]]) -> None:
        """(event type, its data, job fields) in order, numbered from `first` within the attempt. Raises StaleFence."""
        parts = [part for message in messages for part in message]
        flat = [json.dumps(finite(part)) if isinstance(part, dict) else part for part in parts]
        self._fenced(claim, self._run("report", claim.job.id, claim.fence, first, *flat))

    def publish(self, claim: Claim, checkpoint: Checkpoint) -> None:
        """From now on the job resumes at this checkpoint. Raises StaleFence."""
        self._fenced(claim, self._run("checkpoint", claim.job.id, claim.fence, json.dumps(asdict(checkpoint))))

    def audited(self, claim: Claim, checkpoint: Checkpoint) -> None:
        """Where the job goes back to if its device is found to compute wrongly. Raises StaleFence."""
        text = json.dumps(asdict(checkpoint))
        self._fenced(claim, self._run("checkpoint", claim.job.id, claim.fence, text, "audited"))

    def settle(
        self, claim: Claim, state: JobState, error: Fault | None = None, artifacts: dict[str, Any] | None = None
    ) -> None:
        """Ends the job. Raises StaleFence."""
        text = json.dumps(error.to_dict()) if error else ""
        listed = json.dumps(finite(artifacts)) if artifacts else ""
        self._fenced(claim, self._run("settle", claim.job.id, claim.fence, state, text, listed))

    def requeue(
        self, claim: Claim, pool: Placement, fault: Fault, *, crashed: bool = False, delay_s: float = 0.0
    ) -> None:
        """Gives the job back at its last checkpoint, after wrong numbers the last audited one. Raises StaleFence."""
        answer = self._run(
            "requeue", claim.job.id, claim.fence, pool, int(delay_s * 1000), int(crashed), json.dumps(fault.to_dict())
        )
        self._fenced(claim, answer)

    def unfiled(self) -> list[str]:
        """Jobs that have ended and whose run folder does not say so yet."""
        with away_is_unavailable():
            return sorted(self._redis.smembers(keys.UNFILED))

    def filed(self, job_id: str) -> None:
        """Its run folder holds all there is to know of it."""
        with away_is_unavailable():
            self._redis.srem(keys.UNFILED, job_id)

    @staticmethod
    def _fenced(claim: Claim, answer: str) -> None:
        if answer == "stale":
            raise StaleFence(f"attempt {claim.attempt} of {claim.job.id} is no longer the job's")

    # --- for the reaper -------------------------------------------------------------------------------------------

    def reap(self, lease_s: float) -> list[str]:
        """Takes back jobs whose lease ran out; their ids. After an outage extends every lease once instead."""
        jitter, lease_ms = secrets.randbelow(1000) / 1000, int(lease_s * 1000)
        what, *ids = self._run("reap", lease_ms, min(OUTAGE_MS, lease_ms), LOSS_BUDGET, jitter)
        return ids if what == "reaped" else []


def occasions(spec: dict[str, Any]) -> str:
    """What each of a spec's alerts is told of, for the scripts; empty where there is none."""
    told = [alert["on"] for alert in spec.get("alerts") or ()]
    return json.dumps(told) if told else ""


def new_job_id() -> str:
    """16 characters of base 36: not to be guessed, no vowels lost to readability."""
    return "job_" + "".join(secrets.choice("0123456789abcdefghijklmnopqrstuvwxyz") for _ in range(16))


def job_of(fields: dict[str, str], attempts: Sequence[str]) -> Job:
    """A Job from its hash and its list of attempts."""

    def parsed(name: str) -> Any:
        return json.loads(fields[name]) if name in fields else None

    error, checkpoint = parsed("error"), parsed("checkpoint")
    return Job(
        id=fields["id"],
        owner=fields["owner"],
        spec=JobSpec.model_validate_json(fields["spec"]),
        state=JobState(fields["state"]),
        pool=Placement(fields["pool"]),
        fence=int(fields["fence"]),
        revision=int(fields["revision"]),
        created_at=_seconds(fields["created_ms"]),
        queued_at=_seconds(fields["queued_ms"]),
        updated_at=_seconds(fields["updated_ms"]),
        sources=tuple(parsed("sources") or ()),
        started_at=_seconds(fields.get("started_ms")),
        finished_at=_seconds(fields.get("finished_ms")),
        phase=fields.get("phase"),
        held=fields.get("held") == "1",
        cancel_requested=fields.get("cancel_requested") == "1",
        parent_id=fields.get("parent_id"),
        progress=parsed("progress"),
        best=parsed("best"),
        checkpoint=Checkpoint(**checkpoint) if checkpoint else None,
        attempts=tuple(attempt_of(json.loads(text)) for text in attempts),
        error=Fault.from_dict(error) if error else None,
        batches_moved=int(fields.get("batches_moved", 0)),
        requeues=int(fields.get("requeues", 0)),
        crashes=int(fields.get("crashes", 0)),
        last_reason=fields.get("last_reason"),
        artifacts=parsed("artifacts") or {},
    )


def attempt_of(row: dict[str, Any]) -> Attempt:
    return Attempt(
        number=row["number"],
        pool=Pool(row["pool"]),
        worker=row["worker"],
        device=row["device"],
        fence=row["fence"],
        started_at=row["started_ms"] / 1000,
        ended_at=row["ended_ms"] / 1000 if "ended_ms" in row else None,
        outcome=Outcome(row["outcome"]) if "outcome" in row else None,
        fault=Fault.from_dict(row["fault"]) if "fault" in row else None,
        resumed_at=row.get("resumed_at"),
    )


def event_of(entry_id: str, fields: dict[str, str]) -> dict[str, Any]:
    """{id, type, seq, at (s), data} from a stream entry."""
    return {
        "id": entry_id,
        "type": fields["type"],
        "seq": int(fields["seq"]),
        "at": int(fields["at"]) / 1000,
        "data": json.loads(fields["data"]),
    }


def _fields(flat: Sequence[str]) -> dict[str, str]:
    """A hash as a script returns it."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _seconds(milliseconds: str | None) -> Any:
    return None if milliseconds is None else int(milliseconds) / 1000
