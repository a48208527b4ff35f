"""The page at /demo for tests: browser contexts that watch their pages, and the parts of the page."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.e2e.chromium import TIMEOUT_MS


@contextmanager
def watched_contexts(browser: Browser) -> Iterator[Callable[[], BrowserContext]]:
    """Yield a function that opens separate browser contexts. They are closed at the end.

    Fail if a script fails, if the policy of a page refuses something, or if a request goes to another host.
    """
    contexts: list[BrowserContext] = []
    failures: list[str] = []
    hosts: set[str] = set()

    def watch(page: Page) -> None:
        page.on("pageerror", lambda error: failures.append(str(error)))
        page.on("console", lambda message: failures.append(message.text) if "Security Policy" in message.text else None)
        page.on("request", lambda request: hosts.add(urlsplit(request.url).hostname or ""))

    def open_context() -> BrowserContext:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.set_default_timeout(TIMEOUT_MS)
        context.on("page", watch)
        contexts.append(context)
        return context

    yield open_context
    for context in contexts:
        context.close()
    assert not failures
    assert hosts <= {"127.0.0.1"}


def board(page: Page, side: str) -> Locator:
    return page.locator(f'.board[data-side="{side}"]')


def press(page: Page, side: str) -> None:
    board(page, side).locator(".press").click()


def expect_mood(page: Page, side: str, mood: str) -> None:
    expect(board(page, side)).to_have_attribute("data-mood", mood)


def expect_active(page: Page, side: str) -> None:
    """Wait until only the board of this side is bright and its clock runs."""
    expect(page.locator(".board.lit")).to_have_count(1)
    expect(page.locator(f'.board.lit[data-side="{side}"]')).to_have_attribute("data-mood", "running")


def session_id(page: Page) -> str:
    return parse_qs(urlsplit(page.url).query)["session"][0]


def origin(page: Page) -> str:
    url = urlsplit(page.url)
    return f"{url.scheme}://{url.netloc}"
