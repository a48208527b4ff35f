"""Who sees the actors of events: each response about a session, in each format, with each role."""

import csv
from collections.abc import AsyncIterator
from typing import Any, NamedTuple, get_args

import pytest

from synckairos.config import Settings
from synckairos.history.cold.object_store import ColdStorage
from synckairos.jobs.table import open_job_pool
from synckairos.jobs.write_archive import Archiver
from synckairos.principal import Role, includes_role
from synckairos.service.access_rules import ACCESS_RULES, AccessRule
from synckairos.wire.event_json import ACTOR_MEMBERS
from tests.integration.callers import NamedCallers, as_caller
from tests.integration.rest_server import RestServer, open_rest_server, session_url

ROLES: tuple[Role, ...] = get_args(Role)
REFEREE = as_caller("referee-7f3", "controller")
ACTOR_TEXTS = {"user:referee-7f3", '"controller"', "on_behalf_of", "key-switch"}
JSON, CSV, NDJSON, SSE = "application/json", "text/csv", "application/x-ndjson", "text/event-stream"


class Door(NamedTuple):
    """A response about a session. `least` is the least role that gets the events, None if it never has events."""

    path: str
    media_type: str
    least: Role | None


DOORS = (
    Door("", JSON, None),
    Door("?at=9999999999999", JSON, None),
    *(Door(f"/events?snapshots={n}", each, "controller") for n in (0, 1) for each in (JSON, CSV, NDJSON, SSE)),
    *(Door(f"/archive?snapshots={n}", each, "participant") for n in (0, 1) for each in (JSON, NDJSON)),
)


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[RestServer]:
    """Serve as an instance that drains. Its live tails end after the past events."""
    async with open_rest_server(settings, caller_identity=NamedCallers(), is_draining=lambda: True) as opened:
        yield opened


async def archived_session(server: RestServer) -> dict[str, Any]:
    """Create a session, let a referee play it, also on behalf of a participant, and archive it."""
    session = await server.create_started()
    white = session["participants"][0]["participant_id"]
    for verb, body in (("switch", {"on_behalf_of": white}), ("adjust", {"delta_ms": 1_000}), ("complete", {})):
        headers = REFEREE | {"idempotency-key": f"key-{verb}"}
        answer = await server.client.post(session_url(session, verb), json=body, headers=headers)
        assert answer.status_code == 200, answer.text
    await server.drain()
    async with open_job_pool(server.settings.database_url) as pool:
        await Archiver(pool, ColdStorage(server.settings.archive_url)).archive(session["session_id"])
    return session


async def test_responses_have_the_actors_of_events_only_for_the_roles_of_the_rule(server: RestServer) -> None:
    session = await archived_session(server)
    white = session["participants"][0]["participant_id"]
    for role in ROLES:
        caller = as_caller("reader", role, participant_id=white)
        for door in DOORS:
            url = session_url(session) + door.path
            answer = await server.client.get(url, headers=caller | {"accept": door.media_type})
            has_events = door.least is not None and includes_role(role, door.least)
            assert ("cycle_switched" in answer.text) == has_events, (role, door)
            shown = {each for each in ACTOR_TEXTS if each in answer.text}
            if has_events and ACCESS_RULES["read_actors"].allows(role):
                assert shown == ACTOR_TEXTS, (role, door)
            else:
                assert shown == set(), (role, door)


async def test_archive_without_actors_has_another_etag(server: RestServer) -> None:
    session = await archived_session(server)
    url = session_url(session, "archive")
    tags = {role: (await server.client.get(url, headers=as_caller("r", role))).headers["etag"] for role in ROLES}
    assert len(set(tags.values())) == len(ROLES)
    stale = as_caller("r", "participant") | {"if-none-match": tags["controller"]}
    assert (await server.client.get(url, headers=stale)).status_code == 200


async def test_events_of_a_participant_differ_only_in_the_actors(server: RestServer) -> None:
    session = await archived_session(server)
    url = session_url(session, "archive?snapshots=1")
    own = (await server.client.get(url, headers=as_caller("r", "participant"))).json()["data"]["events"]
    all_members = (await server.client.get(url, headers=as_caller("r", "controller"))).json()["data"]["events"]
    hidden = ("actor", "role", "on_behalf_of", "command_id")
    assert [each.get("command_id") for each in all_members] == [None, None, "key-switch", "key-adjust", "key-complete"]
    assert own == [{name: each for name, each in event.items() if name not in hidden} for event in all_members]


async def test_events_without_actors_have_the_columns_of_actors_empty(
    server: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table in which participants read events shows none of the actors, also in CSV and in the live tail."""
    session = await archived_session(server)
    monkeypatch.setitem(ACCESS_RULES, "read_events", AccessRule("participant", "session"))
    url, caller = session_url(session, "events"), as_caller("r", "participant")
    for media_type in (JSON, CSV, NDJSON, SSE):
        answer = await server.client.get(url, headers=caller | {"accept": media_type})
        assert "cycle_switched" in answer.text
        assert "referee-7f3" not in answer.text
        if media_type == CSV:
            rows = list(csv.DictReader(answer.text.splitlines()))
            assert [[row[each] for each in sorted(ACTOR_MEMBERS)] for row in rows] == [[""] * 4] * len(rows)
            assert [row["version"] for row in rows] == ["1", "2", "3", "4", "5"]
