"""Ring a pool: a Celery message that carries no job, only "pool X has work". The store decides who gets what.

Knows the names of the worker's tasks, not their code.
"""

from celery import Celery
from kombu.exceptions import OperationalError

from jobs.audit import AuditTicket
from jobs.batch import BatchTicket
from jobs.errands import ErrandKind
from jobs.errors import StoreUnavailable
from jobs.job import CPU_BATCH_QUEUE, ERRAND_QUEUE, Pool
from jobs.keys import CELERY_PREFIX
from jobs.spec import Placement

RUN_JOB = "worker.tasks.run_job"
RUN_BATCH = "worker.tasks.run_batch"
RUN_AUDIT = "worker.tasks.run_audit"
EXPECT_BATCHES = "worker.tasks.expect_batches"
RUN_ERRAND = {
    ErrandKind.SUBMISSION: "worker.tasks.build_submission",
    ErrandKind.PREFLIGHT: "worker.tasks.preflight_dataset",
}

CELERY_SETTINGS = {
    "task_serializer": "json",
    "result_serializer": "json",
    "accept_content": ["json"],
    "task_ignore_result": True,
    "task_acks_late": True,
    "worker_prefetch_multiplier": 1,
    "task_reject_on_worker_lost": False,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "worker_soft_shutdown_timeout": 60,
    "worker_send_task_events": False,
    "worker_hijack_root_logger": False,
    "broker_transport_options": {
        "visibility_timeout": 3600,
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        "socket_timeout": 10,
        "socket_connect_timeout": 5,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "global_keyprefix": CELERY_PREFIX,
    },
}


def celery_app(broker_url: str) -> Celery:
    app = Celery("eegq", broker=broker_url)
    app.conf.update(CELERY_SETTINGS)
    return app


def pools_of(placement: Placement) -> tuple[Pool, ...]:
    """Whom to ring for a job that waits in `placement`."""
    return (Pool.GPU, Pool.CPU) if placement is Placement.AUTO else (Pool(placement.value),)


class Bell:
    """Rings pools. A lost or doubled ring is harmless: the reaper rings again, a claim finds nothing."""

    def __init__(self, app: Celery) -> None:
        self._app = app

    def ring(self, placement: Placement) -> None:
        for pool in pools_of(placement):
            self._send(RUN_JOB, [pool.value], pool.value)

    def ticket(self, ticket: BatchTicket) -> None:
        self._send(RUN_BATCH, [ticket.to_dict()], CPU_BATCH_QUEUE)

    def audit(self, ticket: AuditTicket) -> None:
        self._send(RUN_AUDIT, [ticket.to_dict()], CPU_BATCH_QUEUE)

    def expect(self, job_id: str) -> None:
        """Batches of this job may come: the lane makes ready for them."""
        self._send(EXPECT_BATCHES, [job_id], CPU_BATCH_QUEUE)

    def errand(self, kind: ErrandKind, errand_id: str) -> None:
        self._send(RUN_ERRAND[kind], [errand_id], ERRAND_QUEUE)

    def _send(self, task: str, args: list, queue: str) -> None:
        try:
            self._app.send_task(task, args=args, queue=queue, retry=False)
        except OperationalError as error:
            raise StoreUnavailable(f"the broker does not answer: {error}") from error
