"""A browser's session: for a key it gets a cookie that scripts cannot read, as EventSource sends no header."""

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from service.auth import COOKIE, COOKIE_S
from service.body import JsonRoute
from service.deps import BackendDep
from service.errors import Unauthenticated

router = APIRouter(prefix="/session", tags=["session"], route_class=JsonRoute)


class Login(BaseModel):
    model_config = ConfigDict(extra="forbid")

    key: str = Field(min_length=1, max_length=256)


class SessionView(BaseModel):
    """`keys_needed` is false where the service runs without keys, on loopback."""

    name: str | None
    owner: str | None
    scopes: list[str]
    keys_needed: bool


@router.get("", openapi_extra={"x-open": True})
async def who(request: Request, backend: BackendDep) -> SessionView:
    """Who the service takes the caller for; nobody where there is no key."""
    caller = request.scope["caller"]
    return SessionView(
        name=caller.name if caller else None,
        owner=caller.owner if caller else None,
        scopes=sorted(caller.scopes) if caller else [],
        keys_needed=backend.keys is not None,
    )


@router.post("", status_code=204, openapi_extra={"x-open": True, "x-problems": [401]})
async def login(body: Login, request: Request, backend: BackendDep, response: Response) -> None:
    """Sets the cookie."""
    value = backend.keys.cookie_for(body.key) if backend.keys else ""
    if value is None:
        raise Unauthenticated("this key is not known")
    response.set_cookie(
        COOKIE, value, max_age=COOKIE_S, httponly=True, samesite="strict", secure=request.url.scheme == "https"
    )  # fmt: skip


@router.delete("", status_code=204, openapi_extra={"x-open": True})
async def logout(response: Response) -> None:
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
