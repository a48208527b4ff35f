"""The page `docs/reference/client-guarantees.md`, rendered from the scenarios.

`python -m tests.conformance.guarantees_page` writes it.
"""

from pathlib import Path

from tests.conformance.adapter import LANES
from tests.conformance.scenarios import GUARANTEES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "client-guarantees.md"

HEAD = """# Guarantees of the clients

The [Python client](../guides/python-client.md) and the [JavaScript client](../guides/javascript.md) keep these
guarantees. One suite tests each guarantee with a real server and an injected fault, in `tests/conformance`. It runs
each test with: {lanes}.
An event stream replaces a WebSocket [where WebSockets are blocked](event-streams.md).

This page is generated from the suite.

| guarantee | fault | test |
|---|---|---|
"""


def render() -> str:
    """Return the page."""
    rows = [f"| {each.text} | {each.fault} | `{each.name}` |\n" for each in GUARANTEES]
    return HEAD.format(lanes="; ".join(lane.name for lane in LANES)) + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(render())
