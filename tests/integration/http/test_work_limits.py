"""Each limit of work: a client that exceeds it gets the answer that the list names, and other clients are served."""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import count, repeat
from typing import Any
from uuid import uuid4

import orjson
import pytest
from prometheus_client import REGISTRY
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from synckairos.config import Settings
from synckairos.limits import processor_time
from synckairos.limits.work_limits import (
    BYTES,
    CLOSED,
    COMMANDS_TO_MANY,
    CONNECTION_BYTES,
    CONNECTION_VALUES,
    ERROR,
    FRAME_BATCHES,
    FREE_BYTES,
    HANDSHAKES,
    NO_HANDSHAKE,
    PROCESSOR_MS,
    REFUSED,
    REFUSED_TOKENS,
    REPORTS,
    SCRAPES,
    SIMULATION_STEPS,
    SUBSCRIPTIONS,
    UNKNOWN_SESSIONS,
    VALUES,
    WAITS,
    WORK_LIMITS,
    WorkLimit,
)
from tests.integration.authentication import bearer, make_authenticator
from tests.integration.realtime.instances import Instance, serving
from tests.integration.realtime.v3_client import V3, v3_client
from tests.integration.rest_server import RestServer, chess_body, open_rest_server

FACTOR = 0.001
"""Client limits of the tests: small, so that one or two requests exceed them."""

OTHER_ADDRESS = "192.0.2.7"

JSON = {"content-type": "application/json"}


def command(size: int = 0, values: int = 0) -> dict[str, Any]:
    """Return a COMMAND with metadata of about this many bytes or values, for a session that does not exist."""
    metadata = {"text": "x" * size, "list": [0] * values}
    members = {"session_id": str(uuid4()), "command": "update_metadata", "args": {"metadata": metadata}}
    return {"type": "COMMAND", "id": str(uuid4()), **members}


def rate_limited_by_socket() -> float:
    """Return the number of refusals on sockets in the metrics."""
    return REGISTRY.get_sample_value("synckairos_rate_limited_total", {"door": "ws"}) or 0


async def refused_code_by_rest(server: RestServer, body: bytes) -> str:
    """Send a body until it is refused with 429; return the code and check the message."""
    while (answer := await server.client.post("/v1/simulate", content=body, headers=JSON)).status_code == 400:
        pass
    assert int(answer.headers["retry-after"]) >= 1
    assert "(SYNCKAIROS_CLIENT_WORK_FACTOR)" in answer.json()["detail"]
    return f"{answer.status_code} `{answer.json()['error']['code']}`"


async def exceed_bytes(server: RestServer, instance: Instance) -> str:
    return await refused_code_by_rest(server, b'{"text":"%b"}' % (b"x" * int(BYTES.burst * FACTOR * 0.6)))


async def exceed_values(server: RestServer, instance: Instance) -> str:
    return await refused_code_by_rest(server, b'{"list":[%b]}' % b",".join([b"1000000"] * int(VALUES.burst * FACTOR)))


async def close_code(instance: Instance, message: dict[str, Any], times: int) -> str:
    """Send a message several times; return how the connection was closed at the last one."""
    async with v3_client(instance) as client:
        for _ in range(times):
            await client.socket.send(orjson.dumps(message).decode())
        with suppress(ConnectionClosed):
            while True:
                await client.receive()
        return f"closed with {client.socket.close_code}"


