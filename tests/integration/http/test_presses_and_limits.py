"""Presses and the general rate limit, by REST and by socket.

Legal presses do not count against the limit. Presses without an effect count.
"""

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import httpx
import pytest

from synckairos.config import Settings
from synckairos.history.records import AuditedVersion
from synckairos.http import request_response
from synckairos.limits.work_limits import UNKNOWN_SESSIONS
from synckairos.store.shared_connection import parse_time_ms
from tests.integration.realtime.instances import serving
from tests.integration.realtime.v3_client import V3Client, v3_client
from tests.integration.rest_server import RestServer, chess_body, open_rest_server, session_url
from tests.integration.round_trips import RoundTrips
from tests.waiting import eventually

JSON = {"content-type": "application/json"}

LIMITS = {"rate_limit_general": 4, "rate_limit_switch": 1_000}


@pytest.fixture
async def limited(settings: Settings) -> AsyncIterator[RestServer]:
    async with open_rest_server(settings.model_copy(update=LIMITS)) as opened:
        yield opened


async def statuses(client: httpx.AsyncClient, path: str, count: int) -> list[int]:
    """Send the same command `count` times. Return the statuses of the answers."""
    return [(await client.post(path)).status_code for _ in range(count)]


async def exhaust(client: httpx.AsyncClient) -> None:
    """Use all requests of the client's general rate limit."""
    while (await client.get("/v1/nope")).status_code != 429:
        pass


async def test_legal_presses_never_meet_the_general_limit(limited: RestServer) -> None:
    client, path = limited.client, f"/v1/sessions/{(await limited.create_started())['session_id']}"
    assert set(await statuses(client, f"{path}/switch", 98)) == {200}
    assert (await client.get(path)).status_code == 200, "presses have taken nothing of the general limit"
    await exhaust(client)
    for verb in ("switch", "pause", "resume", "switch"):
        answer = await client.post(f"{path}/{verb}")
        assert answer.status_code == 200, answer.text
        assert answer.headers["ratelimit-limit"] == "1333"
    assert (await client.post(f"{path}/complete")).status_code == 429


async def test_legal_press_with_a_large_body_does_not_meet_the_general_limit(limited: RestServer) -> None:
    client, session = limited.client, await limited.create_started()
    large = b"{}" + b" " * request_response.LARGE_BODY_BYTES
    await exhaust(client)
    answer = await client.post(session_url(session, "switch"), content=large, headers=JSON)
    assert (answer.status_code, answer.headers["ratelimit-limit"]) == (200, "1333")
    other = await client.post(session_url(session, "complete"), content=large, headers=JSON)
    assert other.status_code == 429


