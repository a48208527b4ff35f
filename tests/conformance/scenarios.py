"""What every client guarantees: one scenario for each guarantee, with a real server and an injected fault.

The docstring of a scenario is its guarantee in `docs/reference/client-guarantees.md`. The decorator names the fault.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from synckairos.clock.commands import Delete, Start, Switch, UpdateMetadata
from synckairos.config import Settings
from synckairos.embedded import Valkey
from synckairos.errors import StoreUnavailable
from synckairos.principal import TIMEKEEPER
from synckairos.service.requests import CommandRequest
from synckairos.store.shared_connection import RedisPipe
from synckairos.wire.document_merge_patch import parse_keyed_document
from tests.conformance.adapter import DEADLINE_S, Lane, Refused, SdkProcess, sdk_process
from tests.faketime import SettableClock
from tests.integration.authentication import make_token
from tests.integration.client.proxy import Proxy, proxy_to, target_of
from tests.integration.parts import open_parts
from tests.integration.realtime.instances import CALLER, CredentialLifeOptions, Instance, serving
from tests.integration.realtime.store_proxy import store_proxy
from tests.integration.realtime.v3_client import normal
from tests.principals import make_principal
from tests.processes import Process
from tests.waiting import eventually

ADMIN = make_principal("admin")

SLEEP_S = 0.6
"""Seconds for which the machine of a client sleeps."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a scenario uses: the client, the settings of servers, and functions that start further processes."""

    lane: Lane
    javascript: Path
    settings: Settings
    folder: Path
    start_server: Callable[[Settings], Process]
    start_valkey: Callable[[], Valkey]

    @asynccontextmanager
    async def client(self, env: dict[str, str] | None = None) -> AsyncIterator[SdkProcess]:
        """Run the client of the lane."""
        async with sdk_process(self.lane, self.javascript, env) as sdk:
            yield sdk

    @asynccontextmanager
    async def watched(
        self, *, is_started: bool = True, **changes: Any
    ) -> AsyncIterator[tuple[Instance, Proxy, SdkProcess, str]]:
        """Run a server, a proxy in front of it, and a client that watches a session through the proxy.

        `changes` are changed settings of the server.
        """
        settings = self.settings.model_copy(update=changes)
        async with serving(settings) as instance, proxy_to(instance.ws_url) as proxy, self.client() as sdk:
            session_id = await instance.create()
            if is_started:
                await instance.command(session_id, Start())
            await sdk.connect(proxy.url)
            await sdk.request("watch", session_id=session_id)
            yield instance, proxy, sdk, session_id


Scenario = Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Guarantee:
    """One guarantee: its scenario, the fault that is injected, and the text for the documentation."""

    scenario: Scenario
    fault: str

    @property
    def name(self) -> str:
        return self.scenario.__name__

    @property
    def text(self) -> str:
        return " ".join((self.scenario.__doc__ or "").split())


GUARANTEES: list[Guarantee] = []


def guarantee(fault: str) -> Callable[[Scenario], Scenario]:
    """Return a decorator that adds a scenario with this fault to `GUARANTEES`."""

    def add(scenario: Scenario) -> Scenario:
        GUARANTEES.append(Guarantee(scenario, fault))
        return scenario

    return add


async def switch(instance: Instance, session_id: str, count: int) -> int:
    """Switch a session `count` times, and return its version."""
    version = 0
    for _ in range(count):
        version = (await instance.command(session_id, Switch())).snapshot.version
    return version


