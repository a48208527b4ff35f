"""A client's copy of one session, updated by full states, merge patches and events. Pure.

A patch that does not apply raises ReplicaGap. The owner of the copy then subscribes again from the position of the
copy.
"""

from dataclasses import dataclass
from typing import Any

from synckairos_client.generated.clock.merge_patch import merge_patch
from synckairos_client.generated.clock.model import Session
from synckairos_client.generated.clock.transition import Charge
from synckairos_client.generated.wire import document_merge_patch
from synckairos_client.generated.wire.charges_json import charges_from_json
from synckairos_client.generated.wire.instants import parse_instant_ms
from synckairos_client.generated.wire.session_parser import session_from_json

Message = dict[str, Any]
"""A socket message as JSON values."""


class ReplicaGap(Exception):
    """A patch applies to another version than the version of the copy."""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event that no command caused, such as a warning or an expiry, or the deletion of the session.

    `event_type` is a name from `docs/reference/events.md`. `at_ms` is in ms since the Unix epoch. `charges` has the
    times that the event charges, at most one for each participant. It is empty if the event charges no time, and for
    events of earlier releases.
    """

    event_type: str
    version: int
    epoch: str
    at_ms: int
    participant_id: str | None = None
    charges: tuple[Charge, ...] = ()


@dataclass(frozen=True, slots=True)
class Update:
    """A newer state, and the events between the previous update and this state, oldest first.

    If `has_gap` is True, the server no longer had all versions after the previous state, so events can be missing.
    """

    state: Session
    events: tuple[ReceivedEvent, ...] = ()
    has_gap: bool = False


@dataclass(frozen=True, slots=True)
class ReceivedPresence:
    """The watchers of a session: the number of clients, the number for each role, and the ids of participants."""

    clients: int
    roles: dict[str, int]
    participants: frozenset[str]

    @classmethod
    def from_message(cls, message: Message) -> "ReceivedPresence":
        """Return the watchers in a PRESENCE message."""
        return cls(message["clients"], message["roles"], frozenset(message["participants"]))


class SessionReplica:
    """The copy of one session: the keyed form of its document, to which patches apply, and the parsed state."""

    def __init__(self) -> None:
        self.state: Session | None = None
        self._document: document_merge_patch.Json = {}
        self._events: list[ReceivedEvent] = []
        self._last_event: tuple[str, int] | None = None
        self._tag: str | None = None

    @property
    def document(self) -> Message:
        """Return the newest document as JSON values. Empty before the first state."""
        return {} if self.state is None else document_merge_patch.lists_from_keyed(self._document)

    def resume_members(self) -> Message:
        """Return the JSON members of a SUBSCRIBE that resumes at this copy: `epoch`, `version`, `tag`.

        Empty before the first state.
        """
        if self.state is None:
            return {}
        position = {"epoch": self.state.epoch, "version": self.state.version}
        return position if self._tag is None else position | {"tag": self._tag}

    def apply_state(self, message: Message) -> Update:
        """Replace the copy by the state of a STATE_SYNC or STATE_UPDATE. Return the new state with the kept events."""
        self._document = document_merge_patch.key_lists_by_id(message["state"])
        state = session_from_json(message["state"])
        if self._last_event is not None and self._last_event[1] > state.version:
            self._last_event = None  # The store has lost versions. The events of later versions are new events.
        return self._replace_state(message, state, has_gap=message.get("recovered") is False)

    def apply_delta(self, message: Message) -> Update | None:
        """Apply the patch of a STATE_DELTA. Return the new state with the kept events.

        Return None, and change nothing, if the copy already has this version.

        Raises: ReplicaGap if the patch applies to another version than the version of the copy.
        """
        known = self.state
        if known is None or known.epoch != message["epoch"] or known.version < message["from_version"]:
            raise ReplicaGap
        if message["version"] <= known.version:
            return None
        if message["from_version"] != known.version:
            raise ReplicaGap
        self._document = merge_patch(self._document, message["patch"])
        return self._replace_state(message, session_from_json(document_merge_patch.lists_from_keyed(self._document)))

    def keep_event(self, message: Message) -> ReceivedEvent | None:
        """Keep the event of an EVENT message for the next update, and return the event.

        Return None if the event was received before, because a server repeats events after a resume.
        """
        position = message["epoch"], message["version"]
        last = self._last_event
        if last is not None and last[0] == position[0] and position[1] <= last[1]:
            return None
        self._last_event = position
        at_ms = parse_instant_ms(message["at"])
        happened = ReceivedEvent(
            message["event_type"],
            position[1],
            position[0],
            at_ms,
            message.get("participant_id"),
            charges_from_json(message.get("charges", ())),
        )
        self._events.append(happened)
        return happened

    def _replace_state(self, message: Message, state: Session, *, has_gap: bool = False) -> Update:
        self.state = state
        self._tag = message.get("tag")
        events, self._events = tuple(self._events), []
        return Update(state, events, has_gap)
