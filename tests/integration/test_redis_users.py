"""The Redis users of the compose set, on a real Redis: each role can do its work and nothing else."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from deploy.redis_users import ROLES, make_secrets
from jobs.alert import Alert
from jobs.connection import connect
from jobs.dispatch import Bell, celery_app
from jobs.fault import Fault, FaultKind
from jobs.fleet import Fleet
from jobs.job import JobState, Pool
from jobs.outbox import Outbox
from jobs.spec import JobSpec, Placement
from jobs.store import JobStore
from tests.conftest import wait_until
from tests.redis_server import free_port, redis_binary

CONFIGURATION = Path(__file__).parents[2] / "deploy/redis.conf"

WORKER = """
from jobs.dispatch import RUN_JOB, celery_app

app = celery_app({url!r})


@app.task(name=RUN_JOB)
def run_job(pool):
    with open({heard!r}, "a") as file:
        file.write(pool)


app.worker_main({arguments!r})
"""


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    make_secrets(folder)
    return folder


class Server:
    """The server of the compose set: its configuration and its users, and one more who may do everything."""

    def __init__(self, folder: Path, users: str) -> None:
        self.port = free_port()
        acl = folder / "users.acl"
        acl.write_text(users + "user operator on nopass allkeys allchannels +@all\n")
        self._command = [
            redis_binary(), str(CONFIGURATION), "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder),
            "--aclfile", str(acl), "--loglevel", "warning",
        ]  # fmt: skip
        self.operator = redis.Redis(port=self.port, username="operator", password="any", decode_responses=True)
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        wait_until(self._answers, what="redis answers")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return self.operator.ping()
        except redis.exceptions.ConnectionError:
            return False


@pytest.fixture(scope="module")
def server(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("redis"), (secrets / "users.acl").read_text())
    yield server
    server.kill()


@pytest.fixture(scope="module")
def urls(secrets: Path, server: Server) -> dict[str, str]:
    """Role -> the address it uses."""
    at = f"127.0.0.1:{server.port}/0"
    return {
        "nobody": f"redis://{at}",
        "health": f"redis://health:any@{at}",
        **{role: f"redis://{role}:{(secrets / f'redis-{role}').read_text()}@{at}" for role in ROLES},
    }


def test_api_worker_and_reaper_do_a_job_together(urls: dict[str, str], spec: JobSpec) -> None:
    api, worker, reaper = (JobStore(connect(urls[role])) for role in ("api", "worker", "reaper"))
    api.open()
    job, _ = api.submit(spec)
    claim = worker.claim(Pool.CPU, worker="w1", device="cpu", lease_s=30)
    assert claim is not None
    worker.beat(claim, 30)
    worker.report(claim, 1, [("phase", {"phase": "training"}, {"phase": "training"})])
    reaper.reap(30)
    worker.requeue(claim, Placement.CPU, Fault(FaultKind.HANG, "made up"))
    again = worker.claim(Pool.CPU, worker="w2", device="cpu", lease_s=30)
    assert again is not None
    worker.settle(again, JobState.SUCCEEDED)
    assert api.get(job.id).state is JobState.SUCCEEDED
    assert [event["type"] for event in api.events(job.id)][-1] == "succeeded"


def test_the_reaper_sends_what_the_workers_put_into_the_outbox(urls: dict[str, str], spec: JobSpec) -> None:
    told = spec.model_copy(update={"alerts": (Alert(url="https://a.org/x"),)})
    api, worker = (JobStore(connect(urls[role])) for role in ("api", "worker"))
    job, _ = api.submit(told)
    claim = worker.claim(Pool.CPU, worker="w1", device="cpu", lease_s=30)
    assert claim is not None
    worker.settle(claim, JobState.SUCCEEDED)
    outbox = Outbox(connect(urls["reaper"]))
    [delivery] = outbox.take(60, 10)
    assert outbox.secret(job.owner) == Outbox(connect(urls["api"])).secret(job.owner)
    outbox.sent(delivery, "HTTP 200")
    assert outbox.take(60, 10) == []


def test_a_celery_worker_hears_api_and_reaper_and_is_denied_nothing(
    urls: dict[str, str], server: Server, tmp_path: Path
) -> None:
    server.operator.acl_log_reset()
    heard = tmp_path / "heard"
    arguments = ["worker", "-P", "solo", "-c", "1", "-Q", "cpu", "--without-gossip", "--without-mingle"]
    program = WORKER.format(url=urls["worker"], heard=str(heard), arguments=arguments)
    worker = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        for role in ("api", "reaper"):
            Bell(celery_app(urls[role])).ring(Placement.CPU)
        wait_until(lambda: heard.exists() and heard.read_text() == "cpucpu", what="two rings heard")
        wait_until(lambda: server.operator.execute_command("PUBSUB", "NUMPAT"), what="listening to broadcasts")
    finally:
        worker.terminate()
        worker.wait(20)
    denied = {(row["username"], row["object"]) for row in server.operator.acl_log()}
    assert {what for _, what in denied} <= {"client"}  # Redis 6.2 has no finer name for CLIENT SETINFO, a courtesy


def test_nothing_is_lost_when_redis_is_killed_and_reads_its_file_again(
    urls: dict[str, str], server: Server, spec: JobSpec
) -> None:
    store = JobStore(connect(urls["api"]))
    jobs = [store.submit(spec)[0] for _ in range(3)]
    for job in jobs[:2]:
        store.cancel(job.id)
    before = everything(server)
    server.kill()
    server.start()
    assert everything(server) == before
    assert [store.get(job.id).state for job in jobs] == [JobState.CANCELLED, JobState.CANCELLED, JobState.QUEUED]


def everything(server: Server) -> dict[str, Any]:
    client: Any = server.operator
    read = {
        "hash": client.hgetall,
        "list": lambda key: client.lrange(key, 0, -1),
        "set": client.smembers,
        "stream": client.xrange,
        "string": client.get,
        "zset": lambda key: client.zrange(key, 0, -1, withscores=True),
    }
    return {key: read[client.type(key)](key) for key in client.scan_iter()}


def test_workers_are_seen_by_the_api(urls: dict[str, str]) -> None:
    Fleet(connect(urls["worker"])).beat("w1", Pool.CPU, True, {})
    assert [worker.name for worker in Fleet(connect(urls["api"])).workers()] == ["w1"]


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "command",
    ["FLUSHALL", "KEYS *", "CONFIG GET requirepass", "ACL LIST", "SHUTDOWN", "GET other", "SET other 1"],
)  # fmt: skip
def test_a_role_cannot_leave_its_field(urls: dict[str, str], role: str, command: str) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        connect(urls[role]).execute_command(*command.split())


def test_without_a_name_nothing_is_answered(urls: dict[str, str]) -> None:
    with pytest.raises(redis.exceptions.AuthenticationError):
        connect(urls["nobody"]).ping()


def test_the_health_check_can_ask_for_a_sign_of_life_only(urls: dict[str, str]) -> None:
    client = connect(urls["health"])
    assert client.ping()
    with pytest.raises(redis.exceptions.NoPermissionError):
        client.get("eegq:schema")


def test_the_hashes_in_the_file_are_of_the_passwords(tmp_path: Path) -> None:
    make_secrets(tmp_path)
    before = (tmp_path / "users.acl").read_text()
    (tmp_path / "redis-api").unlink()
    make_secrets(tmp_path)
    after = (tmp_path / "users.acl").read_text()
    changed = [line.split()[1] for line in after.splitlines() if line not in before]
    assert changed == ["api"]
