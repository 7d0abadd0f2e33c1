"""The models a job may ask for."""

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from jobs.errors import UnknownModel
from service.deps import BackendDep, Reader
from service.errors import NotFound
from service.numbers import FiniteJson
from service.schemas import Listing

router = APIRouter(prefix="/models", tags=["models"])


class ParameterView(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    name: str
    type: str
    default: FiniteJson


class ModelView(BaseModel):
    """Shapes and cost hold for the default parameters, one output, 129 channels and 100 Hz."""

    model_config = ConfigDict(from_attributes=True, protected_namespaces=())

    name: str
    works: bool = Field(description="runs as it is; else `reason` says why not")
    reason: str | None
    params: list[ParameterView]
    n_params: int | None
    n_times_min: int = Field(description="samples a window must have")
    n_chans_min: int
    n_chans_max: int | None
    needs_chs_info: bool = Field(description="needs the channels' positions")
    batch_failover: bool = Field(description="a single batch can move to another device; else only the whole job")
    step_ms: float | None = Field(description="32 windows of 200 samples, forward and backward, two CPU threads")


@router.get("")
def models(backend: BackendDep, _: Reader, works: bool | None = None) -> Listing[ModelView]:
    """braindecode's models by name, those that do not run here too, with the reason."""
    found = backend.catalogue.models.values()
    shown = [model for model in found if works is None or model.works == works]
    return Listing(data=[ModelView.model_validate(model) for model in shown])


@router.get("/{name}")
def model(name: str, backend: BackendDep, _: Reader) -> ModelView:
    try:
        return ModelView.model_validate(backend.catalogue.find(name))
    except UnknownModel as error:
        raise NotFound(str(error), error.hint) from error
