"""Pools, devices, datasets, models, submissions, weights, the leaderboard, health."""

import json
import struct
import time

import pytest

from jobs.datasets import Source
from jobs.device import Health, after_fault
from jobs.errands import ErrandKind, Errands
from jobs.fault import Fault, FaultKind
from jobs.fleet import Fleet
from jobs.job import JobState, Pool
from jobs.ledger import Ledger
from jobs.registry import Registry
from tests.integration.api import demo_root

SPEC = {"task": "challenge1", "dataset": "demo"}


def succeeded(api, store, task: str = "challenge1", nrmse: float = 0.9) -> str:
    job_id = api.post("/jobs", json={**SPEC, "task": task, "placement": "cpu"}).json()["id"]
    claim = store.claim(Pool.CPU, worker="w", device="cpu", lease_s=30)
    best = {"metric": "nrmse", "value": nrmse, "epoch": 1, "step": 5, "baseline": 1.0}
    store.report(claim, 1, [("metrics", {}, {"best": best})])
    store.settle(claim, JobState.SUCCEEDED)
    return job_id


def safetensors(tensors: dict[str, list[int]]) -> bytes:
    header, offset = {}, 0
    for name, shape in tensors.items():
        size = 4 * shape[0]
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(offset)


def test_pools_tell_what_waits_and_what_to_do_about_it(api, client):
    api.post("/jobs", json={**SPEC, "placement": "gpu"})
    pools = {pool["pool"]: pool for pool in api.get("/pools").json()["data"]}
    assert pools["gpu"]["depth"] == 1
    assert "1 jobs wait for a GPU alone" in pools["gpu"]["advice"]
    Fleet(client).beat("w", Pool.GPU, True, {"device": "cuda:0"})
    pools = {pool["pool"]: pool for pool in api.get("/pools").json()["data"]}
    assert pools["gpu"]["advice"] is None
    assert [worker["name"] for worker in pools["gpu"]["workers"]] == ["w"]


def test_a_quarantined_device_says_why_and_can_be_cleared(api, client):
    fleet = Fleet(client)
    fleet.change(
        "cuda:0",
        lambda d: after_fault(d, Fault(FaultKind.HANG, "stuck"), time.time()),
        tests=[{"test": "fft", "ok": False}],
    )
    device = api.get("/devices/cuda:0").json()
    assert (device["health"], device["reason"]) == ("quarantined", "hang: stuck")
    assert [(test["test"], test["ok"]) for test in device["tests"]] == [("fft", False)]
    assert api.post("/devices/cuda:0/clear").json()["health"] == Health.SUSPECT
    assert api.post("/devices/cuda:0/pause").json()["health"] == Health.PAUSED
    assert api.post("/devices/cuda:9/pause").status_code == 404


def test_datasets_are_found_named_and_forgotten(api, folder):
    demo_root(folder / "data", "r1")
    answer = api.post("/datasets", json={"name": "both", "source": ["demo", "r1"]})
    assert answer.status_code == 201
    assert {source["path"] for source in answer.json()["sources"]} == {"demo", "r1"}
    assert api.post("/jobs", json={**SPEC, "dataset": "both"}).status_code == 202
    assert {d["name"]: d["registered"] for d in api.get("/datasets").json()["data"]}["both"]
    assert api.delete("/datasets/both").status_code == 204
    assert api.get("/datasets/both").status_code == 404


def test_only_datasets_of_the_data_folder_can_be_named(api):
    assert api.post("/datasets", json={"name": "x", "source": "absent"}).status_code == 422
    assert api.post("/datasets", json={"name": "x", "source": "/etc"}).status_code == 422


def test_a_dataset_that_was_just_put_there_is_found(api, folder):
    assert api.post("/jobs", json={**SPEC, "dataset": "late"}).status_code == 422
    demo_root(folder / "data", "late")
    assert api.post("/jobs", json={**SPEC, "dataset": "late"}).status_code == 202


def test_a_preflight_is_asked_for_and_read(api, client):
    assert api.get("/datasets/demo/preflight").status_code == 404
    assert api.post("/datasets/demo/preflight").json()["state"] == "queued"
    assert client.llen("bq:errands") == 1
    preflights = Errands(client, ErrandKind.PREFLIGHT)
    asked = preflights.start("demo")
    assert asked.about["sources"] == [{"release": "demo", "path": "demo"}]
    preflights.finish("demo", {"counts": {"kept": 1}, "mean": float("nan")})
    found = api.get("/datasets/demo/preflight").json()
    assert (found["state"], found["report"]) == ("done", {"counts": {"kept": 1}, "mean": None})


def test_the_page_of_a_preflight_is_shown_as_a_document_of_nobody(api, folder):
    assert api.get("/datasets/demo/preflight.html").status_code == 404
    page = folder / "runs" / "preflights" / "demo" / "preflight.html"
    page.parent.mkdir(parents=True)
    page.write_text("<!doctype html><h1>Preflight</h1>")
    answer = api.get("/datasets/demo/preflight.html")
    assert answer.text == page.read_text()
    assert answer.headers["content-type"].startswith("text/html")
    assert "sandbox" in answer.headers["content-security-policy"]


