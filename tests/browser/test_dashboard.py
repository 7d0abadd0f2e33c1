"""The dashboard as a person uses it: from the first visit to a failed-over job's results, in a real browser."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from jobs.job import JobState, Pool
from jobs.spec import JobSpec
from tests.browser.dashboard import Dashboard
from tests.conftest import wait_until
from tests.stack import Stack, tiny

expect = pytest.importorskip("playwright.sync_api").expect
EPOCHS = 12
FAULT_STEP = 7
# When a mark of the timeline first comes to be, by the clock that also stamps the events.
WATCH_FOR_PIN = """(step) => new Promise((resolve) => {
  const look = () => {
    if (document.querySelector(`.pin[data-step="${step}"][data-kind="out_of_memory"]`)) resolve(Date.now());
    else requestAnimationFrame(look);
  };
  look();
})"""


@pytest.fixture(scope="module")
def drilled(stack: Stack) -> str:
    """A job on the stand-in GPU that runs out of memory at one step; not waited for."""
    wait_until(lambda: stack.fleet.ready(Pool.GPU), 90)
    drill = [{"kind": "oom", "step": FAULT_STEP, "times": 2}]
    return stack.submit(tiny(EPOCHS, placement="gpu", drill=drill, tags=("group:pair",)), owner="admin")


@pytest.fixture(scope="module")
def succeeded(stack: Stack, drilled: str) -> str:
    assert stack.wait(drilled, 90).state is JobState.SUCCEEDED
    return drilled


def test_the_first_visit_asks_for_a_key_and_then_shows_how_to_begin(visitor: Dashboard) -> None:
    page = visitor.page("")
    page.get_by_label("API key").fill("eegq_wrong")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_have_text("This key is not known.")
    page.get_by_label("API key").fill(visitor.key)
    page.keyboard.press("Enter")
    expect(page.get_by_text("No jobs yet")).to_be_visible()
    expect(page.locator(".command")).to_contain_text("curl --json")
    assert visitor.key not in page.evaluate("document.cookie + JSON.stringify({...localStorage, ...sessionStorage})")


def test_the_form_shows_what_the_api_says_of_each_field_and_submits(dashboard: Dashboard) -> None:
    page = dashboard.page("#/new")
    epochs = page.get_by_label("Epochs")
    epochs.fill("many")
    page.get_by_label("Model").fill("NoSuchNet")
    expect(page.locator("#field-training-epochs-problem")).to_contain_text("valid integer")
    expect(epochs).to_have_attribute("aria-invalid", "true")
    epochs.fill("2")
    expect(page.locator("#field-model-name-problem")).to_contain_text("NoSuchNet")
    page.get_by_label("Model").fill("SCCNet")
    page.get_by_label("Batch size").fill("8")
    page.get_by_label("Runs on").select_option("cpu")
    page.get_by_label("Group").fill("pair")
    expect(page.get_by_text("In order: one job")).to_be_visible()
    page.get_by_role("button", name="Submit").click()
    expect(page).to_have_url(re.compile(r"#/job/job_"))
    spec = JobSpec.model_validate(json.loads(page.get_by_role("region", name="Spec as JSON").text_content() or ""))
    assert (spec.training.epochs, spec.training.batch_size, spec.tags) == (2, 8, ("group:pair",))


def test_a_fault_shows_in_the_timeline_while_the_job_runs_and_the_curve_grows(
    dashboard: Dashboard, stack: Stack, drilled: str, record_property: Callable[[str, object], None]
) -> None:
    page = dashboard.page(f"#/job/{drilled}")
    seen_at = page.evaluate(WATCH_FOR_PIN, FAULT_STEP) / 1000
    assert not stack.store.get(drilled).state.final, "seen only after the end: the page is not live"
    happened_at = next(e["at"] for e in stack.store.events(drilled, limit=1000) if e["type"] == "fault")
    record_property("seconds_from_fault_to_timeline", round(seen_at - happened_at, 3))
    print(f"fault visible after {seen_at - happened_at:.3f} s")
    chart = page.get_by_role("img", name=re.compile("Learning curve"))
    for epoch in (1, EPOCHS):
        expect(chart).to_have_attribute("aria-label", re.compile(rf"at {epoch}$|at [2-9]$|at 1\d$"), timeout=60_000)
    expect(page.locator(".status.succeeded").first).to_be_visible(timeout=60_000)
    expect(page.locator(".bar.cpu.moved")).to_have_count(1)
    pin = page.locator(f'.pin[data-step="{FAULT_STEP}"]')
    pin.focus()
    expect(page.locator(".timeline-detail")).to_contain_text(
        f"Step {FAULT_STEP}: out of memory on standin:0; computed on cpu"
    )


def test_the_timeline_tells_time_and_has_tables(dashboard: Dashboard, succeeded: str) -> None:
    page = dashboard.page(f"#/job/{succeeded}")
    page.get_by_role("button", name="By time").click()
    expect(page.locator(".bar.gpu.solid").first).to_be_visible()
    page.get_by_text("View steps as table").click()
    rows = page.get_by_role("region", name="Where every run of steps was computed").get_by_role("row")
    expect(rows.nth(2)).to_contain_text("out of memory")


def test_a_running_job_is_cancelled_from_its_page(dashboard: Dashboard, stack: Stack) -> None:
    job_id = stack.submit(tiny(epochs=2000), owner="admin")
    page = dashboard.page(f"#/job/{job_id}")
    stack.until(job_id, lambda job: job.state is JobState.RUNNING)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".title-row .status.cancelled")).to_be_visible(timeout=60_000)
    assert stack.store.get(job_id).state is JobState.CANCELLED


def test_the_list_filters_and_leads_to_a_comparison(dashboard: Dashboard, stack: Stack, succeeded: str) -> None:
    wait_until(lambda: len(finished(stack)) > 1, 90)
    page = dashboard.page("#/jobs?tag=group:pair")
    rows = page.locator("table.jobs tbody tr")
    expect(rows).to_have_count(2)
    for row in rows.all():
        row.get_by_role("checkbox").check()
    page.get_by_role("link", name="Compare 2").click()
    expect(page.get_by_role("region", name="Differences between specs")).to_contain_text("training.epochs")
    expect(page.get_by_role("img", name=re.compile("Validation NRMSE by epoch"))).to_be_visible()
    page.goto(f"{dashboard.url}/#/jobs?status=failed")
    expect(page.get_by_text("No job fits this filter")).to_be_visible()


def test_what_is_downloaded_is_the_file_of_the_run(dashboard: Dashboard, stack: Stack, succeeded: str) -> None:
    page = dashboard.page(f"#/job/{succeeded}")
    with page.expect_download() as started:
        page.get_by_role("link", name="weights.safetensors").click()
    path = stack.runs / succeeded / "results" / "weights.safetensors"
    assert started.value.path().read_bytes() == path.read_bytes()


def test_results_show_predictions_beside_the_baseline(dashboard: Dashboard, succeeded: str) -> None:
    page = dashboard.page(f"#/job/{succeeded}")
    page.get_by_role("link", name="Results").click()
    expect(page.get_by_role("img", name=re.compile("Predicted against true"))).to_be_visible()
    expect(page.locator(".tiles")).to_contain_text("Baseline: training mean")


def test_while_redis_is_away_the_last_known_jobs_stay_and_say_their_age(
    dashboard: Dashboard, stack: Stack, succeeded: str
) -> None:
    page = dashboard.page("#/jobs")
    names = page.locator(".job-name")
    expect(names.first).to_be_visible()
    known = names.count()
    stack.redis.kill()
    try:
        banner = page.locator(".banner")
        expect(banner).to_contain_text("Redis is away")
        expect(banner).to_contain_text(re.compile(r"known [\d.]+ s ago"))
        expect(names).to_have_count(known)
        page.reload()
        expect(names).to_have_count(known)
        expect(banner).to_be_visible()
    finally:
        stack.redis.start()
    expect(banner).to_be_hidden()


def finished(stack: Stack) -> list[Any]:
    return [job for job in stack.store.page(state=JobState.SUCCEEDED, limit=100) if "group:pair" in job.spec.tags]
