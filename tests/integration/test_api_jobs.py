"""POST /jobs and what can be done to a job, over HTTP on a real Redis."""

import threading
import time

import pytest

from jobs.fault import Fault, FaultKind
from jobs.fleet import Fleet
from jobs.job import Checkpoint, JobState, Pool
from jobs.ledger import Ledger

SPEC = {"task": "challenge1", "dataset": "demo"}


@pytest.fixture
def job_id(api) -> str:
    return api.post("/jobs", json=SPEC).json()["id"]


@pytest.fixture
def taken(store, job_id):
    """The job, claimed by a worker."""
    return store.claim(Pool.CPU, worker="w1", device="cpu", lease_s=30)


def test_a_submitted_job_is_queued_and_says_where_it_is(api):
    answer = api.post("/jobs", json=SPEC)
    job = answer.json()
    assert answer.status_code == 202
    assert answer.headers["Location"] == f"/jobs/{job['id']}"
    assert (job["status"], job["seed"], job["spec"]["model"]["name"]) == ("queued", 0, "SCCNet")
    assert api.get(answer.headers["Location"]).json() == job


def test_a_submit_rings_both_pools_once(api, client, job_id):
    assert [client.llen(f"bq:{pool}") for pool in ("gpu", "cpu")] == [1, 1]


def test_there_are_no_more_rings_than_workers_to_hear_them(api, client):
    for _ in range(3):
        api.post("/jobs", json={**SPEC, "placement": "cpu"})
    assert client.llen("bq:cpu") == 1
    for name in ("w1", "w2"):
        Fleet(client).beat(name, Pool.CPU, True, {})
    for _ in range(3):
        api.post("/jobs", json={**SPEC, "placement": "cpu"})
    assert client.llen("bq:cpu") == 2


def test_the_same_idempotency_key_gives_the_same_job(api):
    first = api.post("/jobs", json=SPEC, headers={"Idempotency-Key": "k"})
    again = api.post("/jobs", json=SPEC, headers={"Idempotency-Key": "k"})
    assert again.json()["id"] == first.json()["id"]
    assert "Idempotency-Replayed" not in first.headers
    assert again.headers["Idempotency-Replayed"] == "true"


def test_an_idempotency_key_with_another_body_is_refused(api):
    api.post("/jobs", json=SPEC, headers={"Idempotency-Key": "k"})
    answer = api.post("/jobs", json={**SPEC, "seed": 2}, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 422
    assert answer.json()["type"] == "urn:eegq:idempotency-conflict"


def test_a_dry_run_checks_and_makes_nothing(api):
    answer = api.post("/jobs?dry_run=true", json=SPEC)
    assert answer.status_code == 200
    assert answer.json()["sources"] == [{"release": "demo", "path": "demo"}]
    assert api.get("/jobs").json()["data"] == []


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"model": "EEGNext"}, "/model/name"),
        ({"model": {"name": "SCCNet", "params": {"n_chans": 4}}}, "/model/params/n_chans"),
        ({"model": {"name": "SCCNet", "params": {"depth": 4}}}, "/model/params/depth"),
        ({"model": {"name": "SCCNet", "params": {"drop_prob": "half"}}}, "/model/params/drop_prob"),
        ({"model": "EMG2QwertyNet"}, "/model/name"),
        ({"model": "my_models:Net"}, "/model/name"),
        ({"preprocess": [{"step": "custom", "function": "my_steps:fn"}]}, "/preprocess/0"),
        ({"dataset": "absent"}, "/dataset"),
        ({"dataset": {"name": "demo", "releases": ["R9"]}}, "/dataset"),
        ({"drill": [{"kind": "oom", "step": 3}]}, "/drill"),
        ({"init": {"job": "job_0000000000000000"}}, "/init/job"),
        ({"init": {"weights": "absent"}}, "/init/weights"),
        ({"task": {"kind": "fixed", "target": "age", "size_s": 0.1, "crop_s": None}, "model": "EEGNeX"}, "/task"),
        ({"training": {"lr": -1}}, "/training/lr"),
        ({"dataset": "../etc"}, "/dataset/name"),
    ],
)
def test_a_spec_that_cannot_run_is_refused_at_the_door(api, change, pointer):
    answer = api.post("/jobs", json={**SPEC, **change})
    assert answer.status_code == 422
    assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]


def test_every_default_and_every_name_of_a_parameter_is_accepted(api):
    answer = api.post("/jobs", json={**SPEC, "model": {"name": "EEGNeX", "params": {"filter_1": 16, "drop_prob": 0}}})
    assert answer.status_code == 202


def test_a_job_that_is_not_there_is_a_404(api):
    for job_id in ("job_0000000000000000", "nonsense"):
        answer = api.get(f"/jobs/{job_id}")
        assert answer.status_code == 404
        assert answer.headers["Content-Type"] == "application/problem+json"


def test_an_unchanged_job_is_a_304(api, store, job_id):
    etag = api.get(f"/jobs/{job_id}").headers["ETag"]
    assert api.get(f"/jobs/{job_id}", headers={"If-None-Match": etag}).status_code == 304
    store.pause(job_id)
    assert api.get(f"/jobs/{job_id}", headers={"If-None-Match": etag}).status_code == 200


def test_the_same_revision_gives_the_same_bytes(api, taken):
    one, two = (api.get(f"/jobs/{taken.job.id}") for _ in range(2))
    assert one.headers["ETag"] == two.headers["ETag"]
    assert one.content == two.content


def test_a_long_poll_answers_as_soon_as_the_job_changes(api, store, job_id):
    threading.Timer(0.3, store.pause, [job_id]).start()
    started = time.monotonic()
    job = api.get(f"/jobs/{job_id}?wait=20").json()
    assert job["phase"] == "paused"
    assert time.monotonic() - started < 5


