"""The agenda of the page at /demo: the items of a session with a plan, in a real Chromium with a real server."""

from collections.abc import Callable
from typing import Any

import httpx
from playwright.sync_api import BrowserContext, Page, expect

from tests.processes import Process

ADA, BEN = "0198c0de-0000-7000-8000-00000000000a", "0198c0de-0000-7000-8000-00000000000b"
PLAN: list[dict[str, Any]] = [
    {"item_id": "opening", "title": "Opening <b>", "time_ms": 300_000},
    {"item_id": "budget", "title": "Budget", "time_ms": 600_000, "participant_id": ADA},
    {"item_id": "end", "time_ms": 60_000, "participant_id": BEN},
]


def statuses(page: Page) -> list[str]:
    found: list[str] = page.locator("#agenda li").evaluate_all("items => items.map(each => each.dataset.status)")
    return found


def test_agenda_shows_items_with_planned_and_expected_starts_and_begins_the_next_item(
    new_context: Callable[[], BrowserContext], module_server: Process
) -> None:
    people = [{"participant_id": ADA, "display_name": "Ada"}, {"participant_id": BEN, "display_name": "Ben"}]
    body = {"sync_mode": "per_cycle", "on_timeout": "overtime", "participants": people, "plan": PLAN}
    with httpx.Client(base_url=module_server.base_url) as client:
        session_id = client.post("/v1/sessions", json=body).json()["data"]["session_id"]
        page = new_context().new_page()
        page.goto(f"{module_server.base_url}/demo?session={session_id}")
        items = page.locator("#agenda li")
        expect(items).to_have_count(3)
        expect(items.nth(0).locator("[part=title]")).to_have_text("Opening <b>")
        expect(items.nth(0).locator("[part=time]")).to_have_text("5:00")
        expect(items.nth(1).locator("[part=detail]")).to_have_text("Ada")
        expect(items.nth(1).locator("[part=start]")).to_contain_text("expected")
        expect(page.get_by_role("button", name="Next item")).to_be_hidden()

        client.post(f"/v1/sessions/{session_id}/start")
        expect(items.nth(0)).to_have_attribute("data-status", "running")
        expect(items.nth(1).locator("[part=start]")).to_contain_text("planned")
        expect(page.locator("#formula-player")).to_have_text("The item reads")
        page.get_by_role("button", name="Next item").click()
        expect(items.nth(1)).to_have_attribute("data-status", "running")
        assert statuses(page) == ["done", "running", "pending"]
        expect(items.nth(0).locator("[part=start]")).not_to_contain_text("expected")
        expect(page.locator("#agenda [part=offset]")).to_contain_text("early")

        client.post(f"/v1/sessions/{session_id}/switch", json={"hold": True})
        expect(items.nth(2)).to_have_attribute("data-status", "next")
        expect(page.get_by_role("button", name="Next item")).to_be_hidden()
        client.post(f"/v1/sessions/{session_id}/complete")
        expect(items.nth(2)).to_have_attribute("data-status", "pending")
        expect(items.nth(2).locator("[part=start]")).not_to_contain_text("expected")
        expect(page.locator("#agenda [part=offset]")).to_have_text("finished")
