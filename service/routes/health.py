"""Alive, ready, and what Prometheus scrapes."""

import shutil
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field
from redis.exceptions import RedisError

from service.deps import Backend, BackendDep, Reader
from service.metrics import exposition

router = APIRouter(tags=["health"])
LOW_DISK_BYTES = 1024**3


class Live(BaseModel):
    alive: bool = True


class Ready(BaseModel):
    ready: bool
    problems: list[str] = Field(description="what is wrong, for a person; empty where all is well")
    redis: bool
    redis_keeps_its_data: bool | None = Field(description="append-only file on; null where it may not be asked")
    runs_bytes: int | None = Field(description="size of the runs folder; null until it was measured")
    free_bytes: int | None
    streams: int = Field(description="clients that follow events")


@router.get("/livez", openapi_extra={"x-open": True})
async def livez() -> Live:
    """The process answers; it asks nobody else."""
    return Live()


@router.get("/readyz", responses={503: {"model": Ready}}, openapi_extra={"x-open": True})
def readyz(backend: BackendDep, response: Response) -> Ready:
    """Whether jobs can be taken: 503 while Redis is away."""
    up, keeps = _redis(backend)
    free = _free_bytes(backend)
    problems = _problems(up, keeps, free)
    if not up:
        response.status_code = 503
        response.headers["Retry-After"] = "1"
    return Ready(
        ready=up,
        problems=problems,
        redis=up,
        redis_keeps_its_data=keeps,
        runs_bytes=backend.runs_size.bytes(),
        free_bytes=free,
        streams=backend.hub.streams,
    )


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request, _: Reader) -> Any:
    """Prometheus' text format."""
    return Response(exposition(request.app.state.registry), media_type="text/plain; version=0.0.4")


def _redis(backend: Backend) -> tuple[bool, bool | None]:
    """(answers, keeps its data)."""
    try:
        backend.client.ping()
    except RedisError:
        return False, None
    try:
        return True, bool(backend.client.info("persistence")["aof_enabled"])
    except RedisError:
        return True, None  # the service's user may not ask


def _free_bytes(backend: Backend) -> int | None:
    try:
        return shutil.disk_usage(backend.runs.root).free
    except OSError:
        return None


def _problems(up: bool, keeps: bool | None, free: int | None) -> list[str]:
    found = []
    if not up:
        found.append("Redis does not answer: jobs can be neither taken nor shown; workers go on with what they have")
    if keeps is False:
        found.append("Redis keeps nothing over a restart: set `appendonly yes`")
    if free is None:
        found.append("the runs folder is not there")
    elif free < LOW_DISK_BYTES:
        found.append(f"only {free // 1024**2} MB are free where the runs are kept")
    return found