async def test_presses_without_an_effect_meet_the_general_limit(limited: RestServer) -> None:
    client, path = limited.client, f"/v1/sessions/{(await limited.create())['session_id']}"
    answers = [await client.post(f"{path}/switch") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [400, 400, 400, 429, 429]
    assert [answer.headers["ratelimit-remaining"] for answer in answers] == ["2", "1", "0", "0", "0"]
    assert "(RATE_LIMIT_GENERAL)" in answers[-1].json()["detail"]
    unknown = f"/v1/sessions/{uuid4()}/switch"
    assert await statuses(client, unknown, 2) == [429, 429]
    assert (await client.get(path)).status_code == 429


async def test_presses_of_unknown_sessions_by_a_limited_client_read_postgres_within_the_budget(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = {"client_work_factor": 1 / UNKNOWN_SESSIONS.burst}  # one read at once
    async with open_rest_server(settings.model_copy(update=LIMITS | work)) as server:
        evicted = session_url(await server.create_started(), "switch")
        deleted = session_url(await server.create(), "switch")
        assert (await server.client.delete(deleted.removesuffix("/switch"))).status_code == 204
        await server.drain()
        for path in (evicted, deleted):
            await server.parts.pipe.call("DEL", server.parts.store.keys.session(path.split("/")[3]))
        await exhaust(server.client)
        read, reads = server.parts.history.read_latest_version, list[str]()

        async def counted(session_id: str) -> AuditedVersion | None:
            reads.append(session_id)
            return await read(session_id)

        monkeypatch.setattr(server.parts.history, "read_latest_version", counted)
        assert (await server.client.post(evicted)).status_code == 200, "a legal press of an evicted session"
        unknown = [f"/v1/sessions/{uuid4()}/switch" for _ in range(20)]
        answers = await asyncio.gather(*(server.client.post(path) for path in (deleted, *unknown, deleted)))
        assert {answer.status_code for answer in answers} == {429}
        assert len(reads) == 2, "the evicted session, and one of the others"


async def test_press_without_an_effect_shortens_a_bucket_that_a_clock_set_back_keeps_empty(limited: RestServer) -> None:
    path = f"/v1/sessions/{(await limited.create())['session_id']}/switch"
    pipe, key = limited.parts.pipe, limited.parts.store.keys.rate_limit_bucket("general:127.0.0.1")
    now_us = 1000 * parse_time_ms(await pipe.call("TIME"))
    await pipe.call("SET", key, now_us + 600_000_000, "PX", 600_000)
    assert (await limited.client.post(path)).status_code == 429

    async def is_shorter() -> bool:
        return int(await pipe.call("PTTL", key)) <= 60_000

    await eventually(is_shorter)


async def test_press_that_is_limited_saves_nothing_for_its_key(limited: RestServer) -> None:
    client, path = limited.client, f"/v1/sessions/{(await limited.create())['session_id']}"
    await exhaust(client)
    refused = await client.post(f"{path}/switch", headers={"idempotency-key": "early"})
    assert refused.status_code == 429
    records = limited.parts.store.keys.idempotency_records(path.rpartition("/")[2])
    assert await limited.parts.pipe.call("HGETALL", records) in ({}, [])


async def test_press_and_refused_press_take_no_more_round_trips_than_without_limits(
    limited: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = (await limited.create_started())["session_id"]
    path = f"/v1/sessions/{session_id}"
    await limited.client.post(f"{path}/switch")  # this request loads the scripts
    trips = RoundTrips(monkeypatch, limited.parts.pipe, session_id)
    assert (await limited.client.post(f"{path}/switch")).status_code == 200
    assert trips.count == 2, "the load and the commit"
    assert (await limited.client.post(f"{path}/switch", json={"expected_version": 1})).status_code == 409
    assert trips.count == 3, "the load; the charge to the general limit is sent without a wait"


async def socket_codes(client: V3Client, session_id: str, command: str, count: int) -> list[str]:
    """Send the same command by socket `count` times. Return the codes of the answers; ACK means accepted."""
    answers = [await client.request("COMMAND", session_id=session_id, command=command) for _ in range(count)]
    return [answer.get("code", answer["type"]) for answer in answers]


async def test_limits_of_sockets_are_those_of_rest(settings: Settings) -> None:
    async with serving(settings.model_copy(update=LIMITS), principal=None) as instance, v3_client(instance) as client:
        running, pending = await instance.create(), await instance.create()
        assert await socket_codes(client, running, "start", 1) == ["ACK"]
        assert await socket_codes(client, running, "switch", 50) == ["ACK"] * 50
        codes = await socket_codes(client, pending, "switch", 5)
        assert codes == ["INVALID_STATE_TRANSITION"] * 3 + ["RATE_LIMIT_EXCEEDED"] * 2
        refused = await client.request("COMMAND", session_id=pending, command="cancel")
        assert "general limit of 4 requests a minute and client (RATE_LIMIT_GENERAL)" in refused["message"]
        assert refused["details"]["setting"] == "RATE_LIMIT_GENERAL"
        assert 0 < refused["details"]["retry_after_ms"] <= 15_000
        assert await socket_codes(client, running, "switch", 3) == ["ACK"] * 3


async def test_socket_commands_with_invalid_arguments_meet_the_general_limit(settings: Settings) -> None:
    async with serving(settings.model_copy(update=LIMITS), principal=None) as instance, v3_client(instance) as client:
        invalid = {"session_id": await instance.create(), "args": {"expected_version": "x"}}
        names = ("switch", "switch", "adjust", "adjust", "adjust", "switch")
        codes = [(await client.request("COMMAND", command=name, **invalid))["code"] for name in names]
        assert codes == ["VALIDATION_ERROR"] * 4 + ["RATE_LIMIT_EXCEEDED"] * 2


async def test_flood_of_parallel_presses_without_an_effect_is_limited(limited: RestServer) -> None:
    path = f"/v1/sessions/{(await limited.create())['session_id']}/switch"
    first = await asyncio.gather(*(limited.client.post(path) for _ in range(20)))
    assert {answer.status_code for answer in first} <= {400, 429}
    assert await statuses(limited.client, path, 3) == [429, 429, 429]


async def test_limited_client_is_refused_without_redis_and_before_its_body_is_parsed(
    limited: RestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await exhaust(limited.client)
    monkeypatch.setattr(request_response, "decode_json", None)
    monkeypatch.setattr(limited.parts.pipe, "call_many", None)
    refused = await limited.client.post("/v1/simulate", json={"text": "x"})
    assert (refused.status_code, refused.headers["ratelimit-remaining"]) == (429, "0")
    assert 1 <= int(refused.headers["retry-after"]) <= 15
    assert (await limited.client.get("/v1/sessions")).status_code == 429


async def test_replays_of_a_limited_client_have_a_larger_limit(limited: RestServer) -> None:
    client, path = limited.client, f"/v1/sessions/{(await limited.create())['session_id']}"
    key = {"idempotency-key": "one"}
    assert (await client.post(f"{path}/start", headers=key)).status_code == 200
    await exhaust(client)
    answers = [await client.post(f"{path}/start", headers=key) for _ in range(2 * LIMITS["rate_limit_general"] + 1)]
    assert [answer.status_code for answer in answers] == [200] * 8 + [429]
    assert "replay limit of 8 replays a minute and client (RATE_LIMIT_GENERAL)" in answers[-1].json()["detail"]
    assert (await client.get(path)).status_code == 429, "replays have given no token of the general limit"


async def test_replay_of_a_simulation_needs_a_token_of_the_client(limited: RestServer) -> None:
    body, key = {"session": chess_body(), "commands": [], "until_ms": 1}, {"idempotency-key": "one"}
    assert (await limited.client.post("/v1/simulate", json=body, headers=key)).status_code == 200
    for _ in range(LIMITS["rate_limit_general"]):  # each replay gives its token back
        again = await limited.client.post("/v1/simulate", json=body, headers=key)
        assert (again.status_code, again.headers["idempotency-replayed"]) == (200, "true")
    await exhaust(limited.client)
    assert (await limited.client.post("/v1/simulate", json=body, headers=key)).status_code == 429


async def test_key_of_another_creation_is_counted(limited: RestServer) -> None:
    key = {"idempotency-key": "one"}
    assert (await limited.client.post("/v1/sessions", json=chess_body(), headers=key)).status_code == 201
    answers = [await limited.client.post("/v1/sessions", json=chess_body(), headers=key) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [422, 422, 422, 429]
