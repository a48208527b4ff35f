"""The page at /demo in a real Chromium, on a real server: what people see is what the server decided."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, Route, expect

from synckairos.config import Settings
from tests.e2e.chromium import PATIENCE_MS, chromium
from tests.processes import Process

FLAG_MS = 10_000


@pytest.fixture(scope="module")
def browser(template_database: str) -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Callable[[], BrowserContext]]:
    """Open browsers that know nothing of each other. No script may fail in any, no request leave for elsewhere."""
    contexts: list[BrowserContext] = []
    failures: list[str] = []
    hosts: set[str] = set()

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("console", lambda message: failures.append(message.text) if "Security Policy" in message.text else None)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or ""))

    def open_context() -> BrowserContext:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(PATIENCE_MS)
        context.on("page", watch)
        contexts.append(context)
        return context

    yield open_context
    for context in contexts:
        context.close()
    assert not failures
    assert hosts <= {"127.0.0.1"}


@pytest.fixture
def page(new_context: Callable[[], BrowserContext], serve_process: Process) -> Page:
    """Open the page as a newcomer does: it makes a game of 3+2 and waits for the first press."""
    page = new_context().new_page()
    page.goto(f"{serve_process.base_url}/demo")
    for side in ("white", "black"):
        expect_mood(page, side, "pending")
    return page


def board(page: Page, side: str) -> Locator:
    return page.locator(f'.board[data-side="{side}"]')


def press(page: Page, side: str) -> None:
    board(page, side).locator(".press").click()


def clock_face(ms: int) -> str:
    return f"{ms // 60_000}:{ms // 1000 % 60:02}"


def expect_mood(page: Page, side: str, mood: str) -> None:
    expect(board(page, side)).to_have_attribute("data-mood", mood)


def expect_active(page: Page, side: str) -> None:
    """Wait until exactly this side's board is lit, and its clock runs."""
    expect(page.locator(".board.lit")).to_have_count(1)
    expect(page.locator(f'.board.lit[data-side="{side}"]')).to_have_attribute("data-mood", "running")


def expect_version(page: Page, side: str, version: int) -> None:
    """Wait until this board's own socket brought the version."""
    expect(board(page, side).locator(".tape .in").first).to_contain_text(f"v{version}")


def start_game(page: Page, preset: str) -> None:
    before = session_id(page)
    page.get_by_role("button", name="New game").click()
    page.locator(f'.presets button[value="{preset}"]').click()
    page.wait_for_url(lambda url: before not in url)
    expect(page.locator(".board:not([data-mood='pending'])")).to_have_count(0)


def session_id(page: Page) -> str:
    return parse_qs(urlsplit(page.url).query)["session"][0]


def origin(page: Page) -> str:
    url = urlsplit(page.url)
    return f"{url.scheme}://{url.netloc}"


def state_of(page: Page) -> dict[str, Any]:
    """Ask the server, not the page."""
    answer = page.request.get(f"{origin(page)}/v1/sessions/{session_id(page)}")
    assert answer.ok
    state: dict[str, Any] = answer.json()["data"]
    return state


PAINTED = """() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => {
    const read = (board, name) => board.querySelector(name).textContent;
    done(Object.fromEntries([...document.querySelectorAll('.board')].flatMap(board => [
        [board.dataset.side, read(board, '.digits')],
        [`rival of ${board.dataset.side}`, read(board, '.rival-time')],
    ])));
})))"""


def shown(page: Page) -> dict[str, str]:
    """Read every clock on the page, in one go, right after a frame was painted."""
    texts: dict[str, str] = page.evaluate(PAINTED)
    return texts


def plus_ms(instant: str, ms: int) -> str:
    moved = datetime.fromisoformat(instant) + timedelta(milliseconds=ms)
    return moved.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def test_a_press_moves_both_boards(page: Page) -> None:
    press(page, "black")  # as at a real board: Black sets White's clock going
    expect_active(page, "white")
    for side in ("white", "black"):
        expect_version(page, side, 2)
    expect(board(page, "white").locator(".main")).to_have_text("2:59")
    clocks = shown(page)
    assert clocks["white"] == clocks["rival of black"]
    assert clocks["black"] == clocks["rival of white"] == "3:00"

    press(page, "white")
    expect_active(page, "black")
    for side in ("white", "black"):
        expect_version(page, side, 3)
    state = state_of(page)
    assert state["version"] == 3
    white = state["participants"][0]
    assert white["cycle_count"] == 1
    assert 180_000 < white["time_remaining_ms"] <= 182_000  # 3 minutes less what was thought, plus the increment
    expect(board(page, "white").locator(".moves")).to_have_text("1 move")


def test_each_board_has_a_socket_of_its_own(new_context: Callable[[], BrowserContext], serve_process: Process) -> None:
    page = new_context().new_page()
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    page.goto(f"{serve_process.base_url}/demo")
    expect_mood(page, "white", "pending")
    expect_mood(page, "black", "pending")
    assert len(sockets) == 2
    assert {parse_qs(urlsplit(url).query)["sessionId"][0] for url in sockets} == {session_id(page)}


def test_whoever_is_not_to_move_presses_in_vain(page: Page) -> None:
    press(page, "white")
    expect_active(page, "white")
    idle = board(page, "black").locator(".press")
    expect(idle).to_have_attribute("aria-disabled", "true")
    idle.click(force=True)
    press(page, "white")
    expect_active(page, "black")
    assert state_of(page)["version"] == 3


