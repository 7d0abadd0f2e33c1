"""The `eegq` command against a real service on a real Redis; the test itself plays the worker."""

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs.errors import UnknownJob
from jobs.fault import Fault, FaultKind
from jobs.job import Claim, JobState, Pool
from jobs.ledger import Ledger
from jobs.spec import Placement
from jobs.store import JobStore
from tests.conftest import wait_until
from tests.integration.api import LiveService, demo_root
from tests.integration.terminal import Terminal
from tests.redis_server import RedisServer


@pytest.fixture(scope="module")
def service(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveService]:
    folder = tmp_path_factory.mktemp("service")
    demo_root(folder / "data")
    with LiveService(redis_server.url, folder) as service:
        yield service


@pytest.fixture
def terminal(service: LiveService, store: JobStore) -> Terminal:
    """With an empty Redis behind the module's service."""
    return Terminal(service.folder, {"EEGQ_URL": service.url, "EEGQ_API_KEY": service.key})


@pytest.fixture
def job_id(terminal: Terminal) -> str:
    return submitted(terminal)


def submitted(terminal: Terminal, *options: str) -> str:
    done = terminal.eegq("submit", "-q", *options)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def claimed(store: JobStore) -> Claim:
    claim = store.claim(Pool.CPU, worker="w1", device="cpu", lease_s=60)
    assert claim is not None
    return claim


def finished(store: JobStore, nrmse: float | None = None) -> None:
    claim = claimed(store)
    if nrmse is not None:
        best = {"metric": "nrmse", "value": nrmse, "epoch": 1, "baseline": 1.0}
        store.report(claim, 1, [("metrics", {"epoch": 1}, {"best": best})])
    store.settle(claim, JobState.SUCCEEDED)


def test_a_piped_submit_prints_the_job_as_json(terminal: Terminal) -> None:
    done = terminal.eegq("submit", "-", "--set", "training.epochs=3", "--set", "model=EEGNet", stdin='{"seed": 4}')
    job = json.loads(done.stdout)
    assert (job["seed"], job["spec"]["training"]["epochs"], job["spec"]["model"]["name"]) == (4, 3, "EEGNet")
    assert done.stderr == ""


def test_seeds_make_a_group_that_compares_with_mean_and_spread(terminal: Terminal, store: JobStore) -> None:
    ids = submitted(terminal, "--seeds", "1-3", "--group", "low", "--set", "placement=cpu").split()
    assert len(ids) == 3
    submitted(terminal, "--group", "high", "--set", "training.lr=0.01", "--set", "placement=cpu")
    for nrmse in (0.9, 1.0, 1.1, 0.7):
        finished(store, nrmse)
    rows = json.loads(terminal.eegq("compare", "low", "high").stdout)
    assert [row["spec"] for row in rows] == [{"training.lr": 0.001}, {"training.lr": 0.01}]
    assert rows[0]["mean"] == pytest.approx(1.0)
    assert rows[0]["spread"] == pytest.approx(0.1)
    assert "0.001" in terminal.eegq("compare", "low", "high", "-o", "table").stdout


def test_a_dry_run_prints_the_whole_spec_and_makes_nothing(terminal: Terminal) -> None:
    done = terminal.eegq("submit", "--dry-run")
    assert json.loads(done.stdout)["spec"]["training"]["batch_size"] == 128
    assert json.loads(terminal.eegq("ls").stdout) == []


def test_a_wrong_spec_says_which_field_and_why(terminal: Terminal) -> None:
    done = terminal.eegq("submit", "--set", "training.lr=-1")
    assert done.returncode == 5
    assert "/training/lr" in done.stderr
    assert done.stdout == ""


def test_a_wrong_setting_is_a_usage_error(terminal: Terminal) -> None:
    assert terminal.eegq("submit", "--set", "training.lr").returncode == 2
    assert terminal.eegq("submit", "nowhere.json").returncode == 2
    assert terminal.eegq("submit", "--no-such-option").returncode == 2


def test_ls_is_a_table_for_a_person_and_json_lines_for_a_loop(terminal: Terminal, job_id: str) -> None:
    assert job_id in terminal.eegq("ls", "-o", "table").stdout
    [line] = terminal.eegq("ls", "-o", "jsonl").stdout.splitlines()
    assert json.loads(line)["id"] == job_id
    assert json.loads(terminal.eegq("ls", "--status", "failed").stdout) == []


