"""Fixtures for tests of log lines."""

import io
from collections.abc import Iterator

import pytest

from synckairos.telemetry import log


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Log to memory, and restore the log of all tests afterwards."""
    out = io.StringIO()
    log.configure_logging("info", stream=out)
    yield out
    log.configure_logging("info")
