"""What routes are given: the parts of the backend and who is calling."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPBearer

from jobs.catalogue import Catalogue
from jobs.dispatch import Bell
from jobs.errands import Errands
from jobs.fleet import Fleet
from jobs.ledger import Ledger
from jobs.outbox import Outbox
from jobs.registry import Registry
from jobs.store import JobStore
from service.auth import COOKIE, Caller, Keys, Scope
from service.errors import Forbidden
from service.hub import EventHub
from service.runs import FolderSize, Runs
from service.settings import Settings
from service.shelf import Shelf
from service.weights import WeightsFolder


@dataclass(frozen=True)
class Backend:
    """`client` is Redis itself, for the readiness probe only."""

    settings: Settings
    client: Any
    store: JobStore
    ledger: Ledger
    fleet: Fleet
    outbox: Outbox
    registry: Registry
    submissions: Errands
    preflights: Errands
    bell: Bell
    hub: EventHub
    runs: Runs
    runs_size: FolderSize
    shelf: Shelf
    weights: WeightsFolder
    catalogue: Catalogue
    keys: Keys | None


async def backend(request: Request) -> Backend:
    return request.app.state.backend


async def root_path(request: Request) -> str:
    """/v1 or nothing, whichever the client used: links keep it."""
    return request.scope.get("root_path", "")


bearer = HTTPBearer(auto_error=False, description="a key of the keys file")
cookie = APIKeyCookie(name=COOKIE, auto_error=False, description="what POST /session sets")


def caller_with(scope: Scope) -> Callable[..., Any]:
    """The gate let the caller in; here its scopes are looked at."""

    async def check(request: Request, _: Any = Security(bearer), __: Any = Security(cookie)) -> Caller:
        caller: Caller = request.scope["caller"]
        if not caller.has(scope):
            raise Forbidden(f"the key {caller.name!r} has no scope `{scope}`")
        return caller

    return check


BackendDep = Annotated[Backend, Depends(backend)]
Root = Annotated[str, Depends(root_path)]
Reader = Annotated[Caller, Depends(caller_with(Scope.READ))]
Submitter = Annotated[Caller, Depends(caller_with(Scope.SUBMIT))]
Admin = Annotated[Caller, Depends(caller_with(Scope.ADMIN))]


def owned(caller: Caller, owner: str) -> None:
    """Raises Forbidden where the caller may not change what belongs to `owner`."""
    if not caller.may_change(owner):
        raise Forbidden(f"this belongs to {owner!r}; the key {caller.name!r} belongs to {caller.owner!r}")
