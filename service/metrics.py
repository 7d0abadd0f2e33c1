"""What Prometheus sees. Totals come from the store at each scrape, times of requests from this process.

Never a job id as a label.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from jobs.fleet import Fleet
from jobs.job import Job, JobState
from jobs.outbox import Outbox
from jobs.store import JobStore

POOLS = ("gpu", "cpu", "auto")
RUNNING_LOOKED_AT = 200


class HttpTimes:
    """Seconds a request took, by method, route and status."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._histogram = Histogram(
            "eegq_http_request_seconds", "Time to answer a request", ["method", "route", "status"], registry=registry,
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
        )  # fmt: skip

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        self._histogram.labels(method, route, str(status)).observe(seconds)


class StoreCollector(Collector):
    def __init__(self, store: JobStore, fleet: Fleet, outbox: Outbox, lease_s: float) -> None:
        self._store, self._fleet, self._outbox, self._lease_s = store, fleet, outbox, lease_s

    def describe(self) -> list[Metric]:
        """Empty, so that registering does not ask Redis."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Raises StoreUnavailable."""
        yield from self._jobs()
        yield from self._queues()
        yield from self._steps()
        yield from self._devices()

    def _jobs(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("eegq_jobs_total", "Jobs that are kept, by status", labels=["status"])
        for state in JobState:
            jobs.add_metric([state], self._store.count(state))
        yield jobs
        requeues = CounterMetricFamily("eegq_requeues_total", "Jobs given back, by fault", labels=["reason"])
        for reason, n in self._fleet.requeue_counts().items():
            requeues.add_metric([reason], n)
        yield requeues
        alerts = CounterMetricFamily("eegq_alerts_total", "Deliveries of alerts, by how they ended", labels=["state"])
        for ending, n in self._outbox.counts().items():
            alerts.add_metric([ending], n)
        yield alerts
        lease = GaugeMetricFamily("eegq_lease_age_seconds", "Since the beat of the running job silent for longest")
        lease.add_metric([], self._fleet.oldest_beat_s(self._lease_s) or 0.0)
        yield lease

    def _queues(self) -> Iterator[Metric]:
        depth = GaugeMetricFamily("eegq_queue_depth", "Jobs that wait, by pool", labels=["pool"])
        oldest = GaugeMetricFamily("eegq_oldest_pending_seconds", "Wait of the oldest of them", labels=["pool"])
        for pool in POOLS:
            backlog = self._fleet.backlog(pool)
            depth.add_metric([pool], backlog.depth)
            oldest.add_metric([pool], backlog.oldest_s or 0.0)
        yield from (depth, oldest)

    def _steps(self) -> Iterator[Metric]:
        steps = CounterMetricFamily("eegq_steps_total", "Training steps in ledgers", labels=["device", "outcome"])
        for (device, outcome), n in self._fleet.step_counts().items():
            steps.add_metric([device, outcome], n)
        yield steps
        duration = GaugeMetricFamily("eegq_step_duration_seconds", "Mean over running jobs", labels=["device"])
        for device, seconds in _step_seconds(self._store.page(state=JobState.RUNNING, limit=RUNNING_LOOKED_AT)).items():
            duration.add_metric([device], seconds)
        yield duration

    def _devices(self) -> Iterator[Metric]:
        health = GaugeMetricFamily("eegq_device_health", "1 where the device takes work", labels=["device"])
        for device, _ in self._fleet.devices():
            health.add_metric([device.device], float(device.health.takes_work))
        yield health


def _step_seconds(jobs: list[Job]) -> dict[str, float]:
    """From what the jobs report of their speed: windows a step over windows a second."""
    found: dict[str, list[float]] = {}
    for job in jobs:
        rate = (job.progress or {}).get("windows_per_s")
        if rate and job.attempts:
            found.setdefault(job.attempts[-1].device, []).append(job.spec.training.batch_size / rate)
    return {device: sum(seconds) / len(seconds) for device, seconds in found.items()}


def exposition(registry: CollectorRegistry) -> bytes:
    return generate_latest(registry)
