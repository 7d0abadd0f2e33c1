"""The dashboard's pure modules, called in the browser: what is counted, told and drawn from a job's values."""

from typing import Any

import pytest

from tests.browser.dashboard import PATIENCE_MS, Dashboard
from tests.stack import Stack, tiny

expect = pytest.importorskip("playwright.sync_api").expect
expect.set_options(timeout=PATIENCE_MS)
pytestmark = pytest.mark.timeout(600)
MARKUP = "<img src=x onerror=alert(1)>"
MANY = 10_000


def call(dashboard: Dashboard, module: str, body: str, argument: Any) -> Any:
    """`body` sees the module's exports as `m` and the argument as `a`."""
    page = dashboard.page("#/pools")
    return page.evaluate(f"async (a) => {{ const m = await import('./web/{module}.js'); {body} }}", argument)


def job(**fields: Any) -> dict[str, Any]:
    attempt = {"pool": "gpu", "worker": "w", "outcome": None, "fault": None, "resumed_at_step": None}
    attempts = [{**attempt, "number": i + 1, **own} for i, own in enumerate(fields.pop("attempts", [{}]))]
    return {"attempts": attempts, "placement": {"requested": "gpu"}, "progress": None, "error": None, **fields}


def run(first: int, last: int, device: str, attempt: int = 1, **more: Any) -> dict[str, Any]:
    return {"attempt": attempt, "first": first, "last": last, "device": device, "superseded": False, **more}


def test_spread_over_seeds_is_the_sample_deviation_and_groups_ignore_seeds(dashboard: Dashboard) -> None:
    jobs = [
        {"spec": {"seed": seed, "tags": [], "metadata": {}, "training": {"lr": lr}, "model": {"name": "N"}},
         "tags": ["group:a"] if lr == 1 else [], "best": {"value": value, "baseline": 1.0}}
        for seed, lr, value in [(0, 1, 0.5), (1, 1, 0.7), (0, 2, 0.9)]
    ]  # fmt: skip
    groups = call(dashboard, "groups", "return m.groupsOf(a)", jobs)
    assert [(g["name"], round(g["mean"], 6), g["spread"] and round(g["spread"], 6)) for g in groups] == [
        ("a", 0.6, 0.141421),
        ("N", 0.9, None),
    ]


def test_a_lost_device_is_told_with_the_steps_that_are_computed_again(dashboard: Dashboard) -> None:
    attempts = [
        {"device": "cuda:0", "outcome": "requeued", "fault": {"kind": "killed", "message": "SIGSEGV"}, "ended_at": "x"},
        {"device": "cpu", "pool": "cpu", "resumed_at_step": 8, "started_at": "y"},
    ]
    runs = [run(0, 7, "cuda:0"), run(8, 10, "cuda:0", superseded=True), run(8, 9, "cpu", 2)]
    body = """
      const {sentence} = await import('./web/timeline_shapes.js');
      return m.tell(a.job, a.runs, []).moves.map(sentence)"""
    told = call(dashboard, "timeline_story", body, {"job": job(attempts=attempts), "runs": runs})
    assert told == ["Attempt 1 on cuda:0: trainer died; went on on cpu from step 8, 3 steps computed again."]


def test_many_thousand_moved_batches_are_few_elements(dashboard: Dashboard) -> None:
    runs = [
        run(i, i, "cpu" if i % 2 else "cuda:0", reason="non_finite" if i % 2 else None) for i in range(MANY)
    ]  # fmt: skip
    body = """
      const shapes = await import('./web/timeline_shapes.js'), {drawing} = await import('./web/timeline_drawing.js');
      const story = m.tell(a.job, a.runs, []);
      const picture = drawing(story, shapes.bySteps(story, a.job), 1000, {chosen: null, choose() {}, about: ''});
      return picture.querySelectorAll('*').length"""
    elements = call(dashboard, "timeline_story", body, {"job": job(attempts=[{"device": "cuda:0"}]), "runs": runs})
    assert elements < MANY / 5


def test_what_users_name_is_shown_as_text(dashboard: Dashboard, stack: Stack) -> None:
    job_id = stack.submit(tiny(placement="gpu", tags=(MARKUP,), metadata={MARKUP: MARKUP}), owner="admin")
    page = dashboard.page("#/jobs")
    expect(page.get_by_text(MARKUP).first).to_be_visible()
    assert page.locator("img:not([src='web/icon.svg'])").count() == 0
    stack.store.cancel(job_id)
