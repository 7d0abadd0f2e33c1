"""Weights that people bring: safetensors files by name, for a job's `init`."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, ConfigDict

from jobs.spec import Name
from service.deps import BackendDep, Reader, Submitter
from service.errors import NotFound
from service.schemas import Listing, Moment

router = APIRouter(prefix="/weights", tags=["weights"])
WeightsName = Annotated[Name, Path()]


class WeightsView(BaseModel):
    """`tensors` is name -> [dtype, shape]."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    size: int
    uploaded_at: Moment
    tensors: dict[str, list[Any]]


@router.get("")
def list_weights(backend: BackendDep, _: Reader) -> Listing[WeightsView]:
    return Listing(data=[WeightsView.model_validate(weights) for weights in backend.weights.all()])


@router.put(
    "/{name}",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload(name: WeightsName, request: Request, backend: BackendDep, _: Submitter) -> WeightsView:
    """A safetensors file as the body: `curl -T weights.safetensors .../weights/NAME`."""
    return WeightsView.model_validate(await backend.weights.keep(name, request.stream()))


@router.get("/{name}")
def get_weights(name: WeightsName, backend: BackendDep, _: Reader) -> WeightsView:
    found = backend.weights.find(name)
    if found is None:
        raise NotFound(f"no weights named {name!r}")
    return WeightsView.model_validate(found)


@router.delete("/{name}", status_code=204)
def delete(name: WeightsName, backend: BackendDep, _: Submitter) -> None:
    if not backend.weights.delete(name):
        raise NotFound(f"no weights named {name!r}")
