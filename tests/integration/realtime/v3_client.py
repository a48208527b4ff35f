"""Client of `synckairos.v3` for tests. It builds states from deltas, like a real client."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from synckairos.clock.merge_patch import merge_patch
from synckairos.wire.document_merge_patch import Json, parse_keyed_document
from tests.integration.realtime.instances import Instance, receive

V3 = Subprotocol("synckairos.v3")


class Known(NamedTuple):
    """A client's knowledge of a session: the state, and the position from which it can resume."""

    state: Json
    position: Json


class V3Client:
    """A connection, with the state of each session and all events."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.states: dict[str, Json] = {}
        self.tags: dict[str, str | None] = {}
        """The tags of the states, by session id."""
        self.events: list[Json] = []
        self._ids = itertools.count(1)

    async def send(self, kind: str, **members: Any) -> None:
        await self.socket.send(orjson.dumps({"type": kind, **members}).decode())

    async def receive(self, deadline_s: float = 10) -> dict[str, Any]:
        """Receive a message. Apply the message to the state of its session."""
        message = await receive(self.socket, deadline_s)
        match message["type"]:
            case "STATE_SYNC" | "STATE_UPDATE":
                self.states[message["session_id"]] = parse_keyed_document(orjson.dumps(message["state"]))
            case "STATE_DELTA":
                state = self.states[message["session_id"]]
                assert (state["epoch"], state["version"]) == (message["epoch"], message["from_version"])
                assert message["version"] >= message["from_version"]
                self.states[message["session_id"]] = merge_patch(state, message["patch"])
            case "EVENT":
                self.events.append(message)
        if "state" in message or "patch" in message:
            self.tags[message["session_id"]] = message.get("tag")
            assert self.states[message["session_id"]]["version"] == message["version"]
        return message

    async def receive_until(self, session_id: str, version: int) -> list[dict[str, Any]]:
        received = []
        while self.states.get(session_id, {}).get("version") != version:
            received.append(await self.receive())
        return received

    async def request(self, kind: str, **members: Any) -> dict[str, Any]:
        """Send a message with an id and return its answer. Apply all messages before the answer."""
        members.setdefault("id", f"m{next(self._ids)}")
        await self.send(kind, **members)
        while (message := await self.receive()).get("reply_to") != members["id"]:
            pass
        return message

    def known(self, session_id: str) -> Known:
        """Return the knowledge of a session for a later resumption."""
        state, tag = self.states[session_id], self.tags[session_id]
        position = {"epoch": state["epoch"], "version": state["version"]}
        return Known(state, position if tag is None else position | {"tag": tag})

    async def resume(self, session_id: str, known: Known) -> dict[str, Any]:
        """Resume a session from earlier knowledge. Return the first answer."""
        self.states[session_id] = known.state
        return await self.request("SUBSCRIBE", session_id=session_id, **known.position)


async def subscribe_and_leave(instance: Instance, session_id: str) -> Known:
    """Subscribe a client and disconnect it. Return its knowledge."""
    async with v3_client(instance) as client:
        await client.request("SUBSCRIBE", session_id=session_id)
        return client.known(session_id)


@asynccontextmanager
async def v3_client(instance: Instance) -> AsyncIterator[V3Client]:
    async with connect(instance.ws_url, subprotocols=[V3], proxy=None) as socket:
        assert socket.subprotocol == V3
        yield V3Client(socket)


def shown(document: bytes) -> bytes:
    """Return a stored document in the comparable form of `normal`."""
    return normal(parse_keyed_document(document))


def normal(state: Json) -> bytes:
    """Return a client's state in a comparable form: lists become objects by id, and members with null are removed."""

    def without_nulls(value: Any) -> Any:
        return {k: without_nulls(v) for k, v in value.items() if v is not None} if isinstance(value, dict) else value

    return orjson.dumps(without_nulls(state), option=orjson.OPT_SORT_KEYS)
