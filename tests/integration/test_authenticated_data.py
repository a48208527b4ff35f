"""Stored data of an older release with authentication on: the present version reads them, and goes on with them."""

import asyncio
import csv
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.postgres.migrate import migrate
from tests.faketime import SettableClock
from tests.fixtures.authenticated.callers import (
    BLACK,
    DATA,
    GAMES,
    REVOKED,
    WHITE,
    CallerClient,
    CallerExchange,
    settings_for,
)
from tests.fixtures.first_edition.recording import EVENTS_PATH
from tests.processes import Process, spawn_server
from tests.waiting import eventually

pytestmark = pytest.mark.slow

OLD_COLUMNS = 11
"""Columns of events as CSV in the older version. Newer columns come after them."""

AFTER_S = 10
"""Seconds after the data were kept at which a server starts."""

GAME, ENDED, WAITING = (f"/v1/sessions/{GAMES[name]}" for name in ("game", "ended", "waiting"))


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    """Return what the older server answered."""
    return DATA.read_responses()


@pytest.fixture
def old_settings(
    tmp_path: Path, bare_database_url: str, recorded: dict[str, Any], request: pytest.FixtureRequest
) -> Iterator[Settings]:
    """Load the data of the older release. The parameter says whether Redis has lost its data."""
    has_lost_redis: bool = getattr(request, "param", False)
    clock = SettableClock(tmp_path / "clock")
    clock.set(recorded["kept_at_s"] + AFTER_S - int(time.time()))
    with Valkey(tmp_path / "valkey", env=clock.env) as valkey:
        if not has_lost_redis:
            DATA.load_redis(valkey.port)
        DATA.load_postgres(bare_database_url)
        shutil.copytree(DATA.archive_folder, tmp_path / "archive")
        yield settings_for(valkey.url, bare_database_url, tmp_path / "archive")


@asynccontextmanager
async def serving(settings: Settings, recorded: dict[str, Any]) -> AsyncIterator[tuple[Process, CallerClient]]:
    """Apply the present schema, as an upgrade does first, and run a server. Yield it with a client of all callers."""
    await migrate(settings.database_url)
    server = await asyncio.to_thread(spawn_server, settings)
    try:
        with closing(CallerClient(server.base_url, recorded["kept_at_s"] + AFTER_S)) as client:
            yield server, client
    finally:
        await asyncio.to_thread(server.stop)


def expected_response(old: CallerExchange) -> CallerExchange:
    """Return the response of the present version to a request of the older version.

    Archives have no actors for participants any more, so they also have another ETag.
    """
    if old.status != 200 or not old.path.endswith("/archive") or old.caller not in ("white", "black"):
        return old
    headers = {**(old.headers or {}), "etag": ""}

    def hide(event: dict[str, Any]) -> dict[str, Any]:
        return {name: each for name, each in event.items() if name not in ("actor", "role", "on_behalf_of")}

    if old.accept:
        lines = [orjson.dumps(hide(orjson.loads(line))).decode() + "\n" for line in old.response.splitlines()]
        return replace(old, headers=headers, response="".join(lines))
    data = old.data
    data["events"] = [hide(event) for event in data["events"]]
    return replace(old, headers=headers, response=orjson.dumps({"data": data}).decode())


def comparable(exchange: CallerExchange, like: CallerExchange) -> CallerExchange:
    """Return an exchange without the ETag if `like` has none, without the text of a refusal and without new values."""
    headers = dict(exchange.headers or {})
    for name in ("cache-control", "vary"):  # the present version forbids shared caches to keep answers to tokens
        headers.pop(name, None)
    if EVENTS_PATH.search(exchange.path) and exchange.status == 200:
        exchange = replace(exchange, response=without_new_values(exchange))
    if (like.headers or {}).get("etag") == "":
        headers["etag"] = ""
    if exchange.status < 400 or exchange.key:
        return replace(exchange, headers=headers)
    return replace(exchange, headers=headers, response=orjson.loads(exchange.response)["error"]["code"])


def without_new_values(exchange: CallerExchange) -> str:
    """Return a response with events in a comparable form, without values that the older version did not send."""
    if exchange.accept == "text/csv":
        return str([row[:OLD_COLUMNS] for row in csv.reader(exchange.response.splitlines())])

    def without(value: Any) -> Any:
        if isinstance(value, list):
            return [without(each) for each in value]
        if not isinstance(value, dict):
            return value
        # The lines of an archive, which have fingerprints, always had command ids.
        new = {"charges"} if "fingerprint" in value else {"charges", "command_id"}
        return {name: without(each) for name, each in value.items() if name not in new}

    values = [without(orjson.loads(line)) for line in exchange.response.splitlines()]
    return orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode()


