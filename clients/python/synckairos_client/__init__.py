"""A client of SyncKairos: watch sessions, read their clocks, and send commands exactly once.

    async with Client("https://clock.example.org") as client, client.watch(session_id) as session:
        print(session.remaining_ms())

The package needs only `websockets` and `orjson`. `generated` has copies of the clock rules of the server.
"""

from synckairos_client.clock_offset import Sample, ServerClock
from synckairos_client.errors import (
    ClientClosed,
    CommandRefused,
    ConnectionEnded,
    Forbidden,
    ParticipantNotFound,
    PayloadTooLarge,
    RequestFailed,
    ServerTimeUnknown,
    SessionDeleted,
    SessionNotFound,
    SubscriptionRefused,
    SyncKairosError,
    TooManyConnections,
    Unauthorized,
)
from synckairos_client.generated.clock.model import Group, OnTimeout, Participant, Rules, Session, Status, SyncMode
from synckairos_client.generated.clock.transition import Charge
from synckairos_client.pending_commands import Ack
from synckairos_client.reconnecting_client import Client
from synckairos_client.replica import ReceivedEvent, ReceivedPresence, Update
from synckairos_client.socket_interface import Transport
from synckairos_client.watched_session import Turn, Watch

__version__ = "0.1.0"

__all__ = [
    "Ack",
    "Charge",
    "Client",
    "ClientClosed",
    "CommandRefused",
    "ConnectionEnded",
    "Forbidden",
    "Group",
    "OnTimeout",
    "Participant",
    "ParticipantNotFound",
    "PayloadTooLarge",
    "ReceivedEvent",
    "ReceivedPresence",
    "RequestFailed",
    "Rules",
    "Sample",
    "ServerClock",
    "ServerTimeUnknown",
    "Session",
    "SessionDeleted",
    "SessionNotFound",
    "Status",
    "SubscriptionRefused",
    "SyncKairosError",
    "SyncMode",
    "TooManyConnections",
    "Transport",
    "Turn",
    "Unauthorized",
    "Update",
    "Watch",
]
