"""Submissions: one zip in the challenge's form from one or two jobs, built and tried out by a worker."""

import hashlib
from typing import Annotated, Any, Self

from fastapi import APIRouter, BackgroundTasks, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from jobs.errands import Errand, ErrandKind, ErrandState
from jobs.errors import SpecRefused, UnknownJob, WrongState
from jobs.job import JobState
from jobs.spec import JobId
from service import files, ringing
from service.body import JsonRoute
from service.deps import Backend, BackendDep, Reader, Root, Submitter
from service.errors import NotFound
from service.numbers import FiniteJson
from service.schemas import Moment

router = APIRouter(prefix="/submissions", tags=["submissions"], route_class=JsonRoute)
SubmissionId = Annotated[str, Path(pattern=r"^sub_[0-9a-f]{16}$")]
ZIP = "submission.zip"


class SubmissionRequest(BaseModel):
    """One job alone will do: the training mean stands in for the other, and the report says so."""

    model_config = ConfigDict(extra="forbid")

    challenge1: JobId | None = None
    challenge2: JobId | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> Self:
        if self.challenge1 is None and self.challenge2 is None:
            raise ValueError("name a job for challenge1, challenge2 or both")
        return self


class SubmissionView(BaseModel):
    id: str
    state: ErrandState
    challenge1: str | None
    challenge2: str | None
    created_at: Moment
    updated_at: Moment
    report: FiniteJson = Field(None, description="what was tried in a clean process, and what stands in for what")
    error: str | None = None
    urls: dict[str, str]


@router.post("", status_code=202, openapi_extra={"x-problems": [409]})
def submit(
    body: SubmissionRequest,
    backend: BackendDep,
    caller: Submitter,
    root: Root,
    response: Response,
    after_answer: BackgroundTasks,
) -> SubmissionView:
    """Builds and tries out `submission.zip`. The same jobs give the same submission."""
    about = body.model_dump()
    for challenge, job_id in about.items():
        if job_id is not None:
            _fit(backend, challenge, job_id)
    submission_id = "sub_" + hashlib.sha256(repr(sorted(about.items())).encode()).hexdigest()[:16]
    errand, tell = backend.submissions.ask(submission_id, caller.owner, about)
    if tell:
        after_answer.add_task(ringing.send, backend.bell, ErrandKind.SUBMISSION, submission_id)
    response.headers["Location"] = f"{root}/submissions/{submission_id}"
    response.headers["Retry-After"] = "1"
    return _view(errand, root)


def _fit(backend: Backend, challenge: str, job_id: str) -> None:
    """Raises SpecRefused, WrongState."""
    try:
        job = backend.store.get(job_id)
    except UnknownJob as error:
        raise SpecRefused(str(error), f"/{challenge}") from error
    if job.spec.task != challenge:
        raise SpecRefused(f"{job_id} was trained for {_task(job.spec.task)}, not {challenge}", f"/{challenge}")
    if job.state is not JobState.SUCCEEDED:
        raise WrongState(f"{job_id} is {job.state}", hint="a submission is made of jobs that succeeded")


def _task(task: Any) -> str:
    return task if isinstance(task, str) else "windows of its own"


@router.get("/{submission_id}")
def get_submission(submission_id: SubmissionId, backend: BackendDep, _: Reader, root: Root) -> SubmissionView:
    return _view(_find(backend, submission_id), root)


@router.get(
    "/{submission_id}/submission.zip",
    response_class=Response,
    responses={
        200: {"content": {"application/zip": {}}},
        206: {"description": "The range asked for"},
        304: {"description": "Unchanged"},
    },
    openapi_extra={"x-problems": [409, 416]},
)
def download(submission_id: SubmissionId, request: Request, backend: BackendDep, _: Reader) -> Any:
    """The zip, once it has been tried out."""
    errand = _find(backend, submission_id)
    if errand.state is not ErrandState.DONE:
        raise WrongState(f"{submission_id} is {errand.state}", hint=errand.error or "wait until it is done")
    found = backend.runs.artifact(submission_id, ZIP)
    if found is None:
        raise NotFound(f"the zip of {submission_id} is gone", "POST /submissions builds it again")
    return files.send(request, found.path, name=ZIP)


def _find(backend: Backend, submission_id: str) -> Errand:
    errand = backend.submissions.find(submission_id)
    if errand is None:
        raise NotFound(f"no submission {submission_id}")
    return errand


def _view(errand: Errand, root: str) -> SubmissionView:
    here = f"{root}/submissions/{errand.id}"
    return SubmissionView(
        id=errand.id,
        state=errand.state,
        challenge1=errand.about["challenge1"],
        challenge2=errand.about["challenge2"],
        created_at=errand.created_at,
        updated_at=errand.updated_at,
        report=errand.report,
        error=errand.error,
        urls={"self": here, "zip": f"{here}/{ZIP}"},
    )
