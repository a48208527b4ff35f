"""Sessions of the second edition of the clock that two servers play in turn, each command on the other server."""

from typing import Any
from uuid import uuid4

import httpx

PEOPLE = [str(uuid4()) for _ in range(3)]
DAY_MS = 86_400_000


class SharedSession:
    """A session whose commands go to two servers in turn. After each command both servers have the same document."""

    def __init__(self, first: httpx.AsyncClient, second: httpx.AsyncClient) -> None:
        self.session_id = str(uuid4())
        self.document: dict[str, Any] = {}
        self._clients = [first, second]

    async def create(self, **body: Any) -> None:
        """Create the session. Each participant of `PEOPLE` gets a budget of a day, unless `body` has participants."""
        people = [{"participant_id": each, "total_time_ms": DAY_MS} for each in PEOPLE]
        await self._send("POST", "/v1/sessions", {"session_id": self.session_id, "participants": people, **body})

    async def do(self, verb: str, **body: Any) -> None:
        """Send a command to the next server. It makes one version."""
        version = self.document["version"]
        await self._send("PUT" if verb == "plan" else "POST", f"/v1/sessions/{self.session_id}/{verb}", body)
        assert self.document["version"] == version + 1, (verb, self.document)

    async def read_row(self, participant_id: str) -> dict[str, Any]:
        """Return the session with the row of one participant. Both servers answer the same."""
        answers = [
            await client.get(f"/v1/sessions/{self.session_id}", params={"only": participant_id})
            for client in self._clients
        ]
        assert answers[0].json()["data"] == answers[1].json()["data"]
        row: dict[str, Any] = answers[0].json()["data"]
        return row

    async def _send(self, method: str, path: str, body: dict[str, Any]) -> None:
        client = self._clients[0]
        self._clients.reverse()
        answer = await client.request(method, path, json=body, headers={"idempotency-key": str(uuid4())})
        assert answer.is_success, (path, body, answer.text)
        documents = [(await each.get(f"/v1/sessions/{self.session_id}")).json()["data"] for each in self._clients]
        assert documents[0] == documents[1]
        self.document = documents[0]


async def play_second_edition(first: httpx.AsyncClient, second: httpx.AsyncClient) -> list[str]:
    """Play a session to its end for each group of commands. The first command of each session goes to `first`.

    Return the ids of the sessions.
    """
    plays = (_play_holds, _play_takebacks, _play_plan, _play_reopening, _play_timesheet, _play_individual)
    sessions = []
    for play in plays:
        session = SharedSession(first, second)
        await play(session)
        if session.document["status"] != "completed":
            await session.do("complete")
        sessions.append(session.session_id)
    return [*sessions, *await _command_many(first, second)]


async def _play_holds(session: SharedSession) -> None:
    await session.create(sync_mode="per_participant", clock={"fischer": {"increment_ms": 2_000}})
    await session.do("start")
    await session.do("done", participant_id=PEOPLE[2])
    await session.do("switch", hold=True)
    assert [each["reason"] for each in session.document["pauses"]] == ["hold"]
    await session.do("switch", next_participant_id=PEOPLE[2])
    await session.do("resume")
    assert (session.document["active_participant_id"], session.document["turn_number"]) == (PEOPLE[2], 2)


async def _play_takebacks(session: SharedSession) -> None:
    await session.create(sync_mode="per_participant", clock={"canadian": {"moves": 2, "period_ms": 60_000}})
    await session.do("start")
    for charge in ("nobody", "mover", "resumed"):
        await session.do("switch")
        await session.do("switch")
        await session.do("undo", turns=2, charge=charge)
        assert session.document["active_participant_id"] == PEOPLE[0]
    await session.do("adjust", delta_ms=60_000, participant_ids=[PEOPLE[1]])


async def _play_plan(session: SharedSession) -> None:
    plan = [{"item_id": name, "time_ms": 600_000} for name in ("x", "y", "z")]
    await session.create(sync_mode="per_cycle", plan=plan)
    await session.do("start")
    changed = [*plan, {"item_id": "w", "time_ms": 60_000}]
    await session.do("plan", plan=changed, expected_version=session.document["version"])
    await session.do("switch", item_id="w", hold=True)
    await session.do("resume")
    assert [each["status"] for each in session.document["plan"]] == ["done", "pending", "pending", "running"]


async def _play_reopening(session: SharedSession) -> None:
    await session.create(sync_mode="global", total_time_ms=DAY_MS)
    await session.do("start")
    await session.do("switch")
    for _ in range(2):
        await session.do("complete")
        await session.do("reopen", delta_ms=30_000, reason="too early")
        assert [each["reason"] for each in session.document["pauses"]] == ["reopened"]
    await session.do("resume")


async def _play_timesheet(session: SharedSession) -> None:
    await session.create(sync_mode="count_up", participants=[{"participant_id": PEOPLE[0]}])
    await session.do("start")
    await session.do("complete")
    for at in range(2):
        begins, pause, ends = (f"2026-11-{9 + at:02}T{time}Z" for time in ("08:00:00", "12:00:00", "16:00:00"))
        breaks = [{"from": pause, "to": pause.replace("12:00:00", "12:30:00")}]
        await session.do("amend", started_at=begins, completed_at=ends, breaks=breaks)
        assert session.document["participants"][0]["time_used_ms"] == 27_000_000


async def _play_individual(session: SharedSession) -> None:
    people = [{"participant_id": each, "time_factor": 1 + at / 4} for at, each in enumerate(PEOPLE)]
    await session.create(sync_mode="individual", participants=people, total_time_ms=3_600_000)
    await session.do("start")
    await session.do("pause", participant_ids=[PEOPLE[0]])
    await session.do("adjust", delta_ms=60_000, scaled=True)
    assert (await session.read_row(PEOPLE[0]))["participants"][0]["status"] == "paused"
    await session.do("finish", participant_ids=PEOPLE[1:])
    await session.do("resume", participant_ids=[PEOPLE[0]])
    await session.do("reopen", participant_ids=[PEOPLE[2]])
    statuses = [each["status"] for each in session.document["participants"]]
    assert statuses == ["running", "finished", "paused"]


async def _command_many(first: httpx.AsyncClient, second: httpx.AsyncClient) -> list[str]:
    """Command three sessions at once on one server. The other server answers the same request the same."""
    cup, sessions = uuid4().hex, [SharedSession(first, second) for _ in range(3)]
    for session in sessions:
        await session.create(sync_mode="per_participant", labels={"cup": cup})
        await session.do("start")
    body = {"label": [f"cup={cup}"], "command": "pause", "args": {"reason": "alarm"}, "command_id": cup}
    answers = [await client.post("/v1/sessions/commands", json=body) for client in (first, second)]
    results = [answer.json()["data"]["results"] for answer in answers]
    ids = sorted(session.session_id for session in sessions)
    assert results[0] == results[1]
    assert sorted(each["session_id"] for each in results[0]) == ids
    assert {each["version"] for each in results[0]} == {3}
    for client in (second, first):
        body = {"session_ids": ids, "command": "complete", "command_id": f"{cup}-end"}
        ended = await client.post("/v1/sessions/commands", json=body)
        assert {each["version"] for each in ended.json()["data"]["results"]} == {4}
    return ids
