"""The app: settings in, an ASGI application out. Nothing here touches Redis before it is started."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from prometheus_client import CollectorRegistry

from jobs import catalogue
from jobs.connection import connect, connect_async, with_credentials
from jobs.dispatch import Bell, celery_app
from jobs.errands import ErrandKind, Errands
from jobs.errors import StoreUnavailable
from jobs.fleet import Fleet
from jobs.ledger import Ledger
from jobs.outbox import Outbox
from jobs.registry import Registry
from jobs.store import JobStore
from service import errors
from service.auth import Keys, ensure_keys_file
from service.deps import Backend
from service.envelope import Envelope
from service.gate import Gate
from service.hub import EventHub
from service.journal import log_as_json
from service.metrics import HttpTimes, StoreCollector
from service.routes import (
    alerts,
    datasets,
    events,
    health,
    job_parts,
    jobs,
    leaderboard,
    models,
    pools,
    session,
    submissions,
    web,
    weights,
)  # fmt: skip
from service.runs import FolderSize, Runs
from service.settings import Auth, Settings
from service.shelf import Shelf
from service.weights import WeightsFolder

ROUTERS = (
    jobs, job_parts, events, alerts, leaderboard, pools, datasets, models, submissions, weights, session, health,
)  # fmt: skip
DESCRIPTION = """Trains EEG models from a queue, on GPUs that may fail: what fails there goes on on the CPU.

Every address is also there under `/v1`. Errors are problem+json (RFC 9457)."""


def create_app(settings: Settings | None = None) -> FastAPI:
    settings = settings or Settings()
    backend = build_backend(settings)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(StoreCollector(backend.store, backend.fleet, backend.outbox, settings.lease_s))
    app = FastAPI(
        title="eegq", version="1", description=DESCRIPTION, docs_url=None, redoc_url=None,
        lifespan=_lifespan,
    )  # fmt: skip
    app.state.backend, app.state.registry = backend, registry
    errors.install(app)
    for module in ROUTERS:
        app.include_router(module.router)
    web.install(app)
    app.add_middleware(Gate, keys=backend.keys, requests_per_s=settings.requests_per_s)
    app.add_middleware(Envelope, times=HttpTimes(registry))
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


def build_backend(settings: Settings) -> Backend:
    """Everything that the routes work with; connections open at their first use."""
    url = with_credentials(settings.redis_url, settings.redis_username, settings.redis_password_file)
    client: Any = connect(url, settings.redis_timeout_s)
    store, registry = JobStore(client), Registry(client)
    keys = None
    if settings.auth is Auth.ON:
        ensure_keys_file(settings.keys)
        keys = Keys(settings.keys)
    return Backend(
        settings=settings,
        client=client,
        store=store,
        ledger=Ledger(client),
        fleet=Fleet(client),
        outbox=Outbox(client),
        registry=registry,
        submissions=Errands(client, ErrandKind.SUBMISSION),
        preflights=Errands(client, ErrandKind.PREFLIGHT),
        bell=Bell(celery_app(url)),
        hub=EventHub(connect_async(url), settings.max_streams),
        runs=Runs(settings.runs),
        runs_size=FolderSize(settings.runs),
        shelf=Shelf(settings.data, registry),
        weights=WeightsFolder(settings.runs),
        catalogue=catalogue.load(),
        keys=keys,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Redis may come later than the service; a store of another schema stops it."""
    log_as_json()
    backend: Backend = app.state.backend
    with suppress(StoreUnavailable):
        await asyncio.to_thread(backend.store.open)
    following = asyncio.create_task(backend.hub.run())
    yield
    following.cancel()


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )  # fmt: skip
        app.openapi_schema = errors.document(schema)
    return app.openapi_schema
