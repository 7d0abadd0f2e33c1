"""Every error the API answers with, as problem+json (RFC 9457), and the one place where HTTP codes are chosen.

ServiceError
├── Unauthenticated     no key, or one that is not known
├── Forbidden           the key's scopes or owner do not allow this
├── NotFound            no such thing beside jobs, which raise jobs.errors.UnknownJob
├── TooManyRequests     the key's rate is used up
├── DataFolderAway      the data folder cannot be listed; try again
├── BodyTooLarge        more bytes than are taken
├── BodyTooSlow         bytes that did not come in time
├── WrongContentType    a body that is not JSON
├── MalformedBody       a body that cannot be read as JSON
├── TooManyStreams      as many clients follow events as may
└── RangeNotSatisfiable the file is shorter than the range asked for
"""

import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.routing import get_route_path

from jobs import errors as jobs_errors
from jobs.datasets import UnknownDataset

MEDIA_TYPE = "application/problem+json"
log = structlog.get_logger("service")


class FieldProblem(BaseModel):
    pointer: str = Field(description="JSON pointer into the body, or the name of a parameter or header")
    detail: str


class Problem(BaseModel):
    """RFC 9457; `hint` says what to do about it."""

    type: str = Field(examples=["urn:eegq:unknown-job"])
    title: str
    status: int
    detail: str
    hint: str | None = None
    errors: list[FieldProblem] = []
    request_id: str | None = None


