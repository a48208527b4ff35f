"""The page at /demo in a real Chromium with a real server: the page shows the states of the server."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Locator, Page, Route, expect

from synckairos.config import Settings
from synckairos.http.qr_code import BORDER
from tests.e2e.demo_page import board, expect_active, expect_mood, origin, press, session_id
from tests.processes import Process
from tests.qr_decoder import decode, parse_svg

FLAG_MS = 2_000
"""Milliseconds that White has in the game whose time runs out."""


@pytest.fixture
def page(new_context: Callable[[], BrowserContext], module_server: Process) -> Page:
    """Open the page without parameters. The page creates a 3+2 game, which waits for the first press."""
    page = new_context().new_page()
    page.goto(f"{module_server.base_url}/demo")
    for side in ("white", "black"):
        expect_mood(page, side, "pending")
    return page


def clock_face(ms: int) -> str:
    return f"{ms // 60_000}:{ms // 1000 % 60:02}"


def expect_version(page: Page, side: str, version: int) -> None:
    """Wait until the socket of this board received the version."""
    expect(board(page, side).locator(".tape .in").first).to_contain_text(f"v{version}")


def expect_qr_code(image: Locator, link: str) -> None:
    """Wait until an image is loaded, and check that it is the QR code of a link."""
    expect(image).to_be_visible()
    source = urljoin(image.page.url, image.get_attribute("src") or "")
    assert image.evaluate("each => each.decode().then(() => each.naturalWidth)") > 0
    assert decode(parse_svg(image.page.request.get(source).text(), BORDER)) == link


def start_game(page: Page, preset: str) -> None:
    before = session_id(page)
    page.get_by_role("button", name="New game").click()
    page.locator(f'.presets button[value="{preset}"]').click()
    page.wait_for_url(lambda url: before not in url)
    expect(page.locator(".board:not([data-mood='pending'])")).to_have_count(0)


def state_of(page: Page) -> dict[str, Any]:
    """Read the state of the page's session from the server."""
    answer = page.request.get(f"{origin(page)}/v1/sessions/{session_id(page)}")
    assert answer.ok
    state: dict[str, Any] = answer.json()["data"]
    return state


