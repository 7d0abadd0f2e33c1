"""The dashboard's files and the API's page: static, same origin, nothing from elsewhere."""

from importlib.resources import files as package_files
from pathlib import Path

from fastapi import APIRouter, FastAPI
from fastapi.responses import FileResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles

FOLDER = Path(str(package_files("service") / "web"))
router = APIRouter(include_in_schema=False)


@router.get("/")
async def home() -> FileResponse:
    return FileResponse(FOLDER / "index.html")


@router.get("/docs")
async def docs() -> FileResponse:
    return FileResponse(FOLDER / "docs.html")


@router.get("/favicon.ico")
async def favicon() -> RedirectResponse:
    return RedirectResponse("web/icon.svg")


def install(app: FastAPI) -> None:
    app.include_router(router)
    app.mount("/web", StaticFiles(directory=FOLDER), name="web")
