"""The page at /docs/api in a real Chromium: both API descriptions, steps that work, and a phone screen."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.chromium import TIMEOUT_MS
from tests.processes import Process

PHONE = {"width": 390, "height": 844}


@pytest.fixture
def page(browser: Browser, module_server: Process) -> Iterator[Page]:
    """Open the page with the size of a phone. Fail if a script fails or the browser reports an error."""
    failures: list[str] = []
    context = browser.new_context(viewport=PHONE)  # type: ignore[arg-type]
    context.set_default_timeout(TIMEOUT_MS)
    opened = context.new_page()
    opened.on("pageerror", lambda error: failures.append(str(error)))
    opened.on("console", lambda message: failures.append(message.text) if message.type == "error" else None)
    opened.goto(f"{module_server.base_url}/docs/api")
    opened.wait_for_selector("#v3")
    yield opened
    context.close()
    assert not failures


def read_json(server: Process, path: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{server.base_url}{path}", trust_env=False).raise_for_status().json()
    return found


def test_page_shows_each_operation_message_and_close_code_of_the_descriptions(
    page: Page, module_server: Process
) -> None:
    rest = read_json(module_server, "/openapi.json")["paths"]
    sockets = read_json(module_server, "/asyncapi.json")["channels"]
    operations = {each["operationId"] for methods in rest.values() for each in methods.values()}
    shown = {each.get_attribute("id") or "" for each in page.locator("details.operation").all()}
    assert operations <= shown
    messages = [(dialect, name) for dialect, channel in sockets.items() for name in channel["messages"]]
    assert sorted((each.split(".")[0], each.split(".")[2]) for each in shown - operations) == sorted(messages)
    for code in (code for channel in sockets.values() for code in channel["x-close-codes"]):
        assert page.locator("td", has_text=re.compile(f"^{code}$")).count()


def test_page_with_all_parts_open_is_not_wider_than_a_phone(page: Page) -> None:
    page.evaluate("for (const each of document.querySelectorAll('details.operation')) each.open = true")
    expect(page.locator("details.operation .inside:empty")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    page.evaluate("for (const each of document.querySelectorAll('details.nested')) each.open = true")
    expect(page.locator("details.nested details.nested")).not_to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_fragment_of_the_address_opens_its_message(page: Page) -> None:
    page.evaluate("location.hash = '#v3.received.PRESENCE'")
    presence = page.locator("[id='v3.received.PRESENCE']")
    presence.locator("td", has_text="clients").first.wait_for()
    assert '"participants": [' in presence.locator("pre").inner_text()


def test_first_steps_work_as_written(page: Page, module_server: Process) -> None:
    texts = [each.inner_text() for each in page.locator(".steps pre").all()]
    commands = [line for text in texts for line in text.replace("\\\n", " ").split("\ncurl ")]
    statuses = []
    with httpx.Client(trust_env=False) as client:
        for line in commands:
            words = shlex.split(line.removeprefix("curl "))
            options = {"-X": ["GET"], "-H": [], "-d": [""]}
            url = ""
            while words:
                word = words.pop(0)
                if word in options:
                    options[word].append(words.pop(0))
                else:
                    url = word
            assert url.startswith(module_server.base_url)
            headers = dict(each.split(": ") for each in options["-H"])
            answer = client.request(options["-X"][-1], url, headers=headers, content=options["-d"][-1])
            statuses.append(answer.status_code)
    assert statuses == [201, 200, 200, 200, 200, 200, 200, 200, 204]
