"""Rings after the answer: a bell that is not heard must not fail a request, the reaper rings again."""

import structlog

from jobs.dispatch import Bell, pools_of
from jobs.errands import ErrandKind
from jobs.errors import StoreUnavailable
from jobs.fleet import Fleet
from jobs.spec import Placement

log = structlog.get_logger("service")


def ring(bell: Bell, fleet: Fleet, placement: Placement) -> None:
    """More rings than workers that could hear them wake nobody; a worker that is done looks for more by itself."""
    try:
        for pool in pools_of(placement):
            if fleet.rings(pool) < max(1, fleet.ready(pool)):
                bell.ring(Placement(pool.value))
    except StoreUnavailable as error:
        log.warning("bell not heard", pool=placement, reason=str(error))


def send(bell: Bell, kind: ErrandKind, errand_id: str) -> None:
    try:
        bell.errand(kind, errand_id)
    except StoreUnavailable as error:
        log.warning("bell not heard", errand=kind, id=errand_id, reason=str(error))
