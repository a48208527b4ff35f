"""The page at /demo with authentication, in a real Chromium: sign-in, each role, and the ends of a token."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import BrowserContext, Page, expect
from pydantic import SecretStr

from synckairos.config import Settings
from tests.e2e.chromium import TIMEOUT_MS
from tests.e2e.demo_page import board, expect_active, expect_mood, origin, press, session_id
from tests.integration.authentication import bearer, make_token
from tests.integration.rest_server import chess_body
from tests.processes import Process, spawn_server
from tests.tokens import SECRET


def with_authentication(settings: Settings) -> Settings:
    return settings.model_copy(update={"auth": "required", "jwt_secret": SecretStr(SECRET)})


@pytest.fixture(scope="module")
def server(module_settings: Settings) -> Iterator[Process]:
    process = spawn_server(with_authentication(module_settings))
    yield process
    process.stop()


@pytest.fixture
def page(new_context: Callable[[], BrowserContext]) -> Page:
    return new_context().new_page()


def call(server: Process, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Send a request as an administrator and return its data."""
    headers = bearer(make_token(role="admin", sub="root")) | {"content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"{server.base_url}{path}", data, headers, method=method)) as answer:
        text = answer.read()
    found: dict[str, Any] = json.loads(text)["data"] if text else {}
    return found


def create_game(server: Process) -> dict[str, Any]:
    """Create a game between White and Black. Return its session."""
    participants = chess_body()["participants"]
    for each, name in zip(participants, ("White", "Black"), strict=True):
        each["display_name"] = name
    return call(server, "POST", "/v1/sessions", chess_body(participants=participants))


def command(server: Process, game: dict[str, Any], verb: str) -> None:
    call(server, "POST", f"/v1/sessions/{game['session_id']}/{verb}", {})


def token_for(game: dict[str, Any], role: str, **claims: Any) -> str:
    """Return a token with a grant on one game only."""
    return make_token(
        role=role, sub=f"the {role}".replace(" ", "-"), grants=[{"sessions": [game["session_id"]]}], **claims
    )


def open_game(page: Page, server: Process, game: dict[str, Any], token: str) -> None:
    page.goto(f"{server.base_url}/demo?session={game['session_id']}#token={token}")


def sign_in(page: Page, text: str) -> None:
    page.get_by_label("This server needs a token").fill(text)
    page.get_by_role("button", name="Sign in").click()


UNTIL_NO_TOKEN_IS_KEPT = """async (timeoutMs) => {
    const end = performance.now() + timeoutMs;
    while (Object.values({ ...sessionStorage, ...localStorage }).some(each => each.includes("."))) {
        if (performance.now() > end) throw new Error("the page still keeps a token");
        await new Promise(done => setTimeout(done, 10));
    }
}"""
"""A wait in the page. `wait_for_function` evaluates a text at each try, which the policy of the page refuses."""


def expect_signed_out(page: Page, reason: str) -> None:
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    expect(page.locator("#sign-in-reason")).to_have_text(reason)
    expect(page.locator(".board")).to_have_count(0)
    expect(page.locator("#caller")).to_be_hidden()
    # Two attempts in a row can have the same reason. The page keeps the token until the server has refused it.
    page.evaluate(UNTIL_NO_TOKEN_IS_KEPT, TIMEOUT_MS)


def test_link_with_a_token_signs_in_and_the_token_is_in_no_url_storage_of_the_browser_or_log(
    page: Page, server: Process
) -> None:
    token = make_token(role="admin", sub="root")
    urls: list[str] = []
    referrers: list[str | None] = []
    page.on("request", lambda request: urls.append(request.url))
    page.on("request", lambda request: referrers.append(request.headers.get("referer")))
    page.on("websocket", lambda socket: urls.append(socket.url))
    page.goto(f"{server.base_url}/demo#token={token}")
    expect_mood(page, "white", "pending")
    expect_mood(page, "black", "pending")
    assert page.url == f"{server.base_url}/demo?session={session_id(page)}"
    expect(page.locator("#caller-name")).to_have_text("root (admin)")

    press(page, "black")
    expect_active(page, "white")
    tickets = [ticket for url in urls for ticket in parse_qs(urlsplit(url).query).get("ticket", [])]
    assert len(tickets) == len(set(tickets)) == 2, "one ticket for each socket"
    assert not [url for url in urls if token in url]
    assert set(referrers) <= {None, ""}
    assert page.context.cookies() == []
    assert page.evaluate("history.length") <= 2
    assert page.evaluate("JSON.stringify(history.state) + document.referrer + location.href").count("token") == 0
    assert page.evaluate("Object.keys(localStorage)") == []
    assert not [each for each in (token, *tickets) if each in server.output]

    page.reload()
    expect_active(page, "white")
    page.go_back()
    page.go_forward()
    expect_active(page, "white")


def test_page_without_a_token_asks_for_one_and_says_why_a_bad_one_is_refused(page: Page, server: Process) -> None:
    game = create_game(server)
    page.goto(f"{server.base_url}/demo?session={game['session_id']}")
    expect_signed_out(page, "")
    sign_in(page, "not a token")
    expect_signed_out(page, "This text is no token. A token has no spaces, and only ASCII characters.")
    sign_in(page, "abc.def.ghi")
    expect_signed_out(page, "The token is not a JSON Web Token")
    sign_in(page, token_for(game, "viewer", exp=time.time() - 31))
    expect_signed_out(page, "The token has expired")
    sign_in(page, token_for(game, "viewer", exp=time.time() - 1))  # the server still accepts it for 30 s
    expect_signed_out(page, "The token has expired")
    sign_in(page, f" Bearer {token_for(game, 'viewer')} ")
    expect_mood(page, "white", "pending")
    expect(page.get_by_role("heading", name="Sign in")).to_be_hidden()
    page.get_by_role("button", name="Sign out").click()
    expect_signed_out(page, "")
    assert session_id(page) == game["session_id"]


NO_TOKENS = ("", "%20", "a%20b", "%E2%82%AC", "%00", "%", "a" * 8_000, "x&token=y")
"""Values of `token` in the fragment that are no valid token."""


def test_fragment_that_is_no_token_removes_the_earlier_token_and_leaves_the_address(
    page: Page, server: Process
) -> None:
    game = create_game(server)
    token = token_for(game, "viewer")
    page.goto(f"{server.base_url}/demo?session={game['session_id']}")
    for text in NO_TOKENS:
        for fragment, boards in ((f"token={token}", 2), (f"token={text}", 0)):
            page.evaluate("fragment => { location.hash = fragment; }", fragment)
            expect(page.locator(".board")).to_have_count(boards)
        expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
        assert page.url == f"{server.base_url}/demo?session={game['session_id']}"
        assert page.evaluate("sessionStorage.getItem('synckairos-demo-token')") is None


def test_odd_id_of_a_game_in_the_address_is_shown_like_a_missing_game(page: Page, server: Process) -> None:
    for session in ("x", "%3Cimg%20src=x%20onerror=alert(1)%3E", "a%26ticket=b", "..%2F..%2Fv1%2Faccess"):
        page.goto(f"{server.base_url}/demo?session={session}#token={make_token(role='viewer')}")
        expect_mood(page, "white", "gone")
        assert shown_buttons(page) == []


def test_subject_and_names_are_shown_as_text(page: Page, server: Process) -> None:
    markup = "<img/src=x/onerror=alert(1)>"
    game = create_game(server)
    token = make_token(role="viewer", sub=markup, grants=[{"sessions": [game["session_id"]]}])
    open_game(page, server, game, token)
    expect(page.locator("#caller-name")).to_have_text(f"{markup} (viewer)")
    assert page.locator("#caller img").count() == 0


def test_role_that_could_not_be_read_is_read_again_with_the_next_connection(page: Page, server: Process) -> None:
    game = create_game(server)
    page.route("**/v1/me?session_id=*", lambda route: route.fulfill(status=500, json={}), times=1)
    open_game(page, server, game, token_for(game, "controller"))
    expect(page.locator("#note")).to_contain_text("status 500")
    call(server, "POST", "/v1/disconnect", {"subject": "the-controller"})
    expect(board(page, "white").locator(".hint")).to_have_text("Press to start")


def test_server_that_refuses_too_many_tokens_shows_the_wait_instead_of_the_form(page: Page, server: Process) -> None:
    game = create_game(server)
    problem = {"status": 429, "detail": "Too many requests; try again in 1 s", "error": {"code": "RATE_LIMIT_EXCEEDED"}}
    page.goto(f"{server.base_url}/demo?session={game['session_id']}")
    expect_signed_out(page, "")
    page.route("**/v1/me", lambda route: route.fulfill(status=429, headers={"Retry-After": "1"}, json=problem), times=1)
    sign_in(page, token_for(game, "viewer"))
    expect(page.locator("#refused-reason")).to_have_text("Too many requests")
    expect(page.get_by_role("heading", name="Sign in")).to_be_hidden()
    page.get_by_role("button", name="Try again", exact=True).click()
    expect_mood(page, "white", "pending")


BUTTONS = (
    *("New game", "Pause", "Give White 15 seconds", "Give Black 15 seconds"),
    *("Press White’s clock", "Press Black’s clock"),
)


def shown_buttons(page: Page) -> list[str]:
    return [name for name in BUTTONS if page.get_by_role("button", name=name).is_visible()]


@pytest.mark.parametrize(
    ("role", "buttons", "hint"),
    [
        ("viewer", [], "To move"),
        ("participant", ["Pause", "Press White’s clock"], "Press when you have moved"),
        ("controller", [each for each in BUTTONS if each != "New game"], "Press when you have moved"),
    ],
)
def test_page_has_only_the_buttons_that_the_role_allows(
    page: Page, server: Process, role: str, buttons: list[str], hint: str
) -> None:
    game = create_game(server)
    white = game["participants"][0]["participant_id"]
    open_game(page, server, game, token_for(game, role, participant_id=white))
    hints = {"viewer": "Waiting for the start", "participant": "Waiting for the start", "controller": "Press to start"}
    expect(board(page, "white").locator(".hint")).to_have_text(hints[role])
    expect(page.locator("#caller-name")).to_have_text(f"the-{role} ({role})")
    command(server, game, "start")
    expect_active(page, "white")
    expect(board(page, "white").locator(".hint")).to_have_text(hint)
    assert shown_buttons(page) == buttons
    page.keyboard.press("Space")
    page.keyboard.press("p")
    if role == "viewer":
        command(server, game, "switch")
        expect_active(page, "black")
        assert call(server, "GET", f"/v1/sessions/{game['session_id']}")["version"] == 3, "no key had an effect"
    else:
        expect_mood(page, "white", "paused")
        assert call(server, "GET", f"/v1/sessions/{game['session_id']}")["version"] == 4
    expect(page.locator("#note")).to_be_hidden()


def test_participant_ends_its_own_turn_and_only_its_own_pause(page: Page, server: Process) -> None:
    game = create_game(server)
    white = game["participants"][0]["participant_id"]
    open_game(page, server, game, token_for(game, "participant", participant_id=white))
    expect_mood(page, "white", "pending")
    command(server, game, "start")
    expect_active(page, "white")
    press(page, "white")
    expect_active(page, "black")
    page.get_by_role("button", name="Pause").click()
    expect_mood(page, "white", "paused")
    page.get_by_role("button", name="Resume").click()
    expect_active(page, "black")
    command(server, game, "pause")
    expect_mood(page, "white", "paused")
    expect(page.locator("#pause")).to_be_hidden()
    command(server, game, "resume")
    expect_active(page, "black")
    expect(page.locator("#pause")).to_be_visible()


def test_participant_of_another_game_only_watches(page: Page, server: Process) -> None:
    game = create_game(server)
    command(server, game, "start")
    stranger = create_game(server)["participants"][0]["participant_id"]
    open_game(page, server, game, token_for(game, "participant", participant_id=stranger))
    expect_active(page, "white")
    assert shown_buttons(page) == []


def test_game_out_of_reach_is_shown_like_a_missing_game(page: Page, server: Process) -> None:
    own, foreign = create_game(server), create_game(server)
    open_game(page, server, foreign, token_for(own, "controller"))
    for side in ("white", "black"):
        expect_mood(page, side, "gone")
    assert shown_buttons(page) == []


def test_caller_without_a_game_that_cannot_create_one_chooses_a_game(page: Page, server: Process) -> None:
    game = create_game(server)
    page.goto(f"{server.base_url}/demo#token={token_for(game, 'viewer')}")
    expect(page.get_by_role("heading", name="Open a game")).to_be_visible()
    page.get_by_label("Paste the link or the id of a game").fill("nothing")
    page.get_by_role("button", name="Open", exact=True).click()
    expect(page.locator("#note")).to_contain_text("This text has no id of a game.")
    page.get_by_label("Paste the link or the id of a game").fill(
        f"https://example.org/demo?session={game['session_id'].upper()}"
    )
    page.get_by_role("button", name="Open", exact=True).click()
    expect_mood(page, "white", "pending")
    expect(page.get_by_role("heading", name="Open a game")).to_be_hidden()


def test_expired_token_ends_the_game_and_a_new_one_opens_it_again(page: Page, server: Process) -> None:
    game = create_game(server)
    open_game(page, server, game, token_for(game, "controller", exp=time.time() + 2))
    press(page, "white")
    expect_active(page, "white")
    expect_signed_out(page, "The token has expired")
    page.evaluate("token => { location.hash = `token=${token}`; }", token_for(game, "controller"))
    expect_active(page, "white")
    assert page.url == f"{server.base_url}/demo?session={game['session_id']}"


def test_revoked_token_ends_the_game(page: Page, server: Process) -> None:
    game = create_game(server)
    open_game(page, server, game, token_for(game, "viewer", jti=game["session_id"]))
    expect_mood(page, "white", "pending")
    call(server, "POST", "/v1/revocations", {"jti": game["session_id"]})
    expect_signed_out(page, "The token was revoked")


def test_page_of_a_disconnected_subject_connects_again(page: Page, server: Process) -> None:
    game = create_game(server)
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    open_game(page, server, game, token_for(game, "viewer"))
    for side in ("white", "black"):
        expect_mood(page, side, "pending")
    with page.expect_websocket(lambda _: len(sockets) == 4):
        call(server, "POST", "/v1/disconnect", {"subject": "the-viewer"})
    command(server, game, "start")
    for side in ("white", "black"):  # each board has its own socket, so both have connected again
        expect_mood(page, side, "running")
    assert len(sockets) == len(set(sockets)) == 4


def test_sign_out_removes_the_sessions_that_the_tab_kept(page: Page, server: Process) -> None:
    game = create_game(server)
    open_game(page, server, game, token_for(game, "viewer"))
    expect_mood(page, "white", "pending")
    page.evaluate("sessionStorage.setItem('synckairos:https://example.org:1', '{\"version\": 1.5}')")
    page.get_by_role("button", name="Sign out").click()
    expect_signed_out(page, "")


def test_tab_that_the_page_opens_has_no_token(page: Page, server: Process) -> None:
    game = create_game(server)
    open_game(page, server, game, token_for(game, "controller"))
    expect_mood(page, "white", "pending")
    page.get_by_role("button", name="Join").click()
    expect(page.locator("#join-token")).to_contain_text("The link has no token.")
    with page.context.expect_page() as opened:
        page.locator("#link").click()
    assert opened.value.url == f"{origin(page)}/demo?session={game['session_id']}&board=black"
    expect_signed_out(opened.value, "")


def test_signed_in_page_reconnects_after_a_restart_of_the_server(
    page: Page, settings: Settings, start_server: Callable[[Settings], Process]
) -> None:
    server = start_server(with_authentication(settings))
    game = create_game(server)
    open_game(page, server, game, token_for(game, "controller"))
    press(page, "white")
    expect_active(page, "white")
    server.kill()
    for side in ("white", "black"):
        expect_mood(page, side, "lost")
    env = with_authentication(settings).to_environment_variables()
    again = Process("serve", "--port", str(urlsplit(server.base_url).port), env=env)
    try:
        again.wait_ready()
        expect_active(page, "white")
        press(page, "white")
        expect_active(page, "black")
    finally:
        again.stop()


def test_without_authentication_a_token_has_no_effect_and_is_not_kept(
    page: Page, module_settings: Settings, start_server: Callable[[Settings], Process]
) -> None:
    server = start_server(module_settings)
    page.goto(f"{server.base_url}/demo#token={make_token()}")
    expect_mood(page, "white", "pending")
    assert page.url == f"{server.base_url}/demo?session={session_id(page)}"
    expect(page.locator("#caller")).to_be_hidden()
    assert page.evaluate("Object.keys(sessionStorage)") == ["synckairos-demo-session"]
