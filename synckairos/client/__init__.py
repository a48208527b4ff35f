"""An asyncio client of `synckairos.v3`: watch sessions, read their clocks, and send commands exactly once.

    async with Client("ws://127.0.0.1:3000/ws") as client, client.watch(session_id) as session:
        print(session.remaining_ms())

The package needs only `websockets` and the pure packages `clock` and `wire`. It imports no other part of the server.
"""

from synckairos.client.clock_offset import Sample, ServerClock
from synckairos.client.errors import CommandRefused, ConnectionEnded, ServerTimeUnknown, SessionDeleted
from synckairos.client.pending_commands import Ack
from synckairos.client.reconnecting_client import Client
from synckairos.client.replica import ReceivedEvent, ReceivedPresence, Update
from synckairos.client.watched_session import Watch
from synckairos.errors import TooManyConnections

__all__ = [
    "Ack",
    "Client",
    "CommandRefused",
    "ConnectionEnded",
    "ReceivedEvent",
    "ReceivedPresence",
    "Sample",
    "ServerClock",
    "ServerTimeUnknown",
    "SessionDeleted",
    "TooManyConnections",
    "Update",
    "Watch",
]