def test_on_a_narrow_terminal_an_id_stays_whole(terminal: Terminal, job_id: str) -> None:
    narrow = Terminal(terminal.folder, {**terminal.address, "COLUMNS": "80"})
    heading, _, row = narrow.eegq("ls", "-o", "table").stdout.strip().splitlines()
    assert row.split()[0] == job_id
    assert heading.split()[:2] == ["job", "status"]


def test_wait_exits_0_when_the_job_has_succeeded(terminal: Terminal, job_id: str, store: JobStore) -> None:
    waiting = terminal.start("wait", job_id)
    finished(store)
    out, _ = waiting.communicate(timeout=30)
    assert waiting.returncode == 0
    assert json.loads(out)["status"] == "succeeded"


def test_wait_exits_1_when_the_job_has_failed(terminal: Terminal, job_id: str, store: JobStore) -> None:
    store.settle(claimed(store), JobState.FAILED, error=Fault(FaultKind.DATA, "no events of the mapping"))
    done = terminal.eegq("wait", job_id)
    assert done.returncode == 1
    assert "no events of the mapping" in done.stderr


def test_wait_exits_3_when_the_job_was_cancelled(terminal: Terminal, job_id: str) -> None:
    terminal.eegq("cancel", job_id)
    assert terminal.eegq("wait", job_id).returncode == 3


def test_wait_exits_4_when_time_is_up(terminal: Terminal, job_id: str) -> None:
    done = terminal.eegq("wait", job_id, "--timeout", "0.3")
    assert done.returncode == 4
    assert "still queued" in done.stderr


def test_an_unknown_job_is_exit_5(terminal: Terminal) -> None:
    assert terminal.eegq("get", "job_0000000000000000").returncode == 5


def test_ctrl_c_detaches_and_says_how_to_come_back(terminal: Terminal, job_id: str, store: JobStore) -> None:
    claim = claimed(store)
    watching = terminal.start("watch", job_id)
    store.report(claim, 1, [("metrics", {"epoch": 1, "val_nrmse": 0.9}, {})])
    assert watching.stderr is not None
    wait_until(lambda: "epoch 1" in watching.stderr.readline(), what="the watcher has seen an epoch")
    watching.send_signal(signal.SIGINT)
    _, said = watching.communicate(timeout=10)
    assert watching.returncode == 130
    assert f"eegq watch {job_id}" in said
    assert store.get(job_id).state is JobState.RUNNING


def test_watch_tells_a_failover_and_ends_with_the_job(terminal: Terminal, job_id: str, store: JobStore) -> None:
    watching = terminal.start("watch", job_id)
    claim = store.claim(Pool.GPU, worker="g1", device="cuda:0", lease_s=60)
    assert claim is not None
    fault = Fault(FaultKind.KILLED, "the trainer died (SIGKILL)", step=7, device="cuda:0")
    store.requeue(claim, Placement.CPU, fault, crashed=True, delay_s=0)
    finished(store)
    out, said = watching.communicate(timeout=30)
    assert watching.returncode == 0
    assert "requeued to the cpu pool: the trainer died (SIGKILL)" in said
    assert "attempt 2 starts on cpu" in said
    assert [a["outcome"] for a in json.loads(out)["attempts"]] == ["requeued", "succeeded"]


def test_cancel_all_cancels_what_is_active_and_nothing_else(terminal: Terminal, store: JobStore) -> None:
    submitted(terminal)
    finished(store)
    queued = submitted(terminal)
    assert [job["id"] for job in json.loads(terminal.eegq("cancel", "--all").stdout)] == [queued]
    assert store.get(queued).state is JobState.CANCELLED


def test_stop_holds_everything_and_resume_lets_it_go_on(terminal: Terminal, job_id: str, store: JobStore) -> None:
    assert terminal.eegq("stop").returncode == 0
    assert store.get(job_id).held
    assert "paused" in terminal.eegq("ls", "-o", "table").stdout
    terminal.eegq("resume", "--all")
    assert not store.get(job_id).held


