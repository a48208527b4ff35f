"""The pure parts of the page at /demo, run by the browser they are meant for; no server."""

import hashlib
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
    """Open a blank page whose scripts come straight from the source tree."""

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
    ],
)
def test_what_stands_on_a_clock(page: Page, ms: int, digits: str, tenths: str) -> None:
    face = page.evaluate("async ms => (await import('/demo/reading.js')).face(ms)", ms)
    assert face == {"digits": digits, "tenths": tenths}


STARTED = "2026-01-01T00:00:00.000Z"
STARTED_MS = 1_767_225_600_000


@pytest.mark.parametrize(
    ("changed", "at_ms", "reading"),
    [
        ({}, 2_500, 7_500),
        ({}, 10_000, 0),
        ({}, 12_000, 0),  # the server says when a flag falls; until then it reads zero
        ({}, -3, 10_000),  # what is estimated may be a little early
        ({"cycle_started_at": None}, 2_500, 10_000),
        ({"active_participant_id": "b"}, 2_500, 10_000),
    ],
)
def test_a_reading_is_calculated(page: Page, changed: dict[str, Any], at_ms: int, reading: int) -> None:
    state = {"cycle_started_at": STARTED, "active_participant_id": "a", **changed}
    calculated = page.evaluate(
        "async ([state, now]) => (await import('/demo/reading.js'))"
        ".readingMs(state, { participant_id: 'a', time_remaining_ms: 10_000 }, now)",
        [state, STARTED_MS + at_ms],
    )
    assert calculated == reading


def test_the_answer_with_the_shortest_way_tells_the_time(page: Page) -> None:
    learned = page.evaluate("""async () => {
        const { ServerTime } = await import('/demo/servertime.js');
        let now = 1_000;
        const time = new ServerTime(() => now);
        time.learn(0, 500_150, 200);      // 200 ms there and back, so wrong by up to 100
        time.learn(900, 500_905, 910);    // 10 ms: this one counts
        time.learn(910, 500_990, 1_000);
        const soon = { now: time.now(), error: Math.round(time.best.errorMs) };
        now += 1_000_000;                 // a quarter of an hour of drift: now a fresh answer of 100 ms is worth more
        time.learn(now - 100, 1_500_951, now);
        return { soon, later: time.now() };
    }""")
    assert learned == {"soon": {"now": 501_000, "error": 5}, "later": 1_501_001}


QR_TEXT = "http://192.168.178.20:3000/demo?session=01890a5d-ac96-774b-bcce-b302099a8057&board=black"
QR_SHA256 = "bc7c8a822fa237c62e837cf97129de1b75e57d826cd6c890bb75d840eedac82d"
"""What python-qrcode 8 makes of it at level M with mask 2."""


def test_a_qr_code_is_what_other_encoders_make(page: Page) -> None:
    rows: list[str] = page.evaluate(
        "async text => (await import('/demo/qr.js')).qr(text).map(row => row.map(Number).join(''))", QR_TEXT
    )
    assert len(rows) == 41
    assert hashlib.sha256("\n".join(rows).encode()).hexdigest() == QR_SHA256


def test_a_text_too_long_for_a_code_gives_none(page: Page) -> None:
    lengths = page.evaluate("""async () => {
        const { qr } = await import('/demo/qr.js');
        return [qr('x'.repeat(180)).length, qr('x'.repeat(181))];
    }""")
    assert lengths == [53, None]
