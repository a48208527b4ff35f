"""The client with a real server: states, events, commands, and permanent ends of the connection."""

import asyncio
from contextlib import aclosing
from uuid import uuid4

import pytest
from websockets.asyncio.server import ServerConnection, serve

from synckairos.clock.commands import Delete, Start, Switch, UpdateMetadata
from synckairos.config import Settings
from synckairos.principal import TIMEKEEPER, Principal
from synckairos_client import (
    Ack,
    Client,
    ClientClosed,
    CommandRefused,
    ConnectionEnded,
    Forbidden,
    PayloadTooLarge,
    ReceivedPresence,
    Session,
    SessionDeleted,
    SessionNotFound,
    Status,
    TooManyConnections,
    Unauthorized,
)
from synckairos_client.generated.wire.session_parser import parse_session
from tests.integration.realtime.instances import Instance, serving

DEADLINE_S = 20


async def stored(instance: Instance, session_id: str) -> Session:
    """Return a session of the store, as the client parses it."""
    return parse_session((await instance.sessions.read(TIMEKEEPER, session_id)).snapshot.document)


async def test_watch_begins_with_the_state_and_gets_each_newer_state(instance: Instance) -> None:
    session_id = await instance.create()
    async with Client(instance.ws_url) as client, client.watch(session_id) as session:
        assert session.state == await stored(instance, session_id)
        updates = session.updates()
        assert (await anext(updates)).state.version == 1
        for command in (Start(), Switch(), UpdateMetadata({"a": {"b": [None]}}), Switch()):
            await instance.command(session_id, command)
            update = await anext(updates)
            assert update.state == session.state == await stored(instance, session_id)
            assert not update.has_gap
        await updates.aclose()


async def test_watch_of_one_row_has_this_row_alone(instance: Instance) -> None:
    session_id = await instance.create(participants=40)
    first, second, *_ = (each.participant_id for each in (await stored(instance, session_id)).participants)
    async with Client(instance.ws_url) as client, client.watch(session_id, only=second.upper()) as session:
        assert [each.participant_id for each in session.state.participants] == [second]
        for command in (Start(), Switch(), Switch()):
            version = (await instance.command(session_id, command)).session.version
            await session.reach(version)
            whole = await stored(instance, session_id)
            assert session.state.participants == tuple(
                each for each in whole.participants if each.participant_id == second
            )
        with pytest.raises(ValueError, match="another value of only"):
            async with client.watch(session_id, only=first):
                pass
        async with client.watch(session_id, only=second) as same:
            assert same is session


async def test_readings_are_calculated_with_the_servers_time(instance: Instance) -> None:
    session_id = await instance.create()
    async with Client(instance.ws_url) as client, client.watch(session_id) as session:
        assert session.remaining_ms(session.state.participants[0].participant_id) == 300_000
        await session.reach((await session.command("start")).version)
        assert session.state.active_participant is not None
        assert session.state.anchor_ms is not None
        before_ms = await instance.sessions.now_ms()
        read = session.remaining_ms()
        after_ms = await instance.sessions.now_ms()
        assert read is not None
        used = [at_ms - session.state.anchor_ms for at_ms in (before_ms, after_ms)]
        assert used[0] - client.error_ms - 1 <= 300_000 - read <= used[1] + client.error_ms + 1
        assert session.used_ms() >= 300_000 - read
        assert session.remaining_ms(session.state.participants[1].participant_id) == 300_000


async def test_command_is_acknowledged_or_refused(instance: Instance) -> None:
    session_id = await instance.create()
    async with Client(instance.ws_url) as client, client.watch(session_id) as session:
        ack = await session.command("start", command_id="one")
        assert ack == Ack("one", 2, session.state.epoch)
        assert await session.command("start", command_id="one") == ack
        assert (await session.reach(2)).status is Status.RUNNING
        with pytest.raises(CommandRefused, match="running") as refused:
            await session.command("start")
        assert refused.value.code == "INVALID_STATE_TRANSITION"
        with pytest.raises(CommandRefused) as refused:
            await session.command("switch", expected_version=1)
        assert refused.value.code == "CONFLICT"
        assert refused.value.details["actual_version"] == 2
        with pytest.raises(CommandRefused) as refused:
            await session.command("switch", expected_turn=7)
        assert refused.value.code == "TURN_OVER"
        assert refused.value.details == {"expected_turn": 7, "turn_number": 1}
        with pytest.raises(CommandRefused, match="validation"):
            await session.command("adjust", {"nonsense": 1})
        with pytest.raises(PayloadTooLarge):
            await session.command("update_metadata", {"metadata": {"a": "b" * 70_000}})
        assert session.state.version == 2
        warned = await session.command("switch", {"nonsense": 1})
        assert [each["path"] for each in warned.warnings] == ["nonsense"]


