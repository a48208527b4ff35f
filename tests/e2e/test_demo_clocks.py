"""The clocks of the page at /demo for sessions that are no game of two, in a real Chromium with a real server."""

from collections.abc import Callable
from typing import Any

import httpx
from playwright.sync_api import BrowserContext, Locator, Page, expect

from tests.processes import Process

ADA, BEN = "0198c0de-0000-7000-8000-00000000000a", "0198c0de-0000-7000-8000-00000000000b"
EXAM: dict[str, Any] = {
    "sync_mode": "individual",
    "total_time_ms": 3_600_000,
    "participants": [
        {"participant_id": ADA, "display_name": "Ada"},
        {"participant_id": BEN, "display_name": "Ben", "time_factor": 1.25},
    ],
}


def create(server: Process, body: dict[str, Any]) -> str:
    answer = httpx.post(f"{server.base_url}/v1/sessions", json=body, trust_env=False)
    session_id: str = answer.raise_for_status().json()["data"]["session_id"]
    return session_id


def row(page: Page, name: str) -> Locator:
    return page.locator("#clocks li").filter(has_text=name)


def button(page: Page, name: str) -> Locator:
    return page.locator("#clocks sync-controls").get_by_role("button", name=name, exact=True)


def test_exam_shows_all_clocks_and_commands_one_of_them_or_all(
    new_context: Callable[[], BrowserContext], module_server: Process
) -> None:
    page = new_context().new_page()
    page.goto(f"{module_server.base_url}/demo?session={create(module_server, EXAM)}")
    expect(row(page, "Ada")).to_contain_text("not started")
    expect(row(page, "Ben")).to_contain_text("1.25 × time")
    expect(page.locator(".board").first).to_be_hidden()
    expect(page.locator("#pause")).to_be_hidden()
    expect(button(page, "Press")).to_be_hidden()

    page.get_by_label("Buttons for").select_option("Ben")
    button(page, "Start").click()
    expect(row(page, "Ben")).to_have_attribute("aria-current", "true")
    expect(row(page, "Ada")).to_contain_text("not started")
    button(page, "Finish").click()
    expect(row(page, "Ben")).to_contain_text("finished")

    page.get_by_label("Buttons for").select_option("All clocks")
    button(page, "Start").click()
    expect(row(page, "Ada")).to_have_attribute("aria-current", "true")
    button(page, "Finish all").click()
    expect(row(page, "Ada")).to_contain_text("finished")


def test_link_to_one_clock_shows_and_finishes_only_this_clock(
    new_context: Callable[[], BrowserContext], module_server: Process
) -> None:
    session_id = create(module_server, EXAM)
    page = new_context().new_page()
    page.goto(f"{module_server.base_url}/demo?session={session_id}")
    page.get_by_label("Buttons for").select_option("Ben")
    page.get_by_role("button", name="Join").click()
    expect(page.locator("#seats")).to_be_hidden()
    link = page.locator("#link").get_attribute("href")
    assert link == f"{module_server.base_url}/demo?session={session_id}&only={BEN}"

    own = new_context().new_page()
    own.goto(link)
    expect(own.locator("#clocks li")).to_have_count(1)
    expect(own.get_by_label("Buttons for")).to_be_hidden()
    httpx.post(f"{module_server.base_url}/v1/sessions/{session_id}/start", trust_env=False).raise_for_status()
    button(own, "Finish").click()
    expect(row(own, "Ben")).to_contain_text("finished")
    expect(row(page, "Ben")).to_contain_text("finished")
    expect(row(page, "Ada")).to_have_attribute("aria-current", "true")


def test_session_without_participants_shows_its_own_clock(
    new_context: Callable[[], BrowserContext], module_server: Process
) -> None:
    session_id = create(module_server, {"sync_mode": "global", "total_time_ms": 600_000, "participants": []})
    page = new_context().new_page()
    page.goto(f"{module_server.base_url}/demo?session={session_id}")
    expect(page.locator("#clocks li [part=time]")).to_have_text("10:00")
    button(page, "Start").click()
    expect(page.locator("#clocks li")).to_have_attribute("aria-current", "true")
    button(page, "Pause").click()
    expect(page.locator("#clocks li")).to_contain_text("paused")
