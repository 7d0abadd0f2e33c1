"""Rings after the answer: a bell that is not heard must not fail a request, the reaper rings again."""

import structlog

from jobs.dispatch import Bell
from jobs.errands import ErrandKind
from jobs.errors import StoreUnavailable
from jobs.spec import Placement

log = structlog.get_logger("service")


def ring(bell: Bell, placement: Placement) -> None:
    try:
        bell.ring(placement)
    except StoreUnavailable as error:
        log.warning("bell not heard", pool=placement, reason=str(error))


def send(bell: Bell, kind: ErrandKind, errand_id: str) -> None:
    try:
        bell.errand(kind, errand_id)
    except StoreUnavailable as error:
        log.warning("bell not heard", errand=kind, id=errand_id, reason=str(error))
