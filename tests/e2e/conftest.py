"""Fixtures of the tests of pages: one Chromium for each module, and contexts that watch for failures."""

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext

from tests.e2e.chromium import chromium
from tests.e2e.demo_page import watched_contexts


@pytest.fixture(scope="module")
def browser(template_database: str) -> Iterator[Browser]:
    """Start Chromium after the stores of the module."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Callable[[], BrowserContext]]:
    """Return a function that opens a browser context. The test fails if one of its pages fails."""
    with watched_contexts(browser) as open_context:
        yield open_context
