"""The troubleshooting page: the log events, alerts and readiness reasons that it names exist in the source."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "operate" / "troubleshooting.md"
SOURCE = "\n".join(path.read_text() for path in sorted((ROOT / "synckairos").rglob("*.py")))


def section(heading: str) -> str:
    """Return the text from a heading of level two up to the next one."""
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert found is not None
    return found[1]


def first_cells(heading: str) -> list[str]:
    """Return the code texts in the first column of a section's tables."""
    return re.findall(r"^\| `([^`]+)`", section(heading), re.MULTILINE)


@pytest.mark.parametrize("event", first_cells("Log events"))
def test_each_log_event_of_the_page_is_logged(event: str) -> None:
    assert re.search(rf"logger\.(error|exception|warning)\(\s*[\"']{re.escape(event)}[\"']", SOURCE)


@pytest.mark.parametrize("kind", first_cells("Alerts"))
def test_each_alert_of_the_page_is_raised(kind: str) -> None:
    assert f'("{kind}",' in SOURCE


@pytest.mark.parametrize(
    "reason", ["postgres is not reachable", "redis accepts no writes", "redis is not reachable", "draining"]
)
def test_each_reason_of_the_page_is_answered_by_ready(reason: str) -> None:
    assert f"`{reason}`" in section("Ready")
    assert reason in SOURCE


def test_the_page_names_the_log_events_in_code_texts() -> None:
    assert len(first_cells("Log events")) > 20
