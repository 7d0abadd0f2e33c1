"""Alerts: what was told of a job and how it went, and the secret that signs an owner's alerts."""

from fastapi import APIRouter
from pydantic import BaseModel, Field

from jobs.alert import Alert
from jobs.outbox import Delivery, DeliveryState
from jobs.spec import JobId
from service.deps import BackendDep, Reader, Submitter
from service.errors import Forbidden
from service.schemas import Listing, Moment

router = APIRouter(tags=["alerts"])


class DeliveryView(BaseModel):
    id: str = Field(description="the `webhook-id` of every try")
    type: str = Field(description="the event that is told")
    at: Moment
    alert: Alert
    state: DeliveryState
    tries: int
    note: str | None = Field(description="how the last try went")
    told_at: Moment | None


class SecretView(BaseModel):
    """HMAC-SHA256 over `webhook-id.webhook-timestamp.body`, as the Standard Webhooks specification has it."""

    secret: str


@router.get("/jobs/{job_id}/alerts", tags=["job"])
def of_job(job_id: JobId, backend: BackendDep, caller: Reader) -> Listing[DeliveryView]:
    """What was or is to be told of the job, oldest first; its owner and admins may look."""
    job = backend.store.get(job_id)
    if not caller.knows(job.owner):
        raise Forbidden(f"these are {job.owner!r}'s alerts; the key {caller.name!r} belongs to {caller.owner!r}")
    return Listing(data=[_view(delivery, job.spec.alerts) for delivery in backend.outbox.of_job(job_id)])


@router.get("/alerts/secret")
def secret(backend: BackendDep, caller: Submitter) -> SecretView:
    """What signs the alerts of the caller's jobs; receivers check the signature with it."""
    return SecretView(secret=backend.outbox.secret(caller.owner))


@router.post("/alerts/secret")
def new_secret(backend: BackendDep, caller: Submitter) -> SecretView:
    """Another one, from now on."""
    return SecretView(secret=backend.outbox.secret(caller.owner, anew=True))


def _view(delivery: Delivery, alerts: tuple[Alert, ...]) -> DeliveryView:
    return DeliveryView(
        id=delivery.news.id,
        type=delivery.news.type,
        at=delivery.news.at,
        alert=alerts[delivery.alert],
        state=delivery.state,
        tries=delivery.tries,
        note=delivery.note,
        told_at=delivery.told_at,
    )