async def exceed_connection_bytes(server: RestServer, instance: Instance) -> str:
    message = command(size=60_000)
    return await close_code(instance, message, CONNECTION_BYTES.burst // 60_000 + 1)


async def exceed_connection_values(server: RestServer, instance: Instance) -> str:
    return await close_code(instance, command(values=25_000), CONNECTION_VALUES.burst // 25_000 + 1)


async def exceed_handshakes(server: RestServer, instance: Instance) -> str:
    for _ in range(int(HANDSHAKES.burst * FACTOR)):
        async with v3_client(instance):
            pass
    with pytest.raises(InvalidStatus) as refused:
        await connect(instance.ws_url, subprotocols=[V3], proxy=None)
    assert int(refused.value.response.headers["retry-after"]) >= 1
    text = (refused.value.response.body or b"").decode()
    assert "limit of 0.2 handshakes of WebSockets and event streams a second and client, 20 at once" in text
    assert "(SYNCKAIROS_CLIENT_WORK_FACTOR)" in text
    return f"{refused.value.response.status_code} in place of the handshake"


async def exceed_frame_batches(server: RestServer, instance: Instance) -> str:
    while (answer := await server.client.post("/v3/frames", json={})).status_code != 429:
        assert answer.status_code == 400
    assert FRAME_BATCHES.name in answer.json()["detail"]
    return f"429 `{answer.json()['error']['code']}`"


async def subscribe_until_refused(instance: Instance, session_ids: Iterator[str]) -> str:
    """Subscribe to sessions until a limit is exceeded; return the answer."""
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=await instance.create())  # keeps the connection open
        while (answer := await client.request("SUBSCRIBE", session_id=next(session_ids))).get("code") in (
            None,
            "SESSION_NOT_FOUND",
        ):
            pass
    return f"`{answer['type']}` with `{answer['code']}`"


async def exceed_subscriptions(server: RestServer, instance: Instance) -> str:
    return await subscribe_until_refused(instance, repeat(await instance.create()))


async def exceed_unknown_sessions(server: RestServer, instance: Instance) -> str:
    return await subscribe_until_refused(instance, (str(uuid4()) for _ in count()))


async def repeat_until_refused(server: RestServer, limit: WorkLimit, method: str, path: str, **options: Any) -> str:
    """Send a request until it is refused with 429. Check that the message names the limit and its setting."""
    while (answer := await server.client.request(method, path, **options)).status_code != 429:
        assert answer.status_code == 200, answer.text
    assert limit.name in answer.json()["detail"]
    assert "(SYNCKAIROS_CLIENT_WORK_FACTOR)" in answer.json()["detail"]
    return f"429 `{answer.json()['error']['code']}`"


async def exceed_simulation_steps(server: RestServer, instance: Instance) -> str:
    commands = [{"at_ms": 0, "command": "start"}, *({"at_ms": at, "command": "switch"} for at in range(15))]
    body = {"session": chess_body(), "commands": commands, "until_ms": 100}
    assert len(orjson.dumps(body)) <= FREE_BYTES
    return await repeat_until_refused(server, SIMULATION_STEPS, "POST", "/v1/simulate", json=body)


async def exceed_reports(server: RestServer, instance: Instance) -> str:
    path = f"/v1/participants/{uuid4()}/time"
    return await repeat_until_refused(server, REPORTS, "GET", path, params={"bucket": "session"})


async def exceed_commands_to_many(server: RestServer, instance: Instance) -> str:
    while True:
        ids = [str(uuid4()) for _ in range(int(COMMANDS_TO_MANY.burst * FACTOR))]
        body = {"session_ids": ids, "command": "pause", "command_id": str(uuid4())}
        answer = await server.client.post("/v1/sessions/commands", json=body)
        if answer.status_code != 200:
            return f"{answer.status_code} `{answer.json()['error']['code']}`"


async def exceed_scrapes(server: RestServer, instance: Instance) -> str:
    return await repeat_until_refused(server, SCRAPES, "GET", "/metrics")


async def exceed_processor_time(server: RestServer, instance: Instance) -> str:
    """Read sessions until a read is refused. Another client presses before each read, and never waits."""
    while True:
        press = await server.client.post(f"/v1/sessions/{uuid4()}/switch", headers={"x-forwarded-for": OTHER_ADDRESS})
        assert press.status_code == 404
        answer = await server.client.get(f"/v1/sessions/{uuid4()}")
        if answer.status_code == 429:
            break
        assert answer.status_code == 404
    assert PROCESSOR_MS.name in answer.json()["detail"]
    return f"the request waits; after 5 s {answer.status_code} `{answer.json()['error']['code']}`"


async def exceed_refused_tokens(server: RestServer, instance: Instance) -> str:
    settings, sent = server.settings, bearer("no.valid.token") | {"x-forwarded-proto": "https"}
    async with open_rest_server(settings, authenticator=make_authenticator(settings)) as closed:
        while (answer := await closed.client.get("/v1/sessions", headers=sent)).status_code != 429:
            assert answer.status_code == 401
    assert REFUSED_TOKENS.name in answer.json()["detail"]
    return f"429 `{answer.json()['error']['code']}`"


EXCEED: dict[WorkLimit, Callable[[RestServer, Instance], Awaitable[str]]] = {
    PROCESSOR_MS: exceed_processor_time,
    BYTES: exceed_bytes,
    VALUES: exceed_values,
    CONNECTION_BYTES: exceed_connection_bytes,
    CONNECTION_VALUES: exceed_connection_values,
    HANDSHAKES: exceed_handshakes,
    FRAME_BATCHES: exceed_frame_batches,
    SUBSCRIPTIONS: exceed_subscriptions,
    UNKNOWN_SESSIONS: exceed_unknown_sessions,
    SIMULATION_STEPS: exceed_simulation_steps,
    REPORTS: exceed_reports,
    COMMANDS_TO_MANY: exceed_commands_to_many,
    SCRAPES: exceed_scrapes,
    REFUSED_TOKENS: exceed_refused_tokens,
}


async def test_simulation_with_more_steps_than_the_budget_holds_is_refused_as_invalid(settings: Settings) -> None:
    patch = {"at_ms": 0, "command": "update_metadata", "args": {"metadata": {"text": "x"}}}
    body = {"session": chess_body(metadata={"text": "x" * 32_000}), "commands": [patch] * 9_000, "until_ms": 1}
    async with open_rest_server(settings.model_copy(update={"client_work_factor": 0.5})) as server:
        refused = await server.client.post("/v1/simulate", json=body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert "a simulation has at most 125,000" in refused.json()["error"]["details"][0]["message"]


async def test_large_simulation_is_not_parsed_while_the_last_one_would_be_refused_again(settings: Settings) -> None:
    patch = {"at_ms": 0, "command": "update_metadata", "args": {"metadata": {"text": "x"}}}
    body = {"session": chess_body(metadata={"text": "x" * 9_000}), "commands": [patch] * 100, "until_ms": 1}
    large = orjson.dumps(body)
    async with open_rest_server(settings.model_copy(update={"client_work_factor": 0.008})) as server:
        while (answer := await server.client.post("/v1/simulate", content=large, headers=JSON)).status_code == 200:
            pass
        assert answer.status_code == 429
        assert SIMULATION_STEPS.name in answer.json()["detail"]
        unparsed = await server.client.post("/v1/simulate", content=large + b"}", headers=JSON)
        assert unparsed.status_code == 429
        assert SIMULATION_STEPS.name in unparsed.json()["detail"]
        assert int(unparsed.headers["retry-after"]) >= 1


async def test_invalid_large_body_takes_four_times_its_values(settings: Settings) -> None:
    body = b'{"list":[%b]}' % b",".join([b"1000000"] * 2_000)
    charged = settings.model_copy(update={"client_work_factor": 9_000 / VALUES.burst})
    async with open_rest_server(charged) as server:
        answers = [await server.client.post("/v1/simulate", content=body, headers=JSON) for _ in range(2)]
    assert [each.status_code for each in answers] == [400, 429]
    assert VALUES.name in answers[1].json()["detail"]


def test_each_limit_is_tested() -> None:
    assert tuple(EXCEED) == WORK_LIMITS
    assert {each.answer for each in WORK_LIMITS} == {REFUSED, CLOSED, ERROR, NO_HANDSHAKE, WAITS}


@pytest.mark.parametrize("limit", WORK_LIMITS, ids=lambda limit: limit.name)
async def test_work_above_a_limit_gets_the_answer_of_the_list(
    settings: Settings, limit: WorkLimit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor_time, "MAX_WAIT_S", 0.1)
    factor = FACTOR if limit.of == "client" else 1_000
    limited = settings.model_copy(update={"client_work_factor": factor, "trusted_proxies": ["127.0.0.1"]})
    async with open_rest_server(limited) as server, serving(limited) as instance:
        before = rate_limited_by_socket()
        assert await EXCEED[limit](server, instance) == limit.answer
        assert rate_limited_by_socket() - before == (limit.answer in (ERROR, NO_HANDSHAKE))
        headers = {"x-forwarded-for": OTHER_ADDRESS} if limit is PROCESSOR_MS else {}
        other = await server.client.post("/v1/sessions", json=chess_body(), headers=headers)
        assert other.status_code == 201, "other requests are not work of this kind"


async def test_sockets_and_rest_of_a_client_share_a_budget_and_the_refusal_names_its_message(
    settings: Settings,
) -> None:
    limited = settings.model_copy(update={"client_work_factor": FACTOR})
    async with serving(limited) as instance, v3_client(instance) as first, v3_client(instance) as second:
        half = command(size=int(BYTES.burst * FACTOR * 0.6))
        assert (await first.request(**{"kind": half.pop("type"), **half}))["code"] == "SESSION_NOT_FOUND"
        refused = await second.request("COMMAND", **half)
        assert (refused["type"], refused["code"]) == ("ERROR", "RATE_LIMIT_EXCEEDED")
        assert (refused["reply_to"], refused["details"]["setting"]) == (half["id"], "SYNCKAIROS_CLIENT_WORK_FACTOR")


@pytest.mark.parametrize(
    "message",
    [
        {"type": "PING", "t0": 1, "filling": "x" * FREE_BYTES},
        {"type": "SUBSCRIBE", "session_id": str(uuid4()), "id": "COMMAND", "filling": "x" * FREE_BYTES},
        {"type": "PING", "args": {"type": "COMMAND"}, "t0": 1, "filling": "x" * FREE_BYTES},
    ],
    ids=["ping", "subscribe", "ping that contains a command"],
)
async def test_large_message_that_is_no_command_is_refused(settings: Settings, message: dict[str, Any]) -> None:
    async with serving(settings) as instance, v3_client(instance) as client:
        await client.socket.send(orjson.dumps(message).decode())
        refused = await client.receive()
        assert refused["type"] == "ERROR"
        assert refused["code"] in ("PAYLOAD_TOO_LARGE", "VALIDATION_ERROR")


async def test_large_commands_are_executed_in_order_with_small_ones(settings: Settings) -> None:
    async with serving(settings) as instance, v3_client(instance) as client:
        session_id = await instance.create()
        large = {"metadata": {"list": [0] * 10_000}}
        await client.send("COMMAND", id="1", session_id=session_id, command="update_metadata", args=large)
        await client.send("COMMAND", id="2", session_id=session_id, command="start")
        answers = [await client.receive() for _ in range(2)]
        assert [(each["type"], each["reply_to"], each["version"]) for each in answers] == [
            ("ACK", "1", 2),
            ("ACK", "2", 3),
        ]