READ_CLOCKS = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
    const read = (board, name) => board.querySelector(name).textContent;
    done(Object.fromEntries([...document.querySelectorAll('.board')].flatMap(board => [
        [board.dataset.side, read(board, '.digits')],
        [`opponent of ${board.dataset.side}`, read(board, '.opponent-time')],
    ])));
})))"""


def shown_clocks(page: Page) -> dict[str, str]:
    """Return the texts of all clocks on the page. All texts are read after the same painted frame."""
    texts: dict[str, str] = page.evaluate(READ_CLOCKS)
    return texts


def add_ms(instant: str, ms: int) -> str:
    moved = datetime.fromisoformat(instant) + timedelta(milliseconds=ms)
    return moved.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_press_changes_both_boards(page: Page) -> None:
    press(page, "black")  # as at a real chess clock: Black's press starts the clock of White
    expect_active(page, "white")
    for side in ("white", "black"):
        expect_version(page, side, 2)
    expect(board(page, "white").locator(".main")).to_have_text("2:59")
    clocks = shown_clocks(page)
    assert clocks["white"] == clocks["opponent of black"]
    assert clocks["black"] == clocks["opponent of white"] == "3:00"

    press(page, "white")
    expect_active(page, "black")
    for side in ("white", "black"):
        expect_version(page, side, 3)
    state = state_of(page)
    assert state["version"] == 3
    white = state["participants"][0]
    assert white["cycle_count"] == 1
    assert 180_000 < white["time_remaining_ms"] <= 182_000  # 3 minutes minus the elapsed time plus the increment
    expect(board(page, "white").locator(".moves")).to_have_text("1 move")


def test_each_board_has_its_own_socket(new_context: Callable[[], BrowserContext], module_server: Process) -> None:
    page = new_context().new_page()
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(f"{module_server.base_url}/demo")
    expect_mood(page, "white", "pending")
    expect_mood(page, "black", "pending")
    assert len(sockets) == 2
    assert {urlsplit(url).path for url in sockets} == {"/ws"}


def test_page_works_where_websockets_are_blocked(
    new_context: Callable[[], BrowserContext], module_server: Process
) -> None:
    context = new_context()
    context.route_web_socket("**/ws", lambda socket: socket.close())
    page = context.new_page()
    with page.expect_response("**/v3/stream"):
        page.goto(f"{module_server.base_url}/demo")
    expect_mood(page, "white", "pending")
    press(page, "white")
    expect_active(page, "white")
    press(page, "white")
    expect_active(page, "black")


def test_press_of_the_side_that_is_not_to_move_has_no_effect(page: Page) -> None:
    press(page, "white")
    expect_active(page, "white")
    idle = board(page, "black").locator(".press")
    expect(idle).to_have_attribute("aria-disabled", "true")
    idle.click(force=True)
    press(page, "white")
    expect_active(page, "black")
    assert state_of(page)["version"] == 3


def test_paused_clock_keeps_its_reading_until_it_is_resumed(page: Page) -> None:
    press(page, "white")
    expect_active(page, "white")
    page.get_by_role("button", name="Pause").click()
    for side in ("white", "black"):
        expect_mood(page, side, "paused")
    state = state_of(page)
    assert state["status"] == "paused"
    before = shown_clocks(page)
    assert before["white"] == clock_face(state["participants"][0]["time_remaining_ms"])

    page.keyboard.press("p")
    expect_active(page, "white")
    assert state_of(page)["participants"][0]["time_remaining_ms"] == state["participants"][0]["time_remaining_ms"]


def test_space_bar_presses_the_clock_of_the_side_to_move(page: Page) -> None:
    page.keyboard.press("Space")
    expect_active(page, "white")
    page.keyboard.press("Space")
    expect_active(page, "black")
    page.get_by_role("button", name="New game").click()
    page.keyboard.press("Escape")
    page.keyboard.press("Space")  # a clicked button does not keep the focus, so it does not get the space bar
    expect_active(page, "white")
    assert state_of(page)["version"] == 4


def test_given_time_is_shown_on_both_boards(page: Page) -> None:
    page.get_by_role("button", name="Give Black 15 seconds").click()
    expect(board(page, "black").locator(".main")).to_have_text("3:15")
    expect(board(page, "white").locator(".opponent-time")).to_have_text("3:15")


def test_other_browsers_that_open_the_links_show_the_same_game(
    page: Page, new_context: Callable[[], BrowserContext]
) -> None:
    phone, wall = new_context().new_page(), new_context().new_page()
    page.get_by_role("button", name="Join").click()
    expect(page.locator("#join-warning")).to_contain_text("works only on this machine")
    link = page.locator("#link").get_attribute("href") or ""
    expect_qr_code(page.locator("#qr"), link)
    phone.goto(link)
    page.get_by_label("Wall display").check()
    wall.goto(page.locator("#link").get_attribute("href") or "")
    page.keyboard.press("Escape")
    expect(phone.locator(".board")).to_have_count(1)
    expect_mood(phone, "black", "pending")
    expect_mood(wall, "white", "pending")
    for side in ("white", "black"):
        seat = wall.locator(f'.board[data-side="{side}"] .seat')
        expect_qr_code(seat, f"{origin(page)}/demo?session={session_id(page)}&board={side}")
        expect(board(wall, side).locator(".hint")).to_contain_text("works only on this machine")

    press(page, "white")
    expect(board(phone, "black").locator(".hint")).to_have_text("Waiting for White")
    expect_active(wall, "white")
    press(page, "white")
    expect_active(phone, "black")
    expect_active(wall, "black")
    press(phone, "black")
    expect_active(page, "white")
    expect_active(wall, "white")

    start_game(page, "1+0")  # all screens move to the new game
    for watcher in (phone, wall):
        watcher.wait_for_url(f"**session={session_id(page)}*")
        expect_mood(watcher, "black", "pending")
        expect(board(watcher, "black").locator(".main")).to_have_text("1:00")


@pytest.mark.slow
def test_time_that_runs_out_without_a_press_ends_the_game(
    page: Page, new_context: Callable[[], BrowserContext]
) -> None:
    start_game(page, "0:10")
    take = {"delta_ms": FLAG_MS - 10_000, "participant_ids": [state_of(page)["participants"][0]["participant_id"]]}
    assert page.request.post(f"{origin(page)}/v1/sessions/{session_id(page)}/adjust", data=take).ok
    watcher = new_context().new_page()
    watcher.goto(page.url)
    expect_mood(watcher, "black", "pending")
    press(page, "black")
    for each in (page, watcher):
        expect(board(each, "white")).to_have_attribute("data-low", "true")
        expect_mood(each, "white", "flagged")
        expect_mood(each, "black", "won")
        expect(board(each, "white").locator(".digits")).to_have_text("0:00.0")
        expect(each.locator("#announcement")).to_have_text("White’s time is up.")
        fallen = board(each, "white").locator(".flag")
        expect(fallen).to_have_css("translate", "18px 62px")
        expect(fallen).to_have_css("rotate", "90deg")
        expect(board(each, "black").locator(".flag")).to_have_css("translate", "none")
    state = state_of(page)
    assert state["status"] == "expired"
    assert state["session_completed_at"] == add_ms(state["session_started_at"], FLAG_MS)
    expect(page.get_by_role("button", name="Pause")).to_be_disabled()


def test_page_reconnects_after_a_restart_of_the_server(
    new_context: Callable[[], BrowserContext], settings: Settings, start_server: Callable[[Settings], Process]
) -> None:
    server = start_server(settings)
    page = new_context().new_page()
    page.goto(f"{server.base_url}/demo")
    press(page, "white")
    expect_active(page, "white")

    server.kill()
    for side in ("white", "black"):
        expect_mood(page, side, "lost")
    expect(page.get_by_role("button", name="Pause")).to_be_disabled()

    port = urlsplit(server.base_url).port
    again = Process("serve", "--port", str(port), env=settings.to_environment_variables())
    try:
        again.wait_ready()
        expect_active(page, "white")
        expect(board(page, "black").locator(".tape .in").first).to_contain_text("resumed")
        press(page, "white")
        expect_active(page, "black")
    finally:
        again.stop()


def test_white_has_a_white_pawn_and_black_a_black_pawn(page: Page) -> None:
    fill = "each => getComputedStyle(each).fill"
    assert board(page, "white").locator(".pawn").evaluate(fill) == "rgb(255, 254, 248)"
    assert board(page, "black").locator(".pawn").evaluate(fill) == "rgb(13, 19, 16)"


def test_page_that_is_loaded_again_shows_the_same_game_until_it_ends(page: Page) -> None:
    first, url = session_id(page), page.url.partition("?")[0]
    page.goto(url)
    expect_mood(page, "white", "pending")
    assert session_id(page) == first
    assert page.request.post(f"{origin(page)}/v1/sessions/{first}/cancel").ok
    page.goto(url)
    expect_mood(page, "white", "pending")
    assert session_id(page) != first


def test_refused_creation_shows_the_reason_and_a_button_that_works_after_the_wait(
    new_context: Callable[[], BrowserContext], module_server: Process
) -> None:
    page = new_context().new_page()

    def refuse(route: Route) -> None:
        detail = "Too many requests for the general limit; try again in 1 s"
        problem = {"status": 429, "detail": detail, "error": {"code": "RATE_LIMIT_EXCEEDED", "message": detail}}
        route.fulfill(status=429, headers={"Retry-After": "1"}, json=problem)

    page.route("**/v1/sessions", refuse, times=1)
    page.goto(f"{module_server.base_url}/demo")
    expect(page.locator("#refused-reason")).to_have_text("Too many requests for the general limit")
    expect(page.locator("#note")).to_be_hidden()
    page.get_by_role("button", name="Try again", exact=True).click()
    expect_mood(page, "white", "pending")
    expect(page.locator("#refused")).to_be_hidden()


def test_refused_press_shows_the_message_of_the_server(page: Page) -> None:
    press(page, "white")
    expect_active(page, "white")
    white = state_of(page)["active_participant_id"]

    def press_first(route: Route) -> None:
        """Let another client press while the request of the page is delayed."""
        first = page.request.post(route.request.url, data={"current_participant_id": white})
        assert first.ok
        route.continue_()

    page.route("**/switch", press_first)
    with page.expect_response("**/switch") as refused:
        press(page, "white")
    assert refused.value.status == 409
    expect(page.locator("#note")).to_contain_text(refused.value.json()["detail"])
    expect_active(page, "black")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#note")).to_be_hidden()
    assert state_of(page)["version"] == 3


def test_missing_and_deleted_games_are_shown_as_gone(
    new_context: Callable[[], BrowserContext], module_server: Process
) -> None:
    page = new_context().new_page()
    page.goto(f"{module_server.base_url}/demo?session=00000000-0000-4000-8000-000000000000&board=white")
    expect_mood(page, "white", "gone")
    start_game(page, "5+3")
    page.request.delete(f"{origin(page)}/v1/sessions/{session_id(page)}")
    expect_mood(page, "white", "gone")


def test_device_with_a_wrong_clock_shows_the_same_readings(
    page: Page, new_context: Callable[[], BrowserContext]
) -> None:
    ahead = new_context()
    ahead.add_init_script("{ const now = Date.now; Date.now = () => now() + 3_600_000; }")
    other = ahead.new_page()
    other.goto(page.url)
    expect_mood(other, "white", "pending")
    press(page, "white")
    expect_active(other, "white")
    expect(board(other, "white").locator(".main")).to_have_text("2:58")
    expect(board(page, "white").locator(".main")).to_have_text("2:58")
