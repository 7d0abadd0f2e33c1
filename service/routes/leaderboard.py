"""The leaderboard: the best validation scores of each challenge, beside their baselines, and the best pair."""

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from jobs.job import Job, JobState
from jobs.spec import CHALLENGES
from service.deps import Backend, BackendDep, Reader
from service.numbers import FiniteJson

router = APIRouter(tags=["jobs"])
SHARES = {"challenge1": 0.3, "challenge2": 0.7}  # of the competition's overall score


class Entry(BaseModel):
    job_id: str
    owner: str
    model: str
    dataset: str
    validation: FiniteJson = Field(description="scores compare only where this and the dataset are the same")
    nrmse: float
    baselines: FiniteJson = Field(description="zero, training mean and, where labels allow, each subject's own mean")
    beats_the_mean: bool | None
    seed: int


class Pair(BaseModel):
    """0.3 x Challenge 1 + 0.7 x Challenge 2; lower is better."""

    challenge1: str
    challenge2: str
    overall: float


class Leaderboard(BaseModel):
    challenges: dict[str, list[Entry]]
    best_pair: Pair | None


@router.get("/leaderboard")
def leaderboard(
    backend: BackendDep,
    _: Reader,
    dataset: Annotated[str | None, Query(max_length=64)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Leaderboard:
    """NRMSE on the validation set; lower is better, and 1.0 is what predicting the mean gives."""
    boards = {challenge: _board(backend, challenge, dataset, limit) for challenge in CHALLENGES}
    firsts = {challenge: entries[0] for challenge, entries in boards.items() if entries}
    return Leaderboard(challenges=boards, best_pair=_pair(firsts) if len(firsts) == len(SHARES) else None)


def _board(backend: Backend, challenge: str, dataset: str | None, limit: int) -> list[Entry]:
    def scored(job: Job) -> bool:
        fits = job.spec.task == challenge and dataset in (None, job.spec.dataset.name)
        return fits and job.best is not None and job.best.get("value") is not None

    jobs = backend.store.page(state=JobState.SUCCEEDED, limit=10_000, match=scored)
    best = sorted(jobs, key=lambda job: job.best["value"])[:limit]  # type: ignore[index]
    return [_entry(backend, job) for job in best]


def _entry(backend: Backend, job: Job) -> Entry:
    scores = backend.runs.scores(job.id) or {}
    assert job.best is not None
    return Entry(
        job_id=job.id,
        owner=job.owner,
        model=job.spec.model.name,
        dataset=job.spec.dataset.name,
        validation=job.spec.validation.model_dump(mode="json"),
        nrmse=job.best["value"],
        baselines=scores.get("baselines") or {"training_mean": job.best.get("baseline")},
        beats_the_mean=scores.get("beats_the_mean"),
        seed=job.spec.seed,
    )


def _pair(firsts: dict[str, Entry]) -> Pair:
    overall = sum(SHARES[challenge] * entry.nrmse for challenge, entry in firsts.items())
    return Pair(**{challenge: entry.job_id for challenge, entry in firsts.items()}, overall=overall)
