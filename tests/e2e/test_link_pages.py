"""Links in a real Chromium: two phones redeem a link at /view, and a console link signs in at /console."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner
from playwright.sync_api import BrowserContext, Page, expect
from pydantic import SecretStr

from synckairos.cli import main
from synckairos.config import Settings
from tests.integration.authentication import bearer, make_token
from tests.integration.rest_server import chess_body
from tests.processes import Process, spawn_server
from tests.tokens import SECRET


@pytest.fixture(scope="module")
def server(module_settings: Settings) -> Iterator[Process]:
    process = spawn_server(module_settings.model_copy(update={"auth": "required", "jwt_secret": SecretStr(SECRET)}))
    yield process
    process.stop()


def call(server: Process, method: str, path: str, body: Any = None, token: str | None = None) -> Any:
    """Send a request, by default as an administrator, and return its data. Raises: HTTPError."""
    headers = bearer(token or make_token(role="admin", sub="root")) | {"content-type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(f"{server.base_url}{path}", data, headers, method=method)) as answer:
        text = answer.read()
    return json.loads(text)["data"] if text else None


def stored_token(page: Page) -> str:
    found: str = page.evaluate("sessionStorage.getItem('synckairos-demo-token')")
    return found


def expect_live(page: Page) -> None:
    expect(page.locator("html")).to_have_attribute("data-state", "live")


def test_two_phones_redeem_a_link_and_go_on_after_a_reload_until_it_ends(
    new_context: Callable[[], BrowserContext], server: Process
) -> None:
    session = call(server, "POST", "/v1/sessions", chess_body())
    session_id, person = session["session_id"], session["participants"][0]["participant_id"]
    link = call(server, "POST", "/v1/links", {"session_id": session_id, "role": "viewer", "max_uses": 2})
    assert link["url"].startswith(f"{server.base_url}/view/{session_id}#link=")
    urls: list[str] = []
    phones = [new_context().new_page() for _ in range(2)]
    for page in phones:
        page.on("request", lambda request: urls.append(request.url))
        page.on("websocket", lambda socket: urls.append(socket.url))
        page.goto(link["url"])
        expect_live(page)
        assert page.url == f"{server.base_url}/view/{session_id}"
    tokens = [stored_token(page) for page in phones]
    assert len({*tokens, link["secret"]}) == 3
    assert call(server, "GET", "/v1/links")[0]["uses"] == 2
    for page, token in zip(phones, tokens, strict=True):
        page.reload()
        expect_live(page)
        assert stored_token(page) == token
        assert page.evaluate("Object.values(sessionStorage).filter(each => each.includes('synckairos_')).length") == 1
        assert page.evaluate("Object.keys(localStorage)") == []
        assert page.context.cookies() == []
    late = new_context().new_page()
    late.goto(link["url"])
    expect(late.locator("#notice")).to_have_text("This link is not valid, or it was used up")
    assert late.url == f"{server.base_url}/view/{session_id}"
    assert stored_token(late) is None
    player = new_context().new_page()
    own = {"session_id": session_id, "role": "participant", "participant_id": person}
    player.goto(call(server, "POST", "/v1/links", own)["url"])
    expect_live(player)
    caller = call(server, "GET", "/v1/me", token=stored_token(player))
    assert (caller["role"], caller["participant_id"]) == ("participant", person)
    call(server, "DELETE", f"/v1/links/{link['link_id']}")
    for page in phones:
        expect(page.locator("#notice")).to_have_text("The token of this link is not valid any more")
    expect_live(player)
    for secret in (link["secret"], *tokens):
        assert not [url for url in urls if secret in url]
        assert secret not in server.output


def test_console_link_and_key_sign_in_and_sign_out_ends_the_session_token(
    new_context: Callable[[], BrowserContext],
    server: Process,
    module_settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    environment = {
        "REDIS_URL": module_settings.redis_url,
        "DATABASE_URL": module_settings.database_url,
        "SYNCKAIROS_KEY_PREFIX": module_settings.key_prefix,
        "SYNCKAIROS_AUTH": "required",
        "JWT_SECRET": SECRET,
    }
    page = new_context().new_page()
    page.goto(f"{server.base_url}/console#link=synckairos_")
    expect(page.locator("#sign-in-reason")).to_have_text("The link is not valid, or it was used up")
    # The command has an event loop of its own, which cannot run in the thread of the browser.
    with ThreadPoolExecutor() as threads:
        command = ["console", "--url", server.base_url]
        url: str = threads.submit(CliRunner().invoke, main, command, env=environment).result().stdout.strip()
    page.goto(url)
    expect(page.locator("#caller-name")).to_have_text(f"{url.split('_')[1]}:1 (admin)")
    assert "synckairos_" not in page.url
    token = stored_token(page)
    assert call(server, "GET", "/v1/me", token=token)["role"] == "admin"
    with page.expect_response(lambda answer: answer.request.method == "DELETE") as ended:
        page.locator("#sign-out").click()
    assert ended.value.status == 204
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    with pytest.raises(HTTPError, match="401"):
        call(server, "GET", "/v1/me", token=token)

    key = call(server, "POST", "/v1/keys", {"role": "admin"})
    for text, reason in ((key["key"][:-1], "The API key or session token is not valid"), (key["key"], None)):
        page.get_by_label("A token or an API key").fill(text)
        page.get_by_role("button", name="Sign in").click()
        if reason is not None:
            expect(page.locator("#sign-in-reason")).to_have_text(reason)
    expect(page.locator("#caller-name")).to_have_text(f"{key['key_id']} (admin)")
    kept = stored_token(page)
    assert kept.startswith("synckairos_")
    assert page.evaluate("key => Object.values(sessionStorage).includes(key)", key["key"]) is False
    page.locator("#sign-out").click()
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    assert call(server, "GET", "/v1/me", token=key["key"])["role"] == "admin"
