"""Who is connected to a session, counted: what each instance writes of its own clients, and their sum."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

import orjson

MAX_LISTED = 1_000
"""Participants named at most, the first by their ids: as many as a session has."""


@dataclass(frozen=True, slots=True)
class PresenceIdentity:
    """One client: its role, and which participant it is where it is one."""

    role: str
    participant_id: str | None = None


@dataclass(frozen=True, slots=True)
class PresenceCounts:
    """How many clients there are of each role, and the participants among them, each once, in order of their ids."""

    roles: dict[str, int]
    participants: tuple[str, ...] = ()

    @property
    def clients(self) -> int:
        return sum(self.roles.values())

    @classmethod
    def count(cls, clients: Mapping[PresenceIdentity, int]) -> Self:
        """Count clients, given how many there are of each."""
        roles: Counter[str] = Counter()
        for who, count in clients.items():
            roles[who.role] += count
        return cls._from_counters(roles, {who.participant_id for who in clients if who.participant_id is not None})

    @classmethod
    def sum(cls, parts: Iterable[Self]) -> Self:
        """Add up what several instances have; a participant who is connected to two of them is named once."""
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
        return orjson.dumps({"roles": self.roles, "participants": self.participants})

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Parse what an instance rendered."""
        members = orjson.loads(text)
        return cls(members["roles"], tuple(members["participants"]))
