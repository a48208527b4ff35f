"""The web pages under a sub-path in a real Chromium, behind each proxy: all files load, and a clock runs."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from synckairos.config import Settings
from tests.e2e.chromium import TIMEOUT_MS, chromium
from tests.processes import spawn_server
from tests.proxies import SUB_PATH, Form, ProxyConfig, run_proxies

EACH: list[tuple[str, Form]] = [("nginx", "passed"), ("caddy", "removed"), ("haproxy", "removed")]
"""Each proxy with one form of its recipe. `test_proxies` covers both forms of each proxy."""


@pytest.fixture(scope="module")
def proxies(
    module_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[tuple[str, Form], ProxyConfig]]:
    """Run each proxy in front of one instance with a sub-path. One proxy keeps the sub-path, two proxies remove it."""
    folder = tmp_path_factory.mktemp("proxies")
    server = spawn_server(module_settings.model_copy(update={"root_path": SUB_PATH}))
    configs = {
        (name, form): ProxyConfig.write(name, form, [urlsplit(server.base_url).netloc], folder / f"{name}-{form}")
        for name, form in EACH
    }
    try:
        with run_proxies(*configs.values()):
            yield configs
    finally:
        server.stop()


@pytest.fixture(scope="module")
def browser(proxies: object) -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open an empty page. Fail if a script, file or connection fails, or if an address lacks the sub-path."""
    failures: list[str] = []
    paths: set[str] = set()
    context = browser.new_context()
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda message: failures.append(message.text) if message.type in ("error", "warning") else None)
    page.on("requestfailed", lambda request: failures.append(f"{request.url} {request.failure}"))
    page.on("request", lambda request: paths.add(urlsplit(request.url).path))
    page.on("websocket", lambda socket: paths.add(urlsplit(socket.url).path))
    # A page asks again for the files that it shares with the page before, and the server answers 304.
    page.on(
        "response", lambda answer: failures.append(f"{answer.url} {answer.status}") if answer.status >= 400 else None
    )
    yield page
    context.close()
    assert not failures
    assert all(path.startswith(f"{SUB_PATH}/") for path in paths), paths


@pytest.mark.parametrize(("name", "form"), EACH)
def test_demo_and_docs_work_under_a_sub_path(
    page: Page, proxies: dict[tuple[str, Form], ProxyConfig], name: str, form: Form
) -> None:
    base_url = proxies[name, form].base_url
    page.goto(f"{base_url}/demo")
    white = page.locator('.board[data-side="white"]')
    expect(white).to_have_attribute("data-mood", "pending")
    white.locator(".press").click()
    digits = white.locator(".digits")
    for _ in range(2):
        expect(digits).not_to_have_text(digits.inner_text())
    page.locator("#join").click()
    assert page.locator("#qr").evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    link = page.locator("#link").get_attribute("href") or ""
    assert link.startswith(f"{base_url}/demo?session=")
    assert page.evaluate("document.fonts.check('16px Archivo')")

    page.goto(f"{base_url}/docs/api")
    page.wait_for_selector("#v3")
    first_step, connect = page.locator(".steps pre").first, page.locator("pre", has_text="new WebSocket").first
    assert f"curl -X POST {base_url}/v1/sessions" in first_step.inner_text()
    assert f'"{base_url.replace("http", "ws", 1)}/ws"' in connect.inner_text()
    operation = page.locator("#get_time")
    operation.evaluate("node => node.open = true")
    assert f"curl {base_url}/v1/time" in operation.locator("pre").first.inner_text()
