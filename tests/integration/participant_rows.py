"""Rows of the REST list of a participant's sessions, for tests."""

from typing import Any

from tests.integration.rest_server import RestServer


def new_participants(*participant_ids: str) -> list[dict[str, Any]]:
    """Return participants with ten minutes each, for the body of a creation."""
    return [{"participant_id": each, "total_time_ms": 600_000} for each in participant_ids]


def without_time_used(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows without the member that changes while the participant's clock runs."""
    return [{name: value for name, value in row.items() if name != "time_used_ms"} for row in rows]


async def list_rows(server: RestServer, participant_id: str, limit: int = 50, days: int = 30) -> list[dict[str, Any]]:
    """Return all rows of a participant, read page by page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        params: dict[str, Any] = {"limit": limit, "days": days} | ({} if cursor is None else {"cursor": cursor})
        answer = await server.client.get(f"/v1/participants/{participant_id}/sessions", params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        cursor = page["next_cursor"]
        assert page["data"] or cursor is None, "only the last page can be empty"
        if cursor is None:
            return found