def test_cancel_wants_jobs_or_all(terminal: Terminal) -> None:
    assert terminal.eegq("cancel").returncode == 2


def test_retry_names_its_parent(terminal: Terminal, job_id: str, store: JobStore) -> None:
    finished(store)
    assert json.loads(terminal.eegq("retry", job_id).stdout)["parent_id"] == job_id


def test_pull_fetches_what_the_job_made(terminal: Terminal, job_id: str, store: JobStore) -> None:
    results = terminal.folder / "runs" / job_id / "results"
    results.mkdir(parents=True)
    (results / "scores.json").write_text('{"value": 0.9}')
    (results / "predictions.csv").write_text("y,prediction\n")
    done = terminal.eegq("pull", job_id, "--to", "here")
    assert {Path(path).name for path in json.loads(done.stdout)} == {"scores.json", "predictions.csv"}
    assert (terminal.folder / "here" / "scores.json").read_text() == '{"value": 0.9}'


def test_logs_follow_until_the_end(terminal: Terminal, job_id: str, store: JobStore) -> None:
    claim = claimed(store)
    folder = terminal.folder / "runs" / job_id
    folder.mkdir(parents=True)
    (folder / "log.txt").write_text("epoch 1\n")
    following = terminal.start("logs", "-f", job_id)
    assert following.stdout is not None
    assert following.stdout.readline() == "epoch 1\n"
    with (folder / "log.txt").open("a") as log:
        log.write("epoch 2 ✓\n")
    store.settle(claim, JobState.SUCCEEDED)
    out, _ = following.communicate(timeout=20)
    assert out == "epoch 2 ✓\n"


def test_metrics_and_ledger_print_as_csv(terminal: Terminal, job_id: str, store: JobStore, client: Any) -> None:
    claim = claimed(store)
    store.report(claim, 1, [("metrics", {"epoch": 1, "step": 4, "val_nrmse": 0.9, "train_loss": 0.5}, {})])
    Ledger(client).commit(claim, 0, 3, "cpu")
    [head, row] = terminal.eegq("metrics", job_id, "--name", "val_nrmse", "-o", "csv").stdout.splitlines()
    assert dict(zip(head.split(","), row.split(","), strict=True))["val_nrmse"] == "0.9"
    assert "train_loss" not in head
    [run] = json.loads(terminal.eegq("ledger", job_id).stdout)
    assert (run["first"], run["last"], run["device"]) == (0, 3, "cpu")


def test_events_are_json_lines_when_piped(terminal: Terminal, job_id: str) -> None:
    [line] = terminal.eegq("events", job_id).stdout.splitlines()
    assert json.loads(line)["type"] == "submitted"


def test_gc_lists_first_and_deletes_only_when_told(terminal: Terminal, job_id: str, store: JobStore) -> None:
    terminal.eegq("cancel", job_id)
    assert json.loads(terminal.eegq("gc", "--older", "0").stdout) == [job_id]
    assert store.get(job_id).state is JobState.CANCELLED
    terminal.eegq("gc", "--older", "0", "--yes")
    with pytest.raises(UnknownJob):
        store.get(job_id)


def test_pools_say_what_is_missing(terminal: Terminal) -> None:
    done = terminal.eegq("pools", "-o", "table")
    assert "0 CPU workers" in done.stderr
    assert "auto" in done.stdout


def test_a_login_stores_a_key_that_works_and_refuses_one_that_does_not(service: LiveService, tmp_path: Path) -> None:
    terminal = Terminal(tmp_path)
    assert terminal.eegq("login", service.url, "--key", "eegq_wrong").returncode == 5
    done = terminal.eegq("login", service.url, "--name", "lab", stdin=f"{service.key}\n")
    assert done.returncode == 0, done.stderr
    assert terminal.eegq("ls").returncode == 0
    assert terminal.eegq("--profile", "lab", "key").stdout.strip() == service.key
    assert terminal.eegq("--profile", "box", "ls").returncode == 2


def test_a_reader_that_goes_away_is_no_error(terminal: Terminal, job_id: str) -> None:
    listing = terminal.start("ls", "-o", "jsonl")
    assert listing.stdout is not None
    listing.stdout.close()
    assert listing.stderr is not None
    assert listing.stderr.read() == ""
    assert listing.wait(20) == 0
