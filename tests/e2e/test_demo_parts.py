"""The pure functions of the demo page, run in a real browser without a server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, Route

import synckairos
from tests.e2e.chromium import chromium

STATIC = Path(synckairos.__file__).parent / "http" / "static"


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """Open a blank page that loads scripts directly from the source tree."""

    def serve(route: Route) -> None:
        if route.request.url.endswith(".js"):
            path = STATIC / route.request.url.split("://demo.test/")[1]
            route.fulfill(path=path, content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html>", content_type="text/html")

    with chromium() as browser:
        page = browser.new_page()
        page.route("**", serve)
        page.goto("http://demo.test/")
        yield page


@pytest.mark.parametrize(
    ("ms", "digits", "tenths"),
    [
        (180_000, "3:00", ""),
        (179_999, "2:59", ""),
        (20_000, "0:20", ""),
        (19_999, "0:19", ".9"),
        (50, "0:00", ".0"),
        (0, "0:00", ".0"),
        (3_600_000, "1:00:00", ""),
        (36_061_001, "10:01:01", ""),
        (90_061_001, "1d 01:01:01", ""),
        (-1_500, "−0:01", ".5"),
    ],
)
def test_reading_is_rounded_down_and_shows_tenths_below_20_s(page: Page, ms: int, digits: str, tenths: str) -> None:
    formatted = page.evaluate("async ms => (await import('/demo/reading.js')).formatReading(ms)", ms)
    assert formatted == {"digits": digits, "tenths": tenths}


STARTED = "2026-01-01T00:00:00.000Z"
STARTED_MS = 1_767_225_600_000


@pytest.mark.parametrize(
    ("changed", "at_ms", "reading"),
    [
        ({}, 2_500, 7_500),
        ({}, 10_000, 0),
        ({}, 12_000, 0),  # The server decides when a budget expires. Until its message arrives, the reading stays 0.
        ({}, -3, 10_000),  # The estimated server time can be a little before the start.
        ({"cycle_started_at": None}, 2_500, 10_000),
        ({"active_participant_id": "b"}, 2_500, 10_000),
    ],
)
def test_reading_is_remaining_time_minus_elapsed_time_of_the_running_clock(
    page: Page, changed: dict[str, Any], at_ms: int, reading: int
) -> None:
    state = {"cycle_started_at": STARTED, "active_participant_id": "a", **changed}
    calculated = page.evaluate(
        "async ([state, now]) => (await import('/demo/reading.js'))"
        ".readingMs(state, { participant_id: 'a', time_remaining_ms: 10_000 }, now)",
        [state, STARTED_MS + at_ms],
    )
    assert calculated == reading


@pytest.mark.parametrize(
    ("before", "after", "event"),
    [
        ("expired", "paused", "session_reopened"),
        ("completed", "paused", "session_reopened"),
        ("running", "paused", "session_paused"),
        ("pending", "running", "session_started"),
        ("paused", "running", "session_resumed"),
    ],
)
def test_event_between_two_states_follows_from_their_statuses(page: Page, before: str, after: str, event: str) -> None:
    states = [{"epoch": "e", "status": status, "participants": []} for status in (before, after)]
    found = page.evaluate("async states => (await import('/demo/reading.js')).eventBetween(...states)", states)
    assert found == event