def test_pause_and_resume(page: Page) -> None:
    press(page, "white")
    expect_active(page, "white")
    page.get_by_role("button", name="Pause").click()
    for side in ("white", "black"):
        expect_mood(page, side, "paused")
    state = state_of(page)
    assert state["status"] == "paused"
    before = shown(page)
    assert before["white"] == clock_face(state["participants"][0]["time_remaining_ms"])

    page.keyboard.press("p")
    expect_active(page, "white")
    assert state_of(page)["participants"][0]["time_remaining_ms"] == state["participants"][0]["time_remaining_ms"]


def test_the_space_bar_presses_whoever_is_to_move(page: Page) -> None:
    page.keyboard.press("Space")
    expect_active(page, "white")
    page.keyboard.press("Space")
    expect_active(page, "black")
    page.get_by_role("button", name="New game").click()
    page.keyboard.press("Escape")
    page.keyboard.press("Space")  # what was clicked doesn't keep the space bar
    expect_active(page, "white")
    assert state_of(page)["version"] == 4


def test_time_can_be_given(page: Page) -> None:
    page.get_by_role("button", name="Give Black 15 seconds").click()
    expect(board(page, "black").locator(".main")).to_have_text("3:15")
    expect(board(page, "white").locator(".rival-time")).to_have_text("3:15")


def test_another_browser_joins_by_its_link(page: Page, new_context: Callable[[], BrowserContext]) -> None:
    phone, wall = new_context().new_page(), new_context().new_page()
    page.get_by_role("button", name="Join").click()
    expect(page.locator("#qr")).to_be_visible()
    phone.goto(page.locator("#link").get_attribute("href") or "")
    page.get_by_label("The wall").check()
    wall.goto(page.locator("#link").get_attribute("href") or "")
    page.keyboard.press("Escape")
    expect(phone.locator(".board")).to_have_count(1)
    expect_mood(phone, "black", "pending")
    expect_mood(wall, "white", "pending")

    press(page, "white")
    expect(board(phone, "black").locator(".hint")).to_have_text("Waiting for White")
    expect_active(wall, "white")
    press(page, "white")
    expect_active(phone, "black")
    expect_active(wall, "black")
    press(phone, "black")
    expect_active(page, "white")
    expect_active(wall, "white")

    start_game(page, "1+0")  # everybody comes along
    for watcher in (phone, wall):
        watcher.wait_for_url(f"**session={session_id(page)}*")
        expect_mood(watcher, "black", "pending")
        expect(board(watcher, "black").locator(".main")).to_have_text("1:00")


@pytest.mark.slow
def test_a_flag_falls_with_nobody_pressing(page: Page, new_context: Callable[[], BrowserContext]) -> None:
    start_game(page, "0:10")
    watcher = new_context().new_page()
    watcher.goto(page.url)
    expect_mood(watcher, "black", "pending")
    press(page, "black")
    for each in (page, watcher):
        expect(board(each, "white")).to_have_attribute("data-low", "true")
        expect_mood(each, "white", "flagged")
        expect_mood(each, "black", "won")
        expect(board(each, "white").locator(".digits")).to_have_text("0:00.0")
        expect(each.locator("[aria-live]")).to_have_text("White’s flag fell.")
    state = state_of(page)
    assert state["status"] == "expired"
    assert state["session_completed_at"] == plus_ms(state["session_started_at"], FLAG_MS)
    expect(page.get_by_role("button", name="Pause")).to_be_disabled()


def test_the_connection_is_lost_and_comes_back(
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
    again = Process("serve", "--port", str(port), env=settings.environ())
    try:
        again.wait_ready()
        expect_active(page, "white")
        expect(board(page, "black").locator(".tape .in").first).to_contain_text("state_sync")
        press(page, "white")
        expect_active(page, "black")
    finally:
        again.stop()


def test_a_refusal_is_told_in_the_servers_words(page: Page) -> None:
    press(page, "white")
    expect_active(page, "white")
    white = state_of(page)["active_participant_id"]

    def be_late(route: Route) -> None:
        """Let another client press first, on the way."""
        first = page.request.post(route.request.url, data={"current_participant_id": white})
        assert first.ok
        route.continue_()

    page.route("**/switch", be_late)
    with page.expect_response("**/switch") as refused:
        press(page, "white")
    assert refused.value.status == 409
    expect(page.locator("#note")).to_contain_text(refused.value.json()["detail"])
    expect_active(page, "black")
    page.get_by_role("button", name="Dismiss").click()
    expect(page.locator("#note")).to_be_hidden()
    assert state_of(page)["version"] == 3


def test_a_game_that_is_not_there_says_so(new_context: Callable[[], BrowserContext], serve_process: Process) -> None:
    page = new_context().new_page()
    page.goto(f"{serve_process.base_url}/demo?session=00000000-0000-4000-8000-000000000000&board=white")
    expect_mood(page, "white", "gone")
    start_game(page, "5+3")
    page.request.delete(f"{origin(page)}/v1/sessions/{session_id(page)}")
    expect_mood(page, "white", "gone")


def test_a_device_whose_clock_is_wrong_reads_the_same(page: Page, new_context: Callable[[], BrowserContext]) -> None:
    ahead = new_context()
    ahead.add_init_script("{ const now = Date.now; Date.now = () => now() + 3_600_000; }")
    other = ahead.new_page()
    other.goto(page.url)
    expect_mood(other, "white", "pending")
    press(page, "white")
    expect_active(other, "white")
    expect(board(other, "white").locator(".main")).to_have_text("2:58")
    expect(board(page, "white").locator(".main")).to_have_text("2:58")