async def test_data_of_a_release_with_authentication_give_the_same_responses_and_work_on(
    old_settings: Settings, recorded: dict[str, Any]
) -> None:
    async with AsyncExitStack() as stack:
        server, client = await stack.enter_async_context(serving(old_settings, recorded))
        check_responses(client, recorded)
        check_that_revoked_tokens_are_refused(client)
        await check_ticket(server, recorded["ticket"])
        check_that_rights_of_stored_pauses_and_turns_hold(client)
        redis = await stack.enter_async_context(Redis.from_url(old_settings.redis_url))
        worker = Process("worker", env=old_settings.to_environment_variables())
        stack.push_async_callback(asyncio.to_thread, worker.stop)

        async def is_drained() -> bool:
            return not await redis.xlen(f"{old_settings.key_prefix}:{{0}}:outbox")

        await eventually(is_drained)
        events = client.get("referee", f"{GAME}/events").data
        assert [(each["version"], each["actor"], each.get("on_behalf_of")) for each in events] == [
            (1, "user:root", None),
            (2, "user:referee", None),
            (3, "user:white", None),
            (4, "user:referee", BLACK),
            (5, "user:white", None),
            (6, "user:referee", None),
            (7, "user:white", None),
            (8, "user:referee", None),
            (9, "user:white", None),
        ]
        verified = Process("verify-audit", "--all", env=old_settings.to_environment_variables())
        assert await asyncio.to_thread(verified.wait_end) == 0, verified.output


def check_responses(client: CallerClient, recorded: dict[str, Any]) -> None:
    """Send all reads and all requests with a command id again. The responses are those of the older server."""
    for found in (*recorded["reads"], *recorded["replays"]):
        old = CallerExchange(**found)
        expected = expected_response(old)
        new = client.send(old)
        assert comparable(new, expected) == comparable(expected, expected), (old.caller, old.path, old.key)
    # The same command ids of other callers are new.
    refused = client.post("black", f"{GAME}/switch", key="press-1", status=400)
    assert "idempotency-replayed" not in (refused.headers or {})


def check_that_revoked_tokens_are_refused(client: CallerClient) -> None:
    """Two revocations are in Postgres too, one is only in Redis."""
    for caller in REVOKED:
        refused = client.get(caller, "/v1/sessions")
        assert (refused.status, "revoked" in refused.response) == (401, True), caller
    assert client.get("root", "/v1/sessions").status == 200


async def check_ticket(server: Process, ticket: str) -> None:
    """Open a socket with the ticket of the older server. The ticket works once."""

    def opened() -> connect:
        return connect(f"{server.ws_url}?ticket={ticket}", subprotocols=[Subprotocol("synckairos.v3")], proxy=None)

    async with opened() as socket, asyncio.timeout(20):
        assert orjson.loads(await socket.recv())["type"] == "AUTHENTICATED"
        for verb, code in (("adjust", "FORBIDDEN"), ("switch", "NOT_ACTIVE_PARTICIPANT")):
            args = {"delta_ms": 1} if verb == "adjust" else {}
            message = {"type": "COMMAND", "id": verb, "session_id": GAMES["waiting"], "command": verb, "args": args}
            await socket.send(orjson.dumps(message).decode())
            assert orjson.loads(await socket.recv())["code"] == code
    with pytest.raises(InvalidStatus):
        async with opened():
            pass


def check_that_rights_of_stored_pauses_and_turns_hold(client: CallerClient) -> None:
    """White paused the session for tea, and the referee for rain. White has the turn."""
    assert client.get("guest", GAME).data["status"] == "paused"
    client.post("guest", f"{GAME}/resume", status=403)
    client.post("stranger", f"{GAME}/resume", status=404)
    client.post("black", f"{GAME}/resume", status=403)
    client.post("white", f"{GAME}/resume", {"reason": "rain"}, status=403)
    resumed = client.post("white", f"{GAME}/resume").data
    assert [(each["reason"], each["paused_by"]) for each in resumed["pauses"]] == [("rain", "user:referee")]
    assert client.post("referee", f"{GAME}/resume").data["status"] == "running"
    client.post("black", f"{GAME}/switch", status=409)
    assert client.post("white", f"{GAME}/switch").data["version"] == 9
    assert "turn_number" not in client.get("root", WAITING).data  # sessions keep the first edition of the clock
    client.post("white", f"{ENDED}/switch", status=400)


@pytest.mark.parametrize("old_settings", [True], indirect=True, ids=["without the data of Redis"])
async def test_revocations_of_an_older_release_hold_after_the_loss_of_redis(
    old_settings: Settings, recorded: dict[str, Any]
) -> None:
    async with serving(old_settings, recorded) as (_, client):
        for caller in ("thief", "mallory"):
            assert client.get(caller, "/v1/sessions").status == 401, caller
        listed = client.get("root", "/v1/revocations").data
        assert [(each.get("jti"), each.get("subject")) for each in listed] == [(None, "mallory"), ("stolen", None)]
        assert client.get("referee", ENDED).data["status"] == "completed"
        assert {each["participant_id"] for each in client.get("white", ENDED).data["participants"]} == {WHITE, BLACK}
