"""What lies below a job: events, metrics, ledger, logs, checkpoints, artefacts."""

import json
import threading

import pytest

from jobs.job import Checkpoint, JobState, Pool
from jobs.ledger import Ledger

SPEC = {"task": "challenge1", "dataset": "demo"}


@pytest.fixture
def taken(api, store):
    api.post("/jobs", json=SPEC)
    return store.claim(Pool.GPU, worker="w1", device="cuda:0", lease_s=30)


@pytest.fixture
def url(taken) -> str:
    return f"/jobs/{taken.job.id}"


@pytest.fixture
def run(folder, taken):
    """The job's folder, as its worker would have made it."""
    path = folder / "runs" / taken.job.id
    (path / "results").mkdir(parents=True)
    return path


def stream(api, url: str, **headers: str) -> list[dict]:
    """The events of a stream that the service ends."""
    with api.stream("GET", url, headers={"Accept": "text/event-stream", **headers}) as answer:
        return [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]


def test_events_are_listed_and_paged(api, store, taken, url):
    page = api.get(f"{url}/events?limit=1").json()
    assert [event["type"] for event in page["data"]] == ["submitted"]
    assert page["has_more"]
    rest = api.get(f"{url}/events", params={"after": page["after"]}).json()
    assert [event["type"] for event in rest["data"]] == ["claimed"]


def test_events_are_chosen_by_type(api, store, taken, url):
    store.report(taken, 1, [("progress", {"step": i}, {}) for i in range(5)] + [("fault", {"kind": "oom"}, {})])
    found = api.get(f"{url}/events?type=fault&type=claimed").json()
    assert [event["type"] for event in found["data"]] == ["claimed", "fault"]


def test_a_stream_follows_the_job_to_its_end(api, store, taken, url):
    def work():
        store.report(taken, 1, [("metrics", {"epoch": 1, "val_nrmse": float("nan")}, {})])
        store.settle(taken, JobState.SUCCEEDED)

    threading.Timer(0.3, work).start()
    events = stream(api, f"{url}/events")
    assert [event["type"] for event in events] == ["submitted", "claimed", "metrics", "succeeded"]
    assert events[2]["data"]["val_nrmse"] is None


def test_a_stream_resumes_behind_the_last_event_seen(api, store, taken, url):
    store.settle(taken, JobState.SUCCEEDED)
    events = stream(api, f"{url}/events")
    assert stream(api, f"{url}/events", **{"Last-Event-ID": events[1]["id"]}) == events[2:]


def test_a_stream_that_has_ended_tells_its_client_to_stay_away(api, store, taken, url):
    store.settle(taken, JobState.SUCCEEDED)
    last = stream(api, f"{url}/events")[-1]["id"]
    again = api.get(f"{url}/events", headers={"Accept": "text/event-stream", "Last-Event-ID": last})
    assert again.status_code == 204


def test_events_outlive_their_stream_in_the_runs_folder(api, store, client, taken, url, run):
    store.settle(taken, JobState.SUCCEEDED)
    events = api.get(f"{url}/events").json()["data"]
    (run / "events.jsonl").write_text("".join(json.dumps({**e, "at": 1.0}) + "\n" for e in events))
    client.delete(f"eegq:job:{taken.job.id}:events")
    assert [e["type"] for e in api.get(f"{url}/events").json()["data"]] == ["submitted", "claimed", "succeeded"]


