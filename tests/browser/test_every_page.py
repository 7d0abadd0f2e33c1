"""What holds on every page: no finding of axe, nothing wider than a phone, keys alone get everywhere."""

from pathlib import Path
from typing import Any

import pytest

from tests.browser.dashboard import PATIENCE_MS, Dashboard

expect = pytest.importorskip("playwright.sync_api").expect
AXE = Path(__file__).with_name("axe.min.js")
PAGES = ["#/jobs", "#/new", "#/job/{0}", "#/job/{0}/results", "#/compare?ids={0},{1}", "#/leaderboard",
         "#/data", "#/pools", "docs"]  # fmt: skip
expect.set_options(timeout=PATIENCE_MS)
pytestmark = pytest.mark.timeout(600)
WORSE_THAN_MINOR = {"moderate", "serious", "critical"}
RUN = "() => axe.run(document, {resultTypes: ['violations']})"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(dashboard: Dashboard, pair: tuple[str, str], scheme: str) -> None:
    found = {}
    for where in PAGES:
        page = opened(dashboard, where.format(*pair))
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for details in page.locator("details").all()[:4]:
            details.evaluate("(node) => (node.open = true)")
        found[where] = findings(page)
        page.close()
    assert not any(found.values()), found


def test_axe_finds_nothing_at_the_door(visitor: Dashboard) -> None:
    assert findings(visitor.page("")) == []


def test_no_page_is_wider_than_a_phone(dashboard: Dashboard, pair: tuple[str, str]) -> None:
    wide = {}
    for where in PAGES:
        page = opened(dashboard, where.format(*pair), width=390, height=800)
        wide[where] = page.evaluate("document.documentElement.scrollWidth")
        page.close()
    assert set(wide.values()) == {390}, wide


def test_the_keyboard_alone_gets_to_a_fault_and_its_reason(dashboard: Dashboard, pair: tuple[str, str]) -> None:
    page = opened(dashboard, f"#/job/{pair[0]}")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to content")
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('pin')"):
            break
    expect(page.locator(".timeline-detail")).to_contain_text("out of memory")


def test_the_pages_come_with_a_strict_policy_and_nothing_inline(dashboard: Dashboard) -> None:
    answer = dashboard.context.request.get(f"{dashboard.url}/")
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    assert "unsafe" not in answer.headers["content-security-policy"]
    again = dashboard.context.request.get(f"{dashboard.url}/web/app.js", headers={"If-None-Match": etag(dashboard)})
    assert again.status == 304


def etag(dashboard: Dashboard) -> str:
    return dashboard.context.request.get(f"{dashboard.url}/web/app.js").headers["etag"]


def opened(dashboard: Dashboard, where: str, **viewport: int) -> Any:
    page = dashboard.page(where, **viewport)
    page.wait_for_load_state("networkidle" if where == "docs" else "load")
    expect(page.locator("h1").first).not_to_have_text("This could not be shown")
    return page


def findings(page: Any) -> list[str]:
    """Moderate ones and worse: the rule, the element, what is wrong with it."""
    page.evaluate(AXE.read_text())
    violations = page.evaluate(RUN)["violations"]
    return [
        f"{rule['id']}: {node['html'][:120]} {node['failureSummary']}"
        for rule in violations
        if rule["impact"] in WORSE_THAN_MINOR
        for node in rule["nodes"]
    ]
