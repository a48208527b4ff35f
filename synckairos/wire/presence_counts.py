"""Presence counts: numbers of clients that watch a session, counted by each instance and added over all instances.

Each connection counts as one client.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Self

import orjson
from msgspec import Meta, Struct
from msgspec.json import Decoder

MAX_LISTED = 1_000
"""Maximum number of participants in the list, in the order of their ids. A session has no more participants."""

MAX_COUNT = 1 << 32
"""Maximum number of clients of one role in the counts of one instance. A larger number is invalid."""


@dataclass(frozen=True, slots=True)
class PresenceIdentity:
    """The identity of a client for presence: its role, and its participant id if it is a participant."""

    role: str
    participant_id: str | None = None


@dataclass(frozen=True, slots=True)
class PresenceCounts:
    """The number of connections by role, and the ids of the participants that have a connection.

    A participant with two connections counts twice in `roles` and is listed once. The ids are sorted, and at most
    `MAX_LISTED`.
    """

    roles: dict[str, int]
    participants: tuple[str, ...] = ()

    @property
    def total_clients(self) -> int:
        """Return the number of clients of all roles together."""
        return sum(self.roles.values())

    @classmethod
    def from_connections(cls, clients: Mapping[PresenceIdentity, int]) -> Self:
        """Return the counts of the clients of one instance.

        `clients` maps each identity to its number of connections.
        """
        roles: Counter[str] = Counter()
        for identity, number in clients.items():
            roles[identity.role] += number
        return cls._from_counters(roles, {each.participant_id for each in clients if each.participant_id is not None})

    @classmethod
    def sum(cls, parts: Iterable[Self]) -> Self:
        """Return the sum of the counts of several instances.

        The id of a participant with clients on two instances is listed once, but all its clients count in the role.
        """
        roles: Counter[str] = Counter()
        participants: set[str] = set()
        for part in parts:
            roles.update(part.roles)
            participants.update(part.participants)
        return cls._from_counters(roles, participants)

    @classmethod
    def _from_counters(cls, roles: Counter[str], participants: set[str]) -> Self:
        return cls(dict(sorted(roles.items())), tuple(sorted(participants)[:MAX_LISTED]))

    def render(self) -> bytes:
        """Render the counts as a JSON object."""
        return orjson.dumps({"roles": self.roles, "participants": self.participants})

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Parse the JSON object that `render` returns. Raises MsgspecError for any other text."""
        stored = _decode(text)
        return cls(stored.roles, tuple(stored.participants))


class _StoredCounts(Struct, frozen=True):
    roles: dict[str, Annotated[int, Meta(ge=0, le=MAX_COUNT)]]
    participants: list[str]


_decode = Decoder(_StoredCounts).decode
