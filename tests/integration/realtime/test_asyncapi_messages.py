"""All messages and close codes match AsyncAPI. `instances.receive` also checks the messages of all other tests."""

from itertools import chain
from uuid import uuid4

import jsonschema_rs
import pytest
from websockets.exceptions import ConnectionClosed

from synckairos.clock.commands import Delete, Start, Switch, UpdateMetadata
from synckairos.realtime import v2_connection, v3_connection, v3_sign_in
from synckairos.realtime.v2_connection import V2Connection
from synckairos.realtime.v3_connection import V3Connection
from synckairos.wire.close_code_docs import V2_CLOSE_CODES, V3_CLOSE_CODES
from tests.integration.realtime.asyncapi_check import check_message, message_types
from tests.integration.realtime.instances import Instance, receive, receive_presence, watching
from tests.integration.realtime.v3_client import v3_client

OF_CREDENTIALS = {"AUTHENTICATED", "REAUTH", "UNSUBSCRIBED"}
"""Messages that are only sent while authentication is on. `test_credential_life.py` receives each of them."""


async def test_every_v3_message_is_sent_and_described(instance: Instance) -> None:
    deleted_id, session_id = await instance.create(), await instance.create()
    async with v3_client(instance) as client:
        types = [(await client.request("SUBSCRIBE", session_id=each))["type"] for each in (deleted_id, session_id)]
        types.append((await receive_presence(client.socket, 1))["type"])
        types.append((await client.request("PING", t0=1.5))["type"])
        types.append((await client.request("COMMAND", session_id=session_id, command="start"))["type"])
        types.append((await client.request("COMMAND", session_id=session_id, command="start"))["type"])
        conflict = await client.request("COMMAND", session_id=session_id, command="pause", expected_version=1)
        assert conflict["details"]["state"]["version"] == 2
        await instance.command(session_id, UpdateMetadata({"a": None, "b": [None]}))
        types += [each["type"] for each in await client.receive_until(session_id, 3)]
        await instance.command(session_id, UpdateMetadata({"b": 1}))
        await instance.command(session_id, Switch())
        types += [each["type"] for each in await client.receive_until(session_id, 5)]
        await instance.command(deleted_id, Delete())
        types.append((await client.receive())["type"])
        types.append((await client.request("UNSUBSCRIBE", session_id=session_id))["type"])
        instance.server.stop()
        types.append((await client.receive())["type"])
    assert set(types) == message_types("v3") - OF_CREDENTIALS


async def test_every_v2_message_is_sent_and_described(instance: Instance) -> None:
    session_id = await instance.create()
    async with watching(instance, session_id) as client:
        types = [(await receive(client))["type"] for _ in range(2)]
        for sent in ("PING", "NOPE"):
            await client.send(f'{{"type":"{sent}"}}')
            types.append((await receive(client))["type"])
        for command in (Start(), Delete()):
            await instance.command(session_id, command)
            types.append((await receive(client))["type"])
        with pytest.raises(ConnectionClosed):
            await receive(client)
    assert set(types) == message_types("v2")


def test_message_with_an_undescribed_member_fails_the_check() -> None:
    goaway = {"type": "GOAWAY", "server_time_ms": 1, "retry_after_ms": 2}
    check_message(goaway)
    for wrong in (goaway | {"more": 1}, goaway | {"retry_after_ms": "2"}, {"type": "PONG", "timestamp": str(uuid4())}):
        with pytest.raises(jsonschema_rs.ValidationError):
            check_message(wrong)


def test_every_close_code_is_described() -> None:
    for connection, modules, described in (
        (V3Connection, (v3_connection, v3_sign_in), V3_CLOSE_CODES),
        (V2Connection, (v2_connection,), V2_CLOSE_CODES),
    ):
        by_name = {name: getattr(connection.codes, name) for name in connection.codes.__slots__}
        codes = {code for code, _ in by_name.pop("credential_ends").values()} | set(by_name.values())
        constants = chain.from_iterable(vars(module).values() for module in modules)
        codes |= {each[0] for each in constants if isinstance(each, tuple) and isinstance(each[0], int)}
        assert codes <= set(described)
