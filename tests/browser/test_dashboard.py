"""The dashboard as a person uses it: from the first visit to a failed-over job's results, in a real browser."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from jobs.job import JobState
from jobs.spec import JobSpec
from tests.browser.conftest import EPOCHS, FAULT_STEP, PATIENCE_S
from tests.browser.dashboard import PATIENCE_MS, Dashboard
from tests.stack import Stack

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=PATIENCE_MS)
pytestmark = pytest.mark.timeout(600)
PIN = f'.pin[data-step="{FAULT_STEP}"]'
PIN_SEEN_AT = f"document.querySelector('{PIN}[data-kind=out_of_memory]') && Date.now()"
FIRST_POINT = r"/at \d+$/.test(document.querySelector('.chart').ariaLabel)"
STATUS = "document.querySelector('.title-row .status').textContent"


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


def test_the_form_shows_what_the_api_says_of_each_field(dashboard: Dashboard) -> None:
    page = dashboard.page("#/new")
    epochs = page.get_by_label("Epochs")
    epochs.fill("many")
    expect(page.locator("#field-training-epochs-problem")).to_contain_text("valid integer")
    expect(epochs).to_have_attribute("aria-invalid", "true")
    epochs.fill("2")
    page.get_by_label("Model").fill("NoSuchNet")
    expect(page.locator("#field-model-name-problem")).to_contain_text("NoSuchNet")
    expect(page.get_by_role("button", name="Submit")).to_be_disabled()


def test_a_job_is_submitted_from_the_form_and_cancelled_from_its_page(
    dashboard: Dashboard, stack: Stack, workers: None
) -> None:
    page = dashboard.page("#/new")
    page.get_by_label("Epochs").fill("2000")
    page.get_by_label("Batch size").fill("8")
    page.get_by_label("Runs on").select_option("cpu")
    page.get_by_label("Group").fill("long")
    expect(page.get_by_text("In order: one job")).to_be_visible()
    page.get_by_role("button", name="Submit").click()
    expect(page).to_have_url(re.compile(r"#/job/job_"))
    spec = JobSpec.model_validate(json.loads(page.get_by_role("region", name="Spec as JSON").text_content() or ""))
    assert (spec.training.epochs, spec.training.batch_size, spec.tags) == (2000, 8, ("group:long",))
    job_id = page.url.rpartition("/")[2]
    stack.until(job_id, lambda job: job.state is JobState.RUNNING, PATIENCE_S)
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".title-row .status.cancelled")).to_be_visible()
    assert stack.store.get(job_id).state is JobState.CANCELLED


def test_a_fault_shows_in_the_timeline_while_the_job_runs_and_the_curve_grows(
    dashboard: Dashboard, stack: Stack, drilled: str, record_property: Callable[[str, object], None]
) -> None:
    page = dashboard.page(f"#/job/{drilled}")
    seen_at = watched(page, PIN_SEEN_AT) / 1000
    assert not stack.store.get(drilled).state.final, "seen only after the end: the page is not live"
    happened_at = next(e["at"] for e in stack.store.events(drilled, limit=1000) if e["type"] == "fault")
    record_property("seconds_from_fault_to_timeline", round(seen_at - happened_at, 3))
    print(f"fault visible after {seen_at - happened_at:.3f} s")
    chart = page.get_by_role("img", name=re.compile("Learning curve"))
    assert "running" in watched(page, f"{FIRST_POINT} && {STATUS}"), "the curve came only with the end"
    expect(chart).to_have_attribute("aria-label", re.compile(rf", at {EPOCHS}$"))
    expect(page.locator(".title-row .status.succeeded")).to_be_visible()
    expect(page.locator(".bar.cpu.moved")).to_have_count(1)
    page.locator(PIN).focus()
    expect(page.locator(".timeline-detail")).to_contain_text(
        f"Step {FAULT_STEP}: out of memory on standin:0; computed on cpu"
    )


def test_the_timeline_tells_time_and_has_tables(dashboard: Dashboard, pair: tuple[str, str]) -> None:
    page = dashboard.page(f"#/job/{pair[0]}")
    page.get_by_role("button", name="By time").click()
    expect(page.locator(".bar.gpu.solid").first).to_be_visible()
    page.get_by_text("View steps as table").click()
    rows = page.get_by_role("region", name="Where every run of steps was computed").get_by_role("row")
    expect(rows.nth(2)).to_contain_text("out of memory")


def test_the_list_filters_and_leads_to_a_comparison(dashboard: Dashboard, pair: tuple[str, str]) -> None:
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


def test_what_is_downloaded_is_the_file_of_the_run(dashboard: Dashboard, stack: Stack, pair: tuple[str, str]) -> None:
    page = dashboard.page(f"#/job/{pair[0]}")
    with page.expect_download() as started:
        page.get_by_role("link", name="weights.safetensors").click()
    path = stack.runs / pair[0] / "results" / "weights.safetensors"
    assert started.value.path().read_bytes() == path.read_bytes()


def test_results_show_predictions_beside_the_baseline(dashboard: Dashboard, pair: tuple[str, str]) -> None:
    page = dashboard.page(f"#/job/{pair[0]}")
    page.get_by_role("link", name="Results").click()
    expect(page.get_by_role("img", name=re.compile("Predicted against true"))).to_be_visible()
    expect(page.locator(".tiles")).to_contain_text("Baseline: training mean")


def test_while_redis_is_away_the_last_known_jobs_stay_and_say_their_age(
    dashboard: Dashboard, stack: Stack, pair: tuple[str, str]
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


def watched(page: Any, expression: str) -> Any:
    """The first value of a JavaScript expression that is true; it is asked at every frame, so nothing passes unseen."""
    look = f"const found = {expression}; if (found) resolve(found); else requestAnimationFrame(look);"
    return page.evaluate(f"() => new Promise((resolve) => {{ const look = () => {{ {look} }}; look(); }})")
