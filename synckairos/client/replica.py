"""A client's copy of one session, kept by what the server tells: full states, merge patches, events. Pure.

Raises OutOfStep where a patch doesn't fit; whoever keeps the copy then asks again from its position.
"""

from dataclasses import dataclass
from typing import Any

from synckairos.clock.merge_patch import merge_patch
from synckairos.clock.model import Session
from synckairos.wire import document_merge_patch
from synckairos.wire.instants import parse_instant
from synckairos.wire.session_json import parse_session_values

Message = dict[str, Any]


class ReplicaGap(Exception):
    """A patch doesn't begin at the version this copy has."""


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that happened by itself: a warning, an expiry, a deletion. `event_type` is one of the contract's."""

    event_type: str
    version: int
    epoch: str
    at_ms: int
    participant_id: str | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """A newer state, and what happened by itself on the way to it, oldest first.

    `has_gap`: the server no longer knew the versions since the last state, so events of theirs may be missing.
    """

    state: Session
    events: tuple[Happened, ...] = ()
    has_gap: bool = False


@dataclass(frozen=True, slots=True)
class Present:
    """Who is connected to a session: how many clients in all and of each role, and which participants."""

    clients: int
    roles: dict[str, int]
    participants: frozenset[str]

    @classmethod
    def of(cls, message: Message) -> "Present":
        """Take a PRESENCE."""
        return cls(message["clients"], message["roles"], frozenset(message["participants"]))


class SessionReplica:
    """The copy: the document by ids, as patches want it, and the state it stands for."""

    def __init__(self) -> None:
        self.state: Session | None = None
        self._document: document_merge_patch.Json = {}
        self._events: list[Happened] = []
        self._told: tuple[str, int] | None = None
        self._tag: str | None = None

    def position(self) -> Message:
        """Return what to resume from: `epoch`, `version`, `tag` where it has one; nothing before the first state."""
        if self.state is None:
            return {}
        place = {"epoch": self.state.epoch, "version": self.state.version}
        return place if self._tag is None else place | {"tag": self._tag}

    def take_state(self, message: Message) -> Update:
        """Take a STATE_SYNC or STATE_UPDATE: the truth, whatever was here."""
        self._document = document_merge_patch.index_lists(message["state"])
        state = parse_session_values(message["state"])
        if self._told is not None and self._told[1] > state.version:
            self._told = None  # the store lost versions: what it issues anew happens anew
        return self._renew(message, state, has_gap=message.get("recovered") is False)

    def take_delta(self, message: Message) -> Update | None:
        """Take a STATE_DELTA; None where it brings nothing new. Raises OutOfStep."""
        known = self.state
        if known is None or known.epoch != message["epoch"] or known.version < message["from_version"]:
            raise ReplicaGap
        if message["version"] <= known.version:
            return None
        if message["from_version"] != known.version:
            raise ReplicaGap
        self._document = merge_patch(self._document, message["patch"])
        return self._renew(message, parse_session_values(document_merge_patch.restore_lists(self._document)))

    def take_event(self, message: Message) -> Happened | None:
        """Take an EVENT; it goes with the next state. None where it was told before, as resuming does."""
        place = message["epoch"], message["version"]
        if self._told is not None and self._told[0] == place[0] and place[1] <= self._told[1]:
            return None
        self._told = place
        at_ms = parse_instant(message["at"])
        happened = Happened(message["event_type"], place[1], place[0], at_ms, message.get("participant_id"))
        self._events.append(happened)
        return happened

    def _renew(self, message: Message, state: Session, *, has_gap: bool = False) -> Update:
        self.state = state
        self._tag = message.get("tag")
        events, self._events = tuple(self._events), []
        return Update(state, events, has_gap)
