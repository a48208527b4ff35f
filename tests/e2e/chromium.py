"""A real Chromium for the tests that look at pages. `.ci/tools` installs one; without one they fail, never skip.

Playwright's event loop runs under the test's own code: while a browser is open no other loop can run, so it belongs
to one module and opens after what the stores need.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect, sync_playwright

PATIENCE_MS = 15_000

# The browser is to talk to the page's server and to nobody else.
ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the Chromium that `CHROMIUM` names, or the one this system has."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    assert found, "the page tests need Chromium: apt-get install chromium, or CHROMIUM=/path/to/one"
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGS)
        yield browser
        browser.close()
