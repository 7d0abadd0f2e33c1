"""The dashboard's files and the API's page: static, same origin, nothing from elsewhere."""

from importlib.resources import files as package_files
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(str(package_files("service") / "web"))
ASK_FIRST = "no-cache"  # kept by the browser, but compared by ETag at every use: an update shows at once
router = APIRouter(include_in_schema=False)


class Pages(StaticFiles):
    """Static files that a browser may keep."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = ASK_FIRST
        return response


pages = Pages(directory=FOLDER)


@router.get("/")
async def home(request: Request) -> Any:
    return await pages.get_response("index.html", request.scope)


@router.get("/docs")
async def docs(request: Request) -> Any:
    return await pages.get_response("docs.html", request.scope)


@router.get("/favicon.ico")
async def favicon() -> RedirectResponse:
    return RedirectResponse("web/icon.svg")


def install(app: FastAPI) -> None:
    app.include_router(router)
    app.mount("/web", pages, name="web")