async def test_many_concurrent_commands_all_take_effect(instance: Instance) -> None:
    session_id = await instance.create()
    async with Client(instance.ws_url) as client, client.watch(session_id) as session:
        await session.command("start")
        acks = await asyncio.gather(*(session.command("switch", expected_turn=None) for _ in range(280)))
        assert [ack.version for ack in acks] == list(range(3, 283))
        await session.reach(282)
        assert session.state == await stored(instance, session_id)


async def test_session_of_1000_participants_is_updated_by_deltas(instance: Instance, other_instance: Instance) -> None:
    session_id = await instance.create(participants=1_000)
    async with Client(instance.ws_url) as client, client.watch(session_id) as session:
        await instance.command(session_id, Start())
        for _ in range(20):
            await other_instance.command(session_id, Switch())
        gone = session.state.participants[500].participant_id
        removed = await session.command("remove_participant", {"participant_id": gone})
        ack = await session.command("add_participant", {"participant_id": str(uuid4()), "total_time_ms": 60_000})
        assert ack.version == removed.version + 1
        await session.reach(ack.version)
        assert session.state == await stored(instance, session_id)


async def test_two_watch_blocks_for_one_session_share_the_watch(instance: Instance) -> None:
    session_id = await instance.create()
    async with Client(instance.ws_url) as client, client.watch(session_id) as one:
        async with client.watch(session_id.upper()) as two:
            assert two is one
        await instance.command(session_id, Start())
        await one.reach(2)


async def test_watch_of_a_missing_session_raises_and_the_client_stays_usable(instance: Instance) -> None:
    session_id = await instance.create()
    async with Client(instance.ws_url) as client:
        with pytest.raises(SessionNotFound):
            async with client.watch(str(uuid4())):
                pass
        async with client.watch(session_id) as session:
            assert session.state.version == 1


async def test_deleted_session_ends_its_watch(instance: Instance) -> None:
    session_id, other_id = await instance.create(), await instance.create()
    async with Client(instance.ws_url) as client, client.watch(session_id) as session:
        await instance.command(session_id, Delete())
        with pytest.raises(SessionDeleted):
            await session.reach(99)
        async with client.watch(other_id) as other:
            assert other.state.version == 1


async def test_delete_of_a_watched_session_is_acknowledged(instance: Instance) -> None:
    session_id = await instance.create()
    async with Client(instance.ws_url) as client, client.watch(session_id) as session:
        async with asyncio.timeout(DEADLINE_S):
            assert (await session.command("delete")).version == 2


async def test_connection_that_is_refused_at_the_limit_is_not_retried(settings: Settings) -> None:
    async with serving(settings.model_copy(update={"ws_max_connections": 1})) as instance:
        session_id = await instance.create()
        async with Client(instance.ws_url) as client, client.watch(session_id), Client(instance.ws_url) as another:
            with pytest.raises(TooManyConnections):
                async with another.watch(session_id):
                    pass
            with pytest.raises(TooManyConnections):
                await another.command(session_id, "start")


@pytest.mark.parametrize(("code", "known"), [(4599, ConnectionEnded), (4503, Forbidden), (4501, Unauthorized)])
async def test_permanent_close_code_ends_the_client(code: int, known: type[Exception]) -> None:
    connections = 0

    async def turn_away(socket: ServerConnection) -> None:
        nonlocal connections
        connections += 1
        await socket.close(code, "no")

    async with serve(turn_away, "127.0.0.1", 0, subprotocols=["synckairos.v3"]) as server:  # type: ignore[list-item]
        port = next(iter(server.sockets)).getsockname()[1]
        async with Client(f"ws://127.0.0.1:{port}/ws") as client:
            with pytest.raises(known, match="no"):
                await client.command(str(uuid4()), "start")
    assert connections == 1


async def test_call_outside_the_async_with_block_is_refused(instance: Instance) -> None:
    client = Client(instance.ws_url)
    with pytest.raises(ClientClosed):
        await client.command(str(uuid4()), "start")
    async with client:
        await asyncio.create_task(Client.measure(client))
    with pytest.raises(ClientClosed):
        await client.measure()


async def test_presences_yield_the_connected_watchers_after_each_change(settings: Settings) -> None:
    async with serving(settings, principal=Principal.anonymous_admin()) as instance:
        session_id, ada = await instance.create(), str(uuid4())
        async with (
            Client(instance.ws_url) as client,
            client.watch(session_id) as session,
            aclosing(session.presences()) as presences,
        ):
            async with asyncio.timeout(DEADLINE_S):
                alone = ReceivedPresence(1, {"viewer": 1}, frozenset())
                assert await anext(presences) == session.present == alone
                async with Client(instance.ws_url, participant_id=ada) as other, other.watch(session_id):
                    both = ReceivedPresence(2, {"participant": 1, "viewer": 1}, frozenset({ada}))
                    assert await anext(presences) == session.present == both
                assert await anext(presences) == alone
