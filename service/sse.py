"""Events as a stream (text/event-stream), resumable by Last-Event-ID. Knows the hub and the store, not the routes."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from anyio import to_thread
from fastapi.responses import StreamingResponse

from jobs.errors import StoreUnavailable, UnknownJob
from jobs.finite import finite
from jobs.job import JobState
from service.hub import EventHub, News

MEDIA_TYPE = "text/event-stream"
KEEP_ALIVE_S = 15.0
CHUNK = 200
FINAL = {state.value for state in JobState if state.final} | {"deleted"}
RETRY = b"retry: 2000\n\n"
KEEP_ALIVE = b": still here\n\n"

Read = Callable[[str, int], list[dict[str, Any]]]


class Stream(StreamingResponse):
    media_type = MEDIA_TYPE


def stream(events: AsyncIterator[bytes]) -> Stream:
    return Stream(events, headers={"X-Accel-Buffering": "no"})


async def of_job(hub: EventHub, caller: str, read: Read, job_id: str, last_id: str) -> AsyncIterator[bytes]:
    """A job's events after `last_id`; ends with the one that ends the job."""
    with hub.stream(caller, job_id) as news:
        yield RETRY
        async for event in _follow(news, read, last_id):
            yield _encode(event)
            if event["type"] in FINAL:
                return


async def of_all(hub: EventHub, caller: str, read: Read, last_id: str) -> AsyncIterator[bytes]:
    """(job, type) of every job's events after `last_id`; never ends."""
    with hub.stream(caller) as news:
        yield RETRY
        async for event in _follow(news, read, last_id):
            yield _encode(event)


async def _follow(news: News, read: Read, last_id: str) -> AsyncIterator[dict[str, Any]]:
    """Beside the store's own events: `unavailable` and `available` when Redis goes and comes, `idle` to keep alive."""
    away = False
    while True:
        news.clear()
        try:
            events = await to_thread.run_sync(read, last_id, CHUNK)
        except UnknownJob:
            yield {"type": "deleted"}
            return
        except StoreUnavailable as error:
            if not away:
                yield {"type": "unavailable", "detail": str(error)}
            away = True
            await news.arrive(1.0)
            continue
        if away:
            yield {"type": "available"}
        away = False
        for event in events:
            last_id = event["id"]
            yield event
        if not events and not await news.arrive(KEEP_ALIVE_S):
            yield {"type": "idle"}


def _encode(event: dict[str, Any]) -> bytes:
    if event["type"] == "idle":
        return KEEP_ALIVE
    head = f"id: {event['id']}\n" if "id" in event else ""
    return f"{head}event: {event['type']}\ndata: {json.dumps(finite(event))}\n\n".encode()
