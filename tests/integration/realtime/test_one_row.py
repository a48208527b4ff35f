"""Watchers that get the row of one participant alone, by `only` of SUBSCRIBE."""

from typing import Any
from uuid import uuid4

import orjson

from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Command,
    NewParticipant,
    Pause,
    RemoveParticipant,
    Resume,
    Start,
    Switch,
)
from synckairos.config import Settings
from synckairos.service.requests import CommandRequest
from synckairos.wire.document_merge_patch import parse_keyed_document
from synckairos.wire.participant_view import render_participant_view
from tests.integration.realtime.instances import CALLER, Instance, receive_presence, serving
from tests.integration.realtime.v3_client import V3Client, normal, v3_client

PARTICIPANTS = 60


async def participants_of(instance: Instance, session_id: str) -> list[str]:
    session = (await instance.sessions.read(CALLER, session_id)).session
    return [each.participant_id for each in session.participants]


async def execute(instance: Instance, session_id: str, verb: str, command: Command) -> int:
    """Execute a command. Return the version of the session after it."""
    answer = await instance.sessions.execute(CommandRequest(CALLER, session_id, command, verb))
    return answer.snapshot.version


async def document_of(instance: Instance, session_id: str) -> bytes:
    document: bytes = await instance.parts.pipe.call("HGET", instance.parts.store.keys.session(session_id), "state")
    return document


async def assert_view(instance: Instance, client: V3Client, session_id: str, participant_id: str) -> None:
    """Check that the state of a client is the view of the stored document with one row."""
    document = await document_of(instance, session_id)
    await client.receive_until(session_id, orjson.loads(document)["version"])
    view = parse_keyed_document(render_participant_view(document, participant_id))
    assert normal(client.states[session_id]) == normal(view)


async def test_each_watcher_gets_its_own_row_and_small_deltas(settings: Settings) -> None:
    async with serving(settings) as instance:
        session_id = await instance.create(participants=PARTICIPANTS)
        first, second, *_, last = await participants_of(instance, session_id)
        await instance.command(session_id, Start())
        async with (
            v3_client(instance) as one,
            v3_client(instance) as same,
            v3_client(instance) as other,
            v3_client(instance) as everyone,
        ):
            watchers = ((one, first), (same, first), (other, last))
            for client, participant_id in watchers:
                answer = await client.request("SUBSCRIBE", session_id=session_id, only=participant_id)
                assert [each["participant_id"] for each in answer["state"]["participants"]] == [participant_id]
                assert answer["state"]["groups"] == []
            await everyone.request("SUBSCRIBE", session_id=session_id)
            commands: tuple[tuple[str, Command], ...] = (
                ("switch", Switch()),
                ("switch", Switch()),
                ("pause", Pause()),
                ("adjust", Adjust(1_000, (second,))),
                ("adjust", Adjust(500, (first, last))),
                ("resume", Resume()),
            )
            for verb, command in commands:
                version = await execute(instance, session_id, verb, command)
                (delta,) = await everyone.receive_until(session_id, version)
                assert len(delta["patch"].get("participants", {})) <= 2
                for client, participant_id in watchers:
                    (delta,) = await client.receive_until(session_id, version)
                    assert delta["type"] == "STATE_DELTA"
                    assert delta["patch"].get("participants", {}).keys() <= {participant_id}
                    assert len(orjson.dumps(delta)) < 2_000
                    await assert_view(instance, client, session_id, participant_id)
            assert len(everyone.states[session_id]["participants"]) == PARTICIPANTS


async def test_a_row_that_leaves_and_returns(settings: Settings) -> None:
    async with serving(settings) as instance:
        session_id = await instance.create(participants=3)
        newcomer = str(uuid4())
        async with v3_client(instance) as client:
            answer = await client.request("SUBSCRIBE", session_id=session_id, only=newcomer)
            assert (answer["type"], answer["code"]) == ("ERROR", "PARTICIPANT_NOT_FOUND")
            await execute(
                instance, session_id, "add_participant", AddParticipant(NewParticipant(newcomer, total_time_ms=1_000))
            )
            await client.request("SUBSCRIBE", session_id=session_id, only=newcomer)
            await assert_view(instance, client, session_id, newcomer)
            returning = AddParticipant(NewParticipant(newcomer, total_time_ms=2_000))
            changes: tuple[tuple[str, Command], ...] = (
                ("remove_participant", RemoveParticipant(newcomer)),
                ("add_participant", returning),
            )
            for verb, command in changes:
                version = await execute(instance, session_id, verb, command)
                await client.receive_until(session_id, version)
                await assert_view(instance, client, session_id, newcomer)


async def test_a_watcher_resumes_its_row_after_a_gap(settings: Settings) -> None:
    async with serving(settings) as instance:
        session_id = await instance.create(participants=PARTICIPANTS)
        first, second, *_ = await participants_of(instance, session_id)
        await instance.command(session_id, Start())
        async with v3_client(instance) as client:
            await client.request("SUBSCRIBE", session_id=session_id, only=second)
            known = client.known(session_id)
        for _ in range(3):
            await instance.command(session_id, Switch())
        async with v3_client(instance) as client:
            client.states[session_id] = known.state
            answer = await client.request("SUBSCRIBE", session_id=session_id, only=second, **known.position)
            assert answer["recovered"] is True
            assert answer["patch"].get("participants", {}).keys() <= {second}
            await assert_view(instance, client, session_id, second)
            # The same version with another row: the client has no state of this row.
            answer = await client.request("SUBSCRIBE", session_id=session_id, only=first)
            assert answer["type"] == "STATE_SYNC"
            await assert_view(instance, client, session_id, first)


async def test_presence_names_no_other_participant(settings: Settings) -> None:
    async with serving(settings, principal=None) as instance:
        session_id = await instance.create(participants=3)
        first, second, _ = await participants_of(instance, session_id)
        async with v3_client(instance) as one, v3_client(instance) as other:
            await one.request("SUBSCRIBE", session_id=session_id, only=first, participant_id=first)
            await other.request("SUBSCRIBE", session_id=session_id, participant_id=second)
            limited: dict[str, Any] = await receive_presence(one.socket, 2)
            assert limited["participants"] == [first]
            everyone = await receive_presence(other.socket, 2)
            assert everyone["participants"] == sorted([first, second])