class ServiceError(Exception):
    status = 500

    def __init__(self, detail: str, hint: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.detail, self.hint, self.headers = detail, hint, headers


class Unauthenticated(ServiceError):
    status = 401

    def __init__(self, detail: str = "this needs an API key") -> None:
        hint = "send `Authorization: Bearer KEY`; the service says at its start in which file the keys are"
        super().__init__(detail, hint, {"WWW-Authenticate": "Bearer"})


class Forbidden(ServiceError):
    status = 403


class NotFound(ServiceError):
    status = 404


class DataFolderAway(ServiceError):
    status = 503


class BodyTooLarge(ServiceError):
    status = 413


class BodyTooSlow(ServiceError):
    """The connection is of no more use: what still comes of the body would be taken for the next request."""

    status = 408

    def __init__(self, detail: str) -> None:
        super().__init__(detail, headers={"Connection": "close"})


class WrongContentType(ServiceError):
    status = 415


class MalformedBody(ServiceError):
    status = 422


class RangeNotSatisfiable(ServiceError):
    status = 416


class TooManyStreams(ServiceError):
    status = 503


class TooManyRequests(ServiceError):
    status = 429


STATUS_OF: dict[type[Exception], int] = {
    jobs_errors.UnknownJob: 404,
    jobs_errors.UnknownModel: 422,
    jobs_errors.UnknownDataset: 422,
    UnknownDataset: 422,
    jobs_errors.SpecRefused: 422,
    jobs_errors.IdempotencyConflict: 422,
    jobs_errors.QuotaExceeded: 429,
    jobs_errors.WrongState: 409,
    jobs_errors.StoreUnavailable: 503,
    jobs_errors.SchemaMismatch: 503,
}
POINTER_OF: dict[type[Exception], str] = {
    jobs_errors.UnknownModel: "/model/name",
    UnknownDataset: "/dataset",
    jobs_errors.IdempotencyConflict: "Idempotency-Key",
}
RETRY_AFTER_S = {429: "10", 503: "1"}


def install(app: FastAPI) -> None:
    app.add_exception_handler(ServiceError, service_problem)
    for kind in STATUS_OF:
        app.add_exception_handler(kind, _domain_error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _bug)


def problem(
    request: Request,
    status: int,
    detail: str,
    *,
    kind: str | None = None,
    hint: str | None = None,
    errors: Sequence[FieldProblem] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    title = HTTPStatus(status).phrase
    body = Problem(
        type=f"urn:eegq:{kind or title.lower().replace(' ', '-')}", title=title, status=status, detail=detail,
        hint=hint, errors=list(errors), request_id=request.scope.get("request_id"),
    )  # fmt: skip
    retry = {"Retry-After": RETRY_AFTER_S[status]} if status in RETRY_AFTER_S else {}
    return Response(
        body.model_dump_json(exclude_none=True), status, {**retry, **(headers or {})}, media_type=MEDIA_TYPE
    )


def service_problem(request: Request, error: Any) -> Response:
    kind = _kebab(error)
    return problem(request, error.status, error.detail, kind=kind, hint=error.hint, headers=error.headers)


def _domain_error(request: Request, error: Any) -> Response:
    kind = next(cls for cls in type(error).__mro__ if cls in STATUS_OF)
    pointer = getattr(error, "pointer", None) or POINTER_OF.get(kind)
    errors = [FieldProblem(pointer=pointer, detail=str(error))] if pointer else []
    hint = getattr(error, "hint", None)
    return problem(request, STATUS_OF[kind], str(error), kind=_kebab(error), hint=hint, errors=errors)


def _invalid_request(request: Request, error: Any) -> Response:
    found = error.errors()
    if all(item["loc"][0] == "path" for item in found):
        return problem(request, 404, f"there is nothing at {request.url.path}")
    errors = [FieldProblem(pointer=_pointer(item["loc"]), detail=_in_short(item)) for item in found]
    detail = "; ".join(f"{e.pointer}: {e.detail}" for e in errors[:3])
    return problem(request, 422, detail, kind="invalid-request", errors=errors)


def _http_error(request: Request, error: Any) -> Response:
    """Starlette's and FastAPI's own: no such route, wrong method."""
    if error.status_code == 405:
        headers = {"Allow": ", ".join(_methods(request))}
        return problem(request, 405, f"{request.method} is not possible here", headers=headers)
    detail = f"there is nothing at {request.url.path}" if error.status_code == 404 else error.detail
    return problem(request, error.status_code, detail, headers=error.headers)


def _methods(request: Request) -> list[str]:
    """Of every operation at this address; Starlette knows those of one route only."""
    path = get_route_path(request.scope)
    return sorted(
        method.upper()
        for template, operations in request.app.openapi()["paths"].items()
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
        for method in operations
    )


def _bug(request: Request, error: Exception) -> Response:
    log.error("unexpected", exc_info=error, path=request.url.path, request_id=request.scope.get("request_id"))
    return problem(request, 500, "the service failed to answer; its log has the reason under this request_id")


def _pointer(location: Sequence[Any]) -> str:
    """/training/lr for a body's field; the plain name for parameters. Names of union members are left out."""
    where, *rest = location
    if where != "body":
        return str(rest[0]) if rest else str(where)
    return "/" + "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in rest)


def _in_short(item: Mapping[str, Any]) -> str:
    given = item.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) and len(str(given)) < 80 else ""
    return item["msg"].removeprefix("Value error, ") + shown


def _kebab(error: Exception) -> str:
    name = type(error).__name__
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")


# --- what the OpenAPI document says of errors ----------------------------------------------------------------------

ALWAYS = (401, 403, 429, 500, 503)


def document(schema: dict[str, Any]) -> dict[str, Any]:
    """Puts problem+json in place of FastAPI's default 422, for every operation that may answer with it."""
    components = schema.setdefault("components", {}).setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        components.pop(name, None)
    defs = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
    components.update(defs.pop("$defs", {}))
    components["Problem"] = defs
    for path, operations in schema["paths"].items():
        for operation in operations.values():
            for status in _statuses(path, operation):
                operation["responses"][str(status)] = {
                    "description": HTTPStatus(status).phrase,
                    "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
    return json.loads(json.dumps(schema))


def _statuses(path: str, operation: dict[str, Any]) -> set[int]:
    """`x-open` marks what needs no key; `x-problems` names further codes."""
    statuses = {500, 503} if operation.pop("x-open", False) else set(ALWAYS)
    statuses |= set(operation.pop("x-problems", ()))
    if "{" in path:
        statuses.add(404)
    if "requestBody" in operation:
        statuses |= {408, 413, 415, 422}
    if operation.get("parameters"):
        statuses.add(422)
    return statuses
