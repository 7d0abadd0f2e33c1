"""The client in bad weather: retries, errors, streams and downloads that are cut off; both clients alike."""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest

from eegq import aio_parts, client_parts
from eegq.aio import AsyncClient
from eegq.client import Client
from eegq.errors import (
    Conflict,
    EegqError,
    Invalid,
    JobCancelled,
    JobFailed,
    NotFound,
    RateLimited,
    ServerError,
    ServiceUnreachable,
    Unauthorized,
    Unavailable,
    WaitTimeout,
)  # fmt: skip
from tests.scripted_http import Answer, Seen, Server, answer, scripted

JOB = {"id": "job_0123456789abcdef", "status": "queued", "spec": {}, "revision": 1}
DONE = {**JOB, "status": "succeeded", "revision": 2}


def client(server: Server, retry_for_s: float = 5.0) -> Client:
    return Client(server.url, "eegq_key", retry_for_s=retry_for_s)


def test_a_submit_carries_the_key_and_an_idempotency_key() -> None:
    with scripted(answer(JOB, 202)) as server:
        job = client(server).jobs.create({"task": "challenge1"})
    assert job.id == JOB["id"]
    [request] = server.seen
    assert request.headers["Authorization"] == "Bearer eegq_key"
    assert len(request.headers["Idempotency-Key"]) >= 16
    assert request.body == b'{"task":"challenge1"}'


def test_a_submit_whose_answer_was_lost_is_sent_again_under_the_same_idempotency_key() -> None:
    with scripted(Answer(drop=True), answer({}, 503), answer(JOB, 202)) as server:
        client(server).jobs.create({})
    assert len(server.seen) == 3
    assert len({request.headers["Idempotency-Key"] for request in server.seen}) == 1


def test_two_submits_have_different_idempotency_keys() -> None:
    with scripted(answer(JOB, 202)) as server:
        for _ in range(2):
            client(server).jobs.create({})
    assert len({request.headers["Idempotency-Key"] for request in server.seen}) == 2


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Unauthorized), (404, NotFound), (409, Conflict), (422, Invalid), (500, ServerError)],
)
def test_a_problem_becomes_a_typed_error_and_is_not_tried_again(status: int, kind: type[EegqError]) -> None:
    problem = {"title": "No", "detail": "because", "errors": [{"pointer": "/training/lr", "detail": "too big"}]}
    with scripted(answer({**problem, "hint": "smaller"}, status)) as server, pytest.raises(kind) as raised:
        client(server).jobs.retrieve("job_x")
    assert type(raised.value) is kind
    assert "/training/lr: too big" in str(raised.value)
    assert "hint: smaller" in str(raised.value)
    assert len(server.seen) == 1


def test_a_service_that_stays_away_is_an_error_in_the_end() -> None:
    with scripted(answer({}, 503)) as server, pytest.raises(Unavailable):
        client(server, retry_for_s=0.5).pools()
    assert len(server.seen) >= 2


def test_no_service_at_all_is_unreachable() -> None:
    with pytest.raises(ServiceUnreachable, match=r"127\.0\.0\.1:9"):
        Client("http://127.0.0.1:9", retry_for_s=0.3).pools()


def test_too_many_requests_are_tried_again_after_the_time_that_the_service_says() -> None:
    with scripted(answer({}, 429, Retry_After="1"), answer([])) as server:
        assert client(server).pools() == []
    assert len(server.seen) == 2


def test_a_wait_longer_than_the_patience_is_an_error_at_once() -> None:
    with scripted(answer({}, 429, Retry_After="60")) as server, pytest.raises(RateLimited) as raised:
        client(server).pools()
    assert raised.value.retry_after_s == 60
    assert len(server.seen) == 1


def test_an_answer_that_is_no_problem_json_still_becomes_an_error() -> None:
    with scripted(Answer(500, b"<html>oops</html>")) as server, pytest.raises(ServerError, match="oops"):
        client(server).pools()


def test_wait_long_polls_until_the_job_has_succeeded() -> None:
    with scripted(answer(JOB), answer(JOB), answer(DONE)) as server:
        assert client(server).jobs.wait(JOB["id"]).status == "succeeded"
    assert "wait=" not in server.seen[0].path
    assert "wait=20" in server.seen[1].path


@pytest.mark.parametrize(("status", "kind"), [("failed", JobFailed), ("cancelled", JobCancelled)])
def test_wait_raises_for_other_ends(status: str, kind: type[EegqError]) -> None:
    ended = {**JOB, "status": status, "error": {"kind": "data", "message": "no events"}}
    with scripted(answer(ended)) as server, pytest.raises(kind, match="no events" if status == "failed" else "cancel"):
        client(server).jobs.wait(JOB["id"])


def test_wait_gives_up_in_time() -> None:
    with scripted(answer(JOB)) as server, pytest.raises(WaitTimeout, match="still queued"):
        client(server).jobs.wait(JOB["id"], timeout_s=0.2)


def test_a_list_goes_through_all_pages() -> None:
    def page(request: Seen) -> Answer:
        second = "after=job_b" in request.path
        jobs = [{**JOB, "id": name} for name in (["job_c"] if second else ["job_a", "job_b"])]
        return answer({"data": jobs, "has_more": not second})

    with scripted(page) as server:
        assert [job.id for job in client(server).jobs.list(None, status="queued")] == ["job_a", "job_b", "job_c"]
    assert "status=queued" in server.seen[0].path


def event(seq: int, kind: str, **data: Any) -> str:
    import json

    body = {"id": f"{seq}-0", "type": kind, "seq": seq, "at": "2026-01-01T00:00:00Z", "data": data}
    return f"id: {seq}-0\nevent: {kind}\ndata: {json.dumps(body)}\n\n"