def test_metrics_are_thinned_chosen_and_free_of_nan(api, url, run):
    rows = [{"epoch": i, "step": 10 * i, "val_nrmse": 1 / i, "train_loss": float("nan")} for i in range(1, 101)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"epoch": 101, "st')
    found = api.get(f"{url}/metrics?name=val_nrmse&max_points=5").json()
    assert (found["names"], found["n_rows"]) == (["val_nrmse"], 100)
    assert [row["epoch"] for row in found["data"]] == [1, 26, 51, 75, 100]
    assert "train_loss" not in found["data"][0]
    assert api.get(f"{url}/metrics").json()["data"][0]["train_loss"] is None


def test_a_row_that_a_later_attempt_repeats_stands_once(api, url, run):
    rows = [{"epoch": 1, "step": 10, "attempt": 1}, {"epoch": 2, "step": 20, "attempt": 1}]
    rows.append({"epoch": 2, "step": 20, "attempt": 2})
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert [row["attempt"] for row in api.get(f"{url}/metrics").json()["data"]] == [1, 2]


def test_metrics_come_as_csv_too(api, url, run):
    (run / "metrics.jsonl").write_text('{"epoch": 1, "step": 10, "val_nrmse": NaN}\n')
    answer = api.get(f"{url}/metrics?format=csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    assert answer.text == "epoch,step,at,attempt,device,val_nrmse\n1,10,,,,\n"


def test_metrics_come_from_the_events_where_there_is_no_file(api, store, taken, url):
    store.report(taken, 1, [("metrics", {"epoch": 1, "step": 10, "val_nrmse": 0.9}, {})])
    assert api.get(f"{url}/metrics").json()["data"][0]["val_nrmse"] == 0.9


def test_the_ledger_tells_where_and_why(api, client, taken, url):
    ledger = Ledger(client)
    ledger.commit(taken, 0, 9, "cuda:0")
    ledger.commit(taken, 10, 10, "cpu", reason="out_of_memory")
    ledger.commit(taken, 11, 19, "cuda:0")
    found = api.get(f"{url}/ledger").json()
    assert found["steps_by_device"] == {"cuda:0": 19, "cpu": 1}
    moved = api.get(f"{url}/ledger?device=cpu").json()["data"]
    assert [(run["first"], run["reason"]) for run in moved] == [(10, "out_of_memory")]


def test_logs_come_whole_by_tail_and_by_range(api, url, run):
    assert api.get(f"{url}/logs").text == ""
    (run / "log.txt").write_text("".join(f"line {i}\n" for i in range(100)))
    whole = api.get(f"{url}/logs").text
    assert whole.endswith("line 99\n")
    assert api.get(f"{url}/logs?tail=2").text == "line 98\nline 99\n"
    part = api.get(f"{url}/logs", headers={"Range": f"bytes={len(whole) - 8}-"})
    assert (part.status_code, part.text) == (206, "line 99\n")
    end = api.get(f"{url}/logs", headers={"Range": f"bytes={len(whole)}-"})
    assert end.status_code == 416
    assert end.headers["Content-Range"] == f"bytes */{len(whole)}"


def test_artefacts_are_listed_and_sent_with_ranges(api, url, run):
    (run / "results" / "weights.safetensors").write_bytes(bytes(range(100)))
    listed = api.get(f"{url}/artifacts").json()["data"]
    assert [(f["name"], f["size_bytes"]) for f in listed] == [("weights.safetensors", 100)]
    whole = api.get(listed[0]["url"])
    assert whole.content == bytes(range(100))
    part = api.get(listed[0]["url"], headers={"Range": "bytes=-10", "If-Range": whole.headers["ETag"]})
    assert (part.content, part.headers["Content-Range"]) == (bytes(range(90, 100)), "bytes 90-99/100")
    changed = api.get(listed[0]["url"], headers={"Range": "bytes=-10", "If-Range": '"other"'})
    assert (changed.status_code, len(changed.content)) == (200, 100)
    assert api.get(listed[0]["url"], headers={"If-None-Match": whole.headers["ETag"]}).status_code == 304


@pytest.mark.parametrize("name", ["..%2f..%2fkeys.json", "secret.txt", "checkpoints", "%2e%2e%2fkeys.json"])
def test_nothing_but_listed_names_is_sent(api, url, run, name):
    (run / "secret.txt").write_text("x")
    answer = api.get(f"{url}/artifacts/{name}")
    assert answer.status_code == 404


def test_a_link_out_of_the_runs_folder_is_not_followed(api, url, run, folder):
    (folder / "outside.txt").write_text("secret")
    (run / "log.txt").symlink_to(folder / "outside.txt")
    assert api.get(f"{url}/artifacts/log.txt").status_code == 404
    assert api.get(f"{url}/logs").text == ""
    assert api.get(f"{url}/logs?tail=5").text == ""


def test_checkpoints_are_listed_with_the_one_to_resume_from(api, store, taken, url, run):
    for step in (10, 20):
        folder = run / "checkpoints" / "1" / str(step)
        folder.mkdir(parents=True)
        (folder / "state.json").write_text("{}")
    store.publish(taken, Checkpoint(20, "x", "vol"))
    found = api.get(f"{url}/checkpoints").json()["data"]
    assert [(c["step"], c["current"], c["size_bytes"]) for c in found] == [(10, False, 2), (20, True, 2)]