def test_a_long_poll_of_an_unchanged_job_ends_with_a_304(api, job_id):
    etag = api.get(f"/jobs/{job_id}").headers["ETag"]
    assert api.get(f"/jobs/{job_id}?wait=0.2", headers={"If-None-Match": etag}).status_code == 304


def test_pages_are_linked_and_filters_hold(api):
    for seed in range(5):
        api.post("/jobs", json={**SPEC, "seed": seed, "tags": ["even"] if seed % 2 == 0 else []})
    page = api.get("/jobs?limit=2&tag=even")
    assert [job["seed"] for job in page.json()["data"]] == [4, 2]
    assert page.json()["has_more"]
    rest = api.get(page.links["next"]["url"]).json()
    assert [job["seed"] for job in rest["data"]] == [0]
    assert not rest["has_more"]


def test_filters_look_at_status_model_and_time(api, job_id):
    api.post(f"/jobs/{job_id}/cancel")
    other = api.post("/jobs", json={**SPEC, "model": "EEGNet"}).json()
    assert [j["id"] for j in api.get("/jobs?status=cancelled").json()["data"]] == [job_id]
    assert [j["id"] for j in api.get("/jobs?model=EEGNet").json()["data"]] == [other["id"]]
    assert api.get("/jobs", params={"created_after": "2100-01-01T00:00:00Z"}).json()["data"] == []


def test_a_queued_job_is_cancelled_at_once_and_again_without_harm(api, job_id):
    for _ in range(2):
        answer = api.post(f"/jobs/{job_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")


def test_a_job_that_has_ended_cannot_be_cancelled(api, store, taken):
    store.settle(taken, JobState.SUCCEEDED)
    assert api.post(f"/jobs/{taken.job.id}/cancel").status_code == 409


def test_a_deleted_job_is_gone_with_its_files(api, store, taken, folder):
    run = folder / "runs" / taken.job.id
    run.mkdir()
    (run / "log.txt").write_text("x")
    assert api.delete(f"/jobs/{taken.job.id}").status_code == 409
    store.settle(taken, JobState.SUCCEEDED)
    assert api.delete(f"/jobs/{taken.job.id}").status_code == 204
    assert not run.exists()
    assert api.get(f"/jobs/{taken.job.id}").status_code == 404


def test_a_retry_is_a_new_job_that_names_its_parent(api, store, taken):
    assert api.post(f"/jobs/{taken.job.id}/retry").status_code == 409
    store.settle(taken, JobState.FAILED, Fault(FaultKind.DATA, "no events"))
    child = api.post(f"/jobs/{taken.job.id}/retry").json()
    assert child["parent_id"] == taken.job.id
    assert child["id"] != taken.job.id
    assert child["spec"] == api.get(f"/jobs/{taken.job.id}").json()["spec"]


def test_more_epochs_go_on_from_the_parents_last_state(api, store, client, taken):
    ledger = Ledger(client)
    ledger.commit(taken, 0, 11, "cpu")
    store.publish(taken, Checkpoint(12, f"{taken.job.id}/checkpoints/1/12", "vol"))
    store.settle(taken, JobState.SUCCEEDED)
    child = api.post(f"/jobs/{taken.job.id}/retry", json={"epochs": "+50"}).json()
    assert child["spec"]["training"]["epochs"] == 70
    again = store.claim(Pool.CPU, worker="w2", device="cpu", lease_s=30, volume="vol")
    assert (again.job.id, again.job.checkpoint.step) == (child["id"], 12)
    ledger.resume(again, 12)
    ledger.commit(again, 12, 20, "cpu")
    assert [(run.first, run.last) for run in ledger.runs(again.job.id)] == [(12, 20)]


def test_more_epochs_without_a_checkpoint_are_refused(api, store, taken):
    store.settle(taken, JobState.FAILED, Fault(FaultKind.DATA, "no events"))
    assert api.post(f"/jobs/{taken.job.id}/retry", json={"epochs": "+5"}).status_code == 409


def test_a_quota_of_active_jobs_is_a_429(redis_url, folder):
    from tests.integration.api import api_client, settings

    with api_client(settings(redis_url, folder, max_active_jobs=1)) as api:
        assert api.post("/jobs", json=SPEC).status_code == 202
        answer = api.post("/jobs", json=SPEC)
    assert answer.status_code == 429
    assert answer.headers["Retry-After"]


def test_a_running_job_shows_progress_placement_recovery_and_attempts(api, store, taken):
    progress = {"epoch": 1, "epochs": 20, "step": 50, "steps": 1000, "windows_per_s": float("nan")}
    store.report(taken, 1, [("progress", {}, {"phase": "training", "progress": progress})])
    job = api.get(f"/jobs/{taken.job.id}").json()
    assert (job["status"], job["phase"]) == ("running", "training")
    assert job["progress"] == {**progress, "windows_per_s": None}
    assert job["placement"] == {"requested": "auto", "pool": "cpu", "device": "cpu", "worker": "w1"}
    assert [a["number"] for a in job["attempts"]] == [1]


def test_the_versioned_name_is_the_same_app_and_keeps_its_links(api):
    job = api.post("/v1/jobs", json=SPEC)
    assert job.headers["Location"].startswith("/v1/jobs/")
    assert api.get(job.json()["urls"]["events"]).status_code == 200


def test_poison_jobs_are_listed_by_their_reason(api, store, taken):
    store.settle(taken, JobState.FAILED, Fault(FaultKind.POISON, "crashed 3 times"))
    assert [job["id"] for job in api.get("/jobs?status=failed&reason=poison").json()["data"]] == [taken.job.id]
    assert api.get("/jobs?status=failed&reason=data").json()["data"] == []