def stream_of(*events: str) -> Answer:
    return Answer(200, ("retry: 2000\n\n: still here\n\n" + "".join(events)).encode())


def test_a_stream_that_breaks_goes_on_behind_the_last_event() -> None:
    first = stream_of(event(1, "claimed", number=1), event(2, "progress", step=5), event(3, "progress", step=9))
    first.cut = len(first.body) - 30
    second = stream_of(event(3, "progress", step=9), event(4, "succeeded"))
    with scripted(first, second) as server:
        events = list(client(server).jobs.stream(JOB["id"]))
    assert [e.id for e in events] == ["1-0", "2-0", "3-0", "4-0"]
    assert events[1].data == {"step": 5}
    assert "Last-Event-ID" not in server.seen[0].headers
    assert server.seen[1].headers["Last-Event-ID"] == "2-0"


def test_a_stream_that_ends_without_the_jobs_end_is_opened_again() -> None:
    with scripted(stream_of(event(1, "claimed")), answer(JOB), stream_of(event(2, "failed"))) as server:
        assert [e.type for e in client(server).jobs.stream(JOB["id"])] == ["claimed", "failed"]


def test_the_stream_of_an_ended_job_ends() -> None:
    with scripted(Answer(204, b""), answer(DONE)) as server:
        assert list(client(server).jobs.stream(JOB["id"])) == []


def test_the_stream_of_an_unknown_job_is_an_error() -> None:
    with scripted(answer({"title": "Not Found"}, 404)) as server, pytest.raises(NotFound):
        list(client(server).jobs.stream("job_x"))


def test_a_download_that_is_cut_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    content = bytes(range(256)) * 100
    rest = Answer(206, content[10_000:])
    with scripted(Answer(200, content, cut=10_000), rest) as server:
        path = client(server).jobs.download(JOB["id"], "weights.pt", tmp_path / "sub" / "w.pt")
    assert path.read_bytes() == content
    assert server.seen[1].headers["Range"] == "bytes=10000-"
    assert [p.name for p in path.parent.iterdir()] == ["w.pt"]


def test_a_download_that_is_cut_off_starts_again_where_the_service_knows_no_ranges(tmp_path: Path) -> None:
    with scripted(Answer(200, b"x" * 5000, cut=1000), Answer(200, b"y" * 5000)) as server:
        path = client(server).jobs.download(JOB["id"], "log.txt", tmp_path / "log.txt")
    assert path.read_bytes() == b"y" * 5000


def test_a_download_that_fails_leaves_the_old_file_alone(tmp_path: Path) -> None:
    old = tmp_path / "scores.json"
    old.write_text("old")
    with scripted(answer({}, 404)) as server, pytest.raises(NotFound):
        client(server).jobs.download(JOB["id"], "scores.json", old)
    assert old.read_text() == "old"


def test_logs_behind_the_end_are_empty() -> None:
    with scripted(answer({}, 416)) as server:
        assert client(server).jobs.logs(JOB["id"], offset=100) == ""


def test_a_submission_is_waited_for() -> None:
    errand = {"id": "sub_1", "state": "running"}
    with scripted(answer(errand, 202), answer(errand), answer({**errand, "state": "done", "report": {}})) as server:
        made = client(server).submissions.create(challenge1="job_a")
    assert made["state"] == "done"
    assert server.seen[0].body == b'{"challenge1":"job_a"}'
    assert server.seen[-1].path == "/v1/submissions/sub_1"


def test_metrics_are_a_data_frame() -> None:
    rows = [{"epoch": 1, "val_nrmse": 1.1}, {"epoch": 2, "val_nrmse": 0.9}]
    with scripted(answer({"data": rows})) as server:
        frame = client(server).jobs.metrics(JOB["id"])
    assert frame["val_nrmse"].min() == 0.9


def test_the_asynchronous_client_does_the_same(tmp_path: Path) -> None:
    async def use(url: str) -> list[str]:
        async with AsyncClient(url, "k", retry_for_s=5) as client:
            job = await client.jobs.create({})
            kinds = [e.type async for e in client.jobs.stream(job.id)]
            await client.jobs.download(job.id, "log.txt", tmp_path / "log.txt")
            await client.submissions.create(challenge2=job.id)
            return [*kinds, (await client.jobs.wait(job.id)).status]

    with scripted(
        answer({}, 503), answer(JOB, 202), stream_of(event(1, "succeeded")), Answer(200, b"log" * 9, cut=3),
        Answer(206, b"log" * 8), answer({"id": "s", "state": "queued"}), answer({"id": "s", "state": "done"}),
        answer(JOB), answer(DONE),
    ) as server:  # fmt: skip
        assert asyncio.run(use(server.url)) == ["succeeded", "succeeded"]
    assert (tmp_path / "log.txt").read_bytes() == b"log" * 9


@pytest.mark.parametrize("name", ["Jobs", "Datasets", "Submissions", "Weights"])
def test_both_clients_have_the_same_methods(name: str) -> None:
    sync, asynchronous = getattr(client_parts, name), getattr(aio_parts, f"Async{name}")
    assert parameters(sync) == parameters(asynchronous)
    assert parameters(Client) == parameters(AsyncClient) | {"close": parameters(Client)["close"]}


def parameters(cls: type) -> dict[str, list[str]]:
    methods = inspect.getmembers(cls, inspect.isfunction)
    return {name: list(inspect.signature(method).parameters) for name, method in methods if not name.startswith("_")}
