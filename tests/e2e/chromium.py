"""Chromium for the tests of web pages.

`.ci/tools` installs Chromium. Without Chromium these tests fail; they never skip. Playwright runs its event loop in the
thread of the test, and no other loop can run in this thread if a browser is open. Therefore a browser belongs to one
module, and it opens after the stores.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, expect, sync_playwright

TIMEOUT_MS = 15_000

# These options stop all connections of the browser except the connections of the page to its server.
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
    """Start the Chromium that the variable `CHROMIUM` names. If it is not set, start the installed Chromium."""
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    found = next(filter(None, map(shutil.which, names)), None)
    assert found, "tests of pages need Chromium: run apt-get install chromium, or set CHROMIUM=/path/to/chromium"
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGS)
        yield browser
        browser.close()
