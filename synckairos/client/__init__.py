"""The former name of the Python client. Deprecated: the client is the package `synckairos_client`.

The names of the first release are available here until release 4. The errors are the classes of `synckairos_client`.
"""

import warnings

from synckairos_client import (
    Ack,
    Client,
    CommandRefused,
    ConnectionEnded,
    ReceivedEvent,
    ReceivedPresence,
    Sample,
    ServerClock,
    ServerTimeUnknown,
    SessionDeleted,
    TooManyConnections,
    Update,
    Watch,
)

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

warnings.warn("synckairos.client is deprecated; import synckairos_client instead", DeprecationWarning, stacklevel=2)
