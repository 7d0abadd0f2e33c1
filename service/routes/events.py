"""News of every job at once: what keeps a list of jobs up to date."""

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header

from service import sse
from service.deps import BackendDep, Reader
from service.errors import TooManyStreams
from service.routes.job_parts import EVENT_ID

router = APIRouter(tags=["jobs"])


@router.get(
    "/events",
    response_class=sse.Stream,
    responses={200: {"content": {sse.MEDIA_TYPE: {"schema": {"type": "string"}}}}},
)
async def events(
    backend: BackendDep,
    caller: Reader,
    last_event_id: Annotated[str | None, Header(alias="Last-Event-ID", pattern=EVENT_ID)] = None,
) -> Any:
    """A stream of (job, type), from now or from `Last-Event-ID`."""
    if backend.hub.full(caller.name):
        raise TooManyStreams("too many clients follow events")
    start = last_event_id
    if start is None:
        start = await to_thread.run_sync(backend.store.newest_event)
    return sse.stream(sse.of_all(backend.hub, caller.name, backend.store.all_events, start))