async def check_state(sdk: SdkProcess, instance: Instance, session_id: str) -> None:
    """Check that the document of the client is the stored document."""
    stored = (await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.document
    shown = orjson.dumps(await sdk.request("document"))
    assert normal(parse_keyed_document(shown)) == normal(parse_keyed_document(stored))


async def check_time(sdk: SdkProcess) -> bool:
    """Check that the client's time, if it is known, is right within its error. Return whether it is known."""
    before_ms = time.time() * 1000
    read = await sdk.request("read")
    if read["now_ms"] is None:
        assert read["remaining_ms"] is None
        return False
    assert before_ms - read["error_ms"] <= read["now_ms"] <= time.time() * 1000 + read["error_ms"]
    return True


# -- connections ------------------------------------------------------------------------------------------------------


@guarantee("The connection breaks, and versions are committed before the client is back.")
async def resume(stage: Stage) -> None:
    """After a reconnection the watch continues at its version. It receives each missed version once, without a gap."""
    async with stage.watched() as (instance, proxy, sdk, session_id):
        proxy.block()
        version = await switch(instance, session_id, 5)
        proxy.target = target_of(instance.ws_url)
        await sdk.until_version(version)
        assert sdk.versions() == sorted(set(sdk.versions()))
        assert not any(update["gap"] for update in sdk.updates)
        await check_state(sdk, instance, session_id)


@guarantee("The client is away for longer than the server keeps versions.")
async def gap(stage: Stage) -> None:
    """If events can be missing, the update says so, and the state is the newest one."""
    async with stage.watched(history_length=2) as (instance, proxy, sdk, session_id):
        proxy.block()
        version = await switch(instance, session_id, 12)
        proxy.target = target_of(instance.ws_url)
        await sdk.until_version(version)
        assert sdk.updates[-1]["gap"]
        await check_state(sdk, instance, session_id)


@guarantee("The server closes the connection with 4001, because the client reads too slowly.")
async def slow_reader(stage: Stage) -> None:
    """A client that was too slow comes back and continues without a gap."""
    async with stage.watched() as (instance, _, sdk, session_id):
        for connection in instance.connections:
            connection.close(4001, "too slow")
        version = await switch(instance, session_id, 3)
        await sdk.until_version(version)
        assert not any(update["gap"] for update in sdk.updates)
        assert (await sdk.command("switch"))["version"] == version + 1


@guarantee("The instance drains: it sends GOAWAY and closes its connections.")
async def drain(stage: Stage) -> None:
    """The client moves to another instance. No command is lost or executed twice, and no update is missing."""
    async with serving(stage.settings) as other, stage.watched() as (instance, proxy, sdk, session_id):
        proxy.target = target_of(other.ws_url)
        instance.server.stop()
        commands = [await sdk.command("switch") for _ in range(5)]
        assert [each["version"] for each in commands] == [3, 4, 5, 6, 7]
        await sdk.until_version(7)
        await eventually(lambda: _is(not instance.connections and bool(other.connections)))
        assert not any(update["gap"] for update in sdk.updates)
        await check_state(sdk, other, session_id)


@guarantee("SIGKILL ends the instance of the client.")
async def instance_killed(stage: Stage) -> None:
    """The client continues on another instance, without a gap and without a lost command."""
    async with serving(stage.settings) as other, stage.client() as sdk:
        doomed = await asyncio.to_thread(stage.start_server, stage.settings)
        session_id = await other.create()
        await other.command(session_id, Start())
        async with proxy_to(doomed.ws_url) as proxy:
            await sdk.connect(proxy.url)
            await sdk.request("watch", session_id=session_id)
            proxy.target = target_of(other.ws_url)
            doomed.kill()
            assert (await sdk.command("switch"))["version"] == 3
            version = await switch(other, session_id, 3)
            await sdk.until_version(version)
            assert not any(update["gap"] for update in sdk.updates)
            await check_state(sdk, other, session_id)


@guarantee("The store fails over to a replica that lacks three versions. Their numbers are issued again.")
async def store_failover(stage: Stage) -> None:
    """After data loss the client has the state of the new store, and the update has a gap."""
    primary, replica = stage.start_valkey(), stage.start_valkey()
    async with store_proxy(primary.url) as store:
        changes: dict[str, Any] = {"redis_url": store.url, "queue_redis_url": store.url}
        async with stage.watched(**changes) as (instance, proxy, sdk, session_id):
            kept = await switch(instance, session_id, 2)
            epoch = (await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.epoch
            await _replicate(instance, primary, replica, session_id)
            lost = await switch(instance, session_id, 3)
            await sdk.until_version(lost)
            proxy.block()
            async with open_parts(stage.settings.model_copy(update={"redis_url": replica.url})) as parts:
                for number in range(3):
                    command = UpdateMetadata({"anew": number})
                    await parts.sessions.execute(CommandRequest(CALLER, session_id, command, "update_metadata"))
            primary.kill()
            store.target_url = replica.url
            store.cut()
            recovered = await eventually(lambda: _version_after(instance, session_id, epoch), DEADLINE_S)
            assert recovered is not None
            assert recovered > max(lost, kept + 3)
            known = len(sdk.updates)
            proxy.target = target_of(instance.ws_url)
            await sdk.until(lambda: len(sdk.updates) > known)
            assert sdk.updates[-1]["gap"]
            await check_state(sdk, instance, session_id)
            assert (await sdk.command("switch"))["version"] == recovered + 1


async def _replicate(instance: Instance, primary: Valkey, replica: Valkey, session_id: str) -> None:
    """Make one Valkey a replica of the other until it has the session, and then end the replication."""
    stored = (await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.document
    key = instance.parts.store.keys.session(session_id)
    async with RedisPipe(primary.url, 5) as at_primary, RedisPipe(replica.url, 5) as at_replica:
        await at_primary.call("CONFIG", "SET", "repl-diskless-sync-delay", 0)
        await at_replica.call("REPLICAOF", "127.0.0.1", primary.port)
        await eventually(lambda: _is_stored(at_replica, key, stored), DEADLINE_S)
        await at_replica.call("REPLICAOF", "NO", "ONE")


async def _is_stored(pipe: RedisPipe, key: str, document: bytes) -> bool:
    return bool(await pipe.call("HGET", key, "state") == document)


async def _version_after(instance: Instance, session_id: str, epoch: str) -> int | None:
    """Return the version of the session if it has another epoch, None otherwise or while the store does not answer."""
    with suppress(StoreUnavailable):
        snapshot = (await instance.sessions.read(TIMEKEEPER, session_id)).snapshot
        return None if snapshot.epoch == epoch else snapshot.version
    return None


async def _is(value: bool) -> bool:
    return value


@guarantee("The session is deleted. Later another client watches it.")
async def deletion(stage: Stage) -> None:
    """The watch of a deleted session ends with `SESSION_DELETED`. A new watch of it ends with `SESSION_NOT_FOUND`."""
    async with stage.watched() as (instance, _, sdk, session_id), stage.client() as late:
        await instance.command(session_id, Delete())
        await sdk.until(lambda: sdk.ended is not None)
        assert sdk.ended == "SESSION_DELETED"
        await late.connect(instance.ws_url)
        with pytest.raises(Refused, match="SESSION_NOT_FOUND"):
            await late.request("watch", session_id=session_id)


# -- commands ---------------------------------------------------------------------------------------------------------


@guarantee("The connection breaks after the commit and before the ACK.")
async def lost_ack(stage: Stage) -> None:
    """A command takes effect once. The client repeats it until it has the answer."""
    async with stage.watched() as (instance, proxy, sdk, session_id):
        for version in (3, 4, 5):
            left = [True]

            def is_first_ack(chunk: bytes, left: list[bool] = left) -> bool:
                return b'"ACK"' in chunk and left.pop() if left else False

            proxy.should_cut = is_first_ack
            assert (await sdk.command("switch"))["version"] == version
            assert not left
        await sdk.until_version(5)
        await check_state(sdk, instance, session_id)


@guarantee("The caller repeats a command with the same id, after a later turn began.")
async def repeated_command(stage: Stage) -> None:
    """A repeated command id gives the first answer, and the command is not executed again."""
    async with stage.watched() as (instance, _, sdk, session_id):
        first = await sdk.command("switch", command_id="one")
        version = await switch(instance, session_id, 1)
        await sdk.until_version(version)
        assert await sdk.command("switch", command_id="one") == first
        await check_state(sdk, instance, session_id)
        assert sdk.versions()[-1] == version


@guarantee("Another caller ends the turn before the press arrives.")
async def turn_guard(stage: Stage) -> None:
    """A press that arrives in a later turn is refused. Presses one after the other each end one turn."""
    async with stage.watched(is_started=False) as (instance, proxy, sdk, session_id):
        await sdk.command("start")
        for version in (3, 4, 5):
            assert (await sdk.command("switch"))["version"] == version
        await sdk.until_version(5)
        proxy.block()
        await switch(instance, session_id, 1)
        pressing = asyncio.create_task(sdk.command("switch"))
        await asyncio.sleep(0)
        # The client handles the requests in order, so after this answer the press waits for the connection.
        await sdk.request("read")
        proxy.target = target_of(instance.ws_url)
        with pytest.raises(Refused, match="TURN_OVER"):
            await pressing
        await sdk.until_version(6)


# -- credentials ------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def guarded(stage: Stage, **life: float) -> AsyncIterator[tuple[Instance, SdkProcess, str]]:
    """Run a server that requires tokens, and a client that asks the test for tokens."""
    limits = CredentialLifeOptions(**life)
    async with serving(stage.settings, credential_life=limits) as instance, stage.client() as sdk:
        session_id = await instance.create()
        await instance.command(session_id, Start())
        await sdk.connect(instance.ws_url, asks_tokens=True)
        yield instance, sdk, session_id


def token(life_s: float = 3_600, **claims: Any) -> str:
    return make_token(role="admin", exp=time.time() + life_s, **claims)


@guarantee("The first token has expired before the server sees it.")
async def expired_token(stage: Stage) -> None:
    """The client fetches another token after a refusal, and connects with it."""
    async with guarded(stage) as (_, sdk, session_id):
        await sdk.request("token", token=token(-100))
        await sdk.request("token", token=token())
        await sdk.request("watch", session_id=session_id)
        assert sdk.token_requests == 2
        assert (await sdk.command("switch"))["version"] == 3


@guarantee("The token expires on the open connection, which the server closes with 4005.")
async def expiry_of_an_open_connection(stage: Stage) -> None:
    """The client comes back with a fresh token and continues without a gap."""
    async with guarded(stage) as (instance, sdk, session_id):
        await sdk.request("token", token=token(1.5))
        await sdk.request("watch", session_id=session_id)
        await sdk.until(lambda: sdk.token_requests == 2)
        version = await switch(instance, session_id, 2)
        await sdk.request("token", token=token())
        await sdk.until_version(version)
        assert not any(update["gap"] for update in sdk.updates)


@guarantee("The token ends soon, and the server asks for another one (REAUTH).")
async def refreshed_token(stage: Stage) -> None:
    """The client sends a fresh token on the open connection. The connection stays."""
    async with guarded(stage, warn_before_s=25) as (instance, sdk, session_id):
        await sdk.request("token", token=token(20))
        await sdk.request("watch", session_id=session_id)
        (connection,) = instance.connections
        await sdk.until(lambda: sdk.token_requests == 2)
        await sdk.request("token", token=token())

        async def has_long_life() -> bool:
            life = connection.principal.life
            return life is not None and (life.expires_at_ms or 0) > (time.time() + 600) * 1000

        await eventually(has_long_life)
        assert (await sdk.command("switch"))["version"] == 3
        assert instance.connections == [connection]


@guarantee("The token of the connection is revoked (4501).")
async def revoked_token(stage: Stage) -> None:
    """The client ends with `UNAUTHORIZED` and does not come back."""
    async with guarded(stage) as (instance, sdk, session_id):
        await sdk.request("token", token=token(jti="stolen"))
        await sdk.request("watch", session_id=session_id)
        await instance.revocations.revoke(ADMIN, token_id="stolen")
        await sdk.until(lambda: sdk.ended is not None)
        assert (sdk.ended, sdk.token_requests) == ("UNAUTHORIZED", 1)
        with pytest.raises(Refused, match="UNAUTHORIZED"):
            await sdk.command("switch")


# -- time -------------------------------------------------------------------------------------------------------------


@guarantee("The wall clock of the client is wrong by three days. Later it is set back by a week.")
async def wrong_clock(stage: Stage) -> None:
    """Readings do not depend on the wall clock. The server's time is right within its error, or it is not known."""
    clock = SettableClock(stage.folder / "clock")
    clock.set(3 * 86_400)
    async with serving(stage.settings) as instance, stage.client(clock.env) as sdk:
        session_id = await instance.create()
        await instance.command(session_id, Start())
        await sdk.connect(instance.ws_url)
        await sdk.request("watch", session_id=session_id)
        assert await check_time(sdk)
        clock.set(-4 * 86_400)
        await eventually(lambda: check_time(sdk), DEADLINE_S)
        read = await sdk.request("read")
        assert 240_000 < read["remaining_ms"] <= 300_000


@guarantee("The machine of the client sleeps, and the network forgets the connection.")
async def sleep(stage: Stage) -> None:
    """After a sleep no wrong reading is shown. The client measures anew, replaces the connection, and continues."""
    async with stage.watched() as (instance, proxy, sdk, session_id):
        assert await check_time(sdk)
        sleeping = asyncio.create_task(sdk.request("sleep", seconds=SLEEP_S))
        proxy.down_ms, proxy.jitter = 3_600_000.0, 0.0
        version = await switch(instance, session_id, 2)
        await sleeping
        await check_time(sdk)
        proxy.down_ms = 0.0
        await sdk.until_version(version)
        await eventually(lambda: check_time(sdk), DEADLINE_S)
        assert proxy.connections > 1
        assert not any(update["gap"] for update in sdk.updates)