def test_models_are_listed_with_what_they_need(api):
    models = {model["name"]: model for model in api.get("/models").json()["data"]}
    assert {"drop_prob", "n_spatial_filters"} <= {p["name"] for p in models["SCCNet"]["params"]}
    assert models["ShallowFBCSPNet"]["n_times_min"] > 50
    assert models["EEGNeX"]["batch_failover"]
    assert not models["EEGConformer"]["batch_failover"]
    assert all(model["works"] or model["reason"] for model in models.values())
    assert api.get("/models/eegnet").json()["hint"].startswith("did you mean EEGNet")


def test_a_submission_is_built_once_and_downloaded(api, store, client, folder):
    one, two = succeeded(api, store), succeeded(api, store, "challenge2")
    answer = api.post("/submissions", json={"challenge1": one, "challenge2": two})
    submission = answer.json()
    assert (answer.status_code, submission["state"]) == (202, "queued")
    assert api.post("/submissions", json={"challenge1": one, "challenge2": two}).json()["id"] == submission["id"]
    assert client.llen("bq:errands") == 1
    zip_url = submission["urls"]["zip"]
    assert api.get(zip_url).status_code == 409
    submissions = Errands(client, ErrandKind.SUBMISSION)
    assert submissions.start(submission["id"]).about == {"challenge1": one, "challenge2": two}
    (folder / "runs" / submission["id"]).mkdir()
    (folder / "runs" / submission["id"] / "submission.zip").write_bytes(b"PK")
    submissions.finish(submission["id"], {"checked": True})
    assert api.get(answer.headers["Location"]).json()["report"] == {"checked": True}
    assert api.get(zip_url).content == b"PK"


def test_a_failed_submission_is_built_again(api, store, client):
    one = succeeded(api, store)
    submission = api.post("/submissions", json={"challenge1": one}).json()
    Errands(client, ErrandKind.SUBMISSION).fail(submission["id"], "the disk is full")
    assert api.get(submission["urls"]["self"]).json()["error"] == "the disk is full"
    assert api.post("/submissions", json={"challenge1": one}).json()["state"] == "queued"
    assert client.llen("bq:errands") == 2


def test_a_submission_takes_only_fitting_jobs_that_succeeded(api, store):
    one = succeeded(api, store)
    queued = api.post("/jobs", json=SPEC).json()["id"]
    assert api.post("/submissions", json={}).status_code == 422
    assert api.post("/submissions", json={"challenge2": one}).json()["errors"][0]["pointer"] == "/challenge2"
    assert api.post("/submissions", json={"challenge1": queued}).status_code == 409


def test_uploaded_weights_are_checked_and_can_be_named_by_a_job(api):
    answer = api.put("/weights/mine", content=safetensors({"a": [3], "b": [2]}))
    assert answer.json()["tensors"] == {"a": ["F32", [3]], "b": ["F32", [2]]}
    assert api.post("/jobs", json={**SPEC, "init": {"weights": "mine"}}).status_code == 202
    assert [w["name"] for w in api.get("/weights").json()["data"]] == ["mine"]
    assert api.delete("/weights/mine").status_code == 204


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04pickle", safetensors({"a": [3]})[:-1], struct.pack("<Q", 2) + b"{}"]
)
def test_what_is_not_safetensors_is_not_kept(api, folder, content):
    assert api.put("/weights/mine", content=content).status_code == 422
    assert list((folder / "runs" / "weights").iterdir()) == []


def test_the_leaderboard_ranks_scores_and_names_the_best_pair(api, store):
    worse, better = succeeded(api, store, nrmse=0.99), succeeded(api, store, nrmse=0.95)
    second = succeeded(api, store, "challenge2", nrmse=1.0)
    board = api.get("/leaderboard").json()
    assert [entry["job_id"] for entry in board["challenges"]["challenge1"]] == [better, worse]
    assert board["best_pair"] == {"challenge1": better, "challenge2": second, "overall": pytest.approx(0.985)}


def test_prometheus_sees_jobs_steps_requeues_and_devices(api, store, client):
    api.post("/jobs", json={**SPEC, "placement": "gpu"})
    claim = store.claim(Pool.GPU, worker="w", device="cuda:0", lease_s=30)
    ledger = Ledger(client)
    ledger.commit(claim, 0, 9, "cuda:0")
    ledger.commit(claim, 10, 10, "cpu", reason="out_of_memory")
    store.requeue(claim, "cpu", Fault(FaultKind.KILLED, "signal 9"))
    Fleet(client).change("cuda:0", lambda d: after_fault(d, Fault(FaultKind.HANG, "stuck"), 0.0))
    text = api.get("/metrics").text
    for line in (
        'eegq_jobs_total{status="queued"} 1.0',
        'eegq_queue_depth{pool="cpu"} 1.0',
        'eegq_steps_total{device="cuda:0",outcome="committed"} 10.0',
        'eegq_steps_total{device="cpu",outcome="moved"} 1.0',
        'eegq_requeues_total{reason="killed"} 1.0',
        'eegq_device_health{device="cuda:0"} 0.0',
    ):
        assert line in text
    assert claim.job.id not in text


def test_readiness_tells_of_redis_disk_and_what_is_wrong(api):
    ready = api.get("/readyz").json()
    assert (ready["ready"], ready["redis_keeps_its_data"], ready["problems"]) == (True, True, [])
    assert ready["free_bytes"] > 0
    assert api.get("/livez").json() == {"alive": True}


def test_a_registered_name_stands_before_a_found_one(client, api, folder):
    demo_root(folder / "data", "r1")
    Registry(client).register("demo", [Source("R1", "r1")])
    assert api.get("/datasets/demo").json()["sources"] == [{"release": "R1", "path": "r1"}]
