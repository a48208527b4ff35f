"""A REST client that sends exactly what clients of v2 send, and checks each answer by v2's schemas."""

from typing import Any
from uuid import uuid4

import httpx

from tests.integration.v2.v2_schemas import Json, check_error, check_session, check_switch


class V2Client:
    """The routes of v2. Answers are returned as v2 clients use them: the member `data`, or `error` with the status."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def create(self, *budgets_ms: int, **fields: Any) -> Json:
        """Create a session with one participant for each budget. v2 requires all these members."""
        body = creation_of_v2(*budgets_ms, **fields)
        answer = await self.http.post("/v1/sessions", json=body)
        assert answer.status_code == 201, answer.text
        assert answer.headers["content-type"].startswith("application/json")
        return check_session(answer.json()["data"])

    async def command(self, session: Json, verb: str, body: Json | None = None) -> Json:
        """Send a command. v2 clients send no body, except the next participant of a switch."""
        answer = await self.http.post(f"/v1/sessions/{session['session_id']}/{verb}", **_with_body(body))
        assert answer.status_code == 200, answer.text
        data: Json = answer.json()["data"]
        if verb == "switch":
            return check_switch(data) if data["status"] == "running" else data
        return check_session(data)

    async def refused(self, session: Json, verb: str, body: Json | None = None) -> tuple[int, Json]:
        """Send a command that is refused, and return the status and the error."""
        answer = await self.http.post(f"/v1/sessions/{session['session_id']}/{verb}", **_with_body(body))
        assert answer.status_code >= 400, answer.text
        return answer.status_code, check_error(answer.json())

    async def read(self, session: Json) -> Json:
        answer = await self.http.get(f"/v1/sessions/{session['session_id']}")
        assert answer.status_code == 200, answer.text
        return check_session(answer.json()["data"])

    async def delete(self, session: Json) -> int:
        answer = await self.http.delete(f"/v1/sessions/{session['session_id']}")
        assert (answer.status_code >= 400) == bool(answer.content)
        return answer.status_code


def _with_body(body: Json | None) -> dict[str, Any]:
    return {} if body is None else {"json": body}


def creation_of_v2(*budgets_ms: int, **fields: Any) -> Json:
    """Return the body of a creation with the members that v2 requires; `fields` add or change members."""
    participants = [
        {"participant_id": str(uuid4()), "participant_index": at, "total_time_ms": budget_ms}
        for at, budget_ms in enumerate(budgets_ms)
    ]
    return {
        "session_id": str(uuid4()),
        "sync_mode": "per_participant",
        "participants": participants,
        "total_time_ms": sum(budgets_ms),
    } | fields
