"""Datasets: what lies below the data folder, names for it, and whether its recordings are fit for use."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, BackgroundTasks, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from jobs.datasets import Dataset
from jobs.errands import Errand, ErrandKind, ErrandState
from jobs.spec import Dataset as DatasetSpec
from jobs.spec import JobSpec, Name, WindowSpec
from service import files, ringing
from service.body import JsonRoute
from service.deps import Admin, BackendDep, Reader, Root, Submitter
from service.errors import NotFound
from service.numbers import FiniteJson
from service.schemas import Listing, Moment

router = APIRouter(prefix="/datasets", tags=["datasets"], route_class=JsonRoute)


class SourceView(BaseModel):
    release: str
    path: str = Field(description="below the data folder")


class DatasetView(BaseModel):
    name: str
    releases: list[str]
    sources: list[SourceView]
    registered: bool = Field(description="named by a person; else found in the data folder")


class Registration(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name
    source: Name | Annotated[list[Name], Field(min_length=1, max_length=64)] = Field(
        description="one or several names of GET /datasets"
    )


class PreflightView(BaseModel):
    dataset: str
    state: ErrandState
    about: FiniteJson = Field(description="what was asked: the windows and the subjects")
    created_at: Moment
    updated_at: Moment
    report: FiniteJson = None
    error: str | None = None


class PreflightRequest(BaseModel):
    """For which windows; Challenge 1's where nothing is said."""

    model_config = ConfigDict(extra="forbid")

    task: Literal["challenge1", "challenge2"] | WindowSpec = "challenge1"


@router.get("")
def list_datasets(backend: BackendDep, _: Reader) -> Listing[DatasetView]:
    """Names that a job's `dataset` may take."""
    registered = {dataset.name for dataset in backend.registry.datasets()}
    return Listing(data=[_view(dataset, dataset.name in registered) for dataset in backend.shelf.datasets()])


@router.post("", status_code=201)
def register(body: Registration, backend: BackendDep, _: Admin, root: Root, response: Response) -> DatasetView:
    """Gives a name to one or several datasets of the data folder; again, it replaces what the name stood for."""
    sources = [body.source] if isinstance(body.source, str) else body.source
    dataset = backend.shelf.register(body.name, sources)
    response.headers["Location"] = f"{root}/datasets/{dataset.name}"
    return _view(dataset, True)


@router.get("/{name}")
def get_dataset(name: Name, backend: BackendDep, _: Reader) -> DatasetView:
    for dataset in backend.shelf.datasets(anew=True):
        if dataset.name == name:
            return _view(dataset, name in {d.name for d in backend.registry.datasets()})
    raise NotFound(f"no dataset {name!r}", "GET /datasets lists them")


@router.delete("/{name}", status_code=204)
def forget(name: Name, backend: BackendDep, _: Admin) -> None:
    """Takes a registered name back; the recordings stay where they are."""
    if not backend.registry.forget(name):
        raise NotFound(f"no dataset was registered as {name!r}")


@router.post("/{name}/preflight", status_code=202)
def ask_preflight(
    name: Name,
    backend: BackendDep,
    caller: Submitter,
    root: Root,
    response: Response,
    after_answer: BackgroundTasks,
    body: PreflightRequest | None = None,
) -> PreflightView:
    """Has a worker look through the recordings; GET the same address for its report."""
    spec = JobSpec(task=(body or PreflightRequest()).task, dataset=DatasetSpec(name=name))
    sources = [vars(source) for source in backend.shelf.select(spec.dataset)]
    about = {"spec": spec.model_dump(mode="json"), "sources": sources}
    errand, tell = backend.preflights.ask(name, caller.owner, about, anew=True)
    if tell:
        after_answer.add_task(ringing.send, backend.bell, ErrandKind.PREFLIGHT, name)
    response.headers["Location"] = f"{root}/datasets/{name}/preflight"
    return _preflight(errand)


@router.get("/{name}/preflight")
def get_preflight(name: Name, backend: BackendDep, _: Reader) -> PreflightView:
    """The last preflight: its state, and the report once it is done."""
    errand = backend.preflights.find(name)
    if errand is None:
        raise NotFound(f"{name!r} has had no preflight", "POST to the same address asks for one")
    return _preflight(errand)


@router.get(
    "/{name}/preflight.html",
    response_class=Response,
    responses={
        200: {"content": {"text/html": {}}},
        206: {"description": "The range asked for"},
        304: {"description": "Unchanged"},
    },
    openapi_extra={"x-problems": [416]},
)
def get_preflight_page(name: Name, request: Request, backend: BackendDep, _: Reader) -> Any:
    """The last preflight's report as a page with pictures."""
    found = backend.runs.artifact(f"preflights/{name}", "preflight.html")
    if found is None:
        raise NotFound(f"{name!r} has had no preflight", f"POST {name}/preflight asks for one")
    return files.send(request, found.path)


def _view(dataset: Dataset, registered: bool) -> DatasetView:
    releases = list(dict.fromkeys(source.release for source in dataset.sources))
    sources = [SourceView(**vars(source)) for source in dataset.sources]
    return DatasetView(name=dataset.name, releases=releases, sources=sources, registered=registered)


def _preflight(errand: Errand) -> PreflightView:
    return PreflightView(dataset=errand.id, **{k: v for k, v in vars(errand).items() if k not in ("id", "owner")})
