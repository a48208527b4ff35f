"""Outbox entries: the data that a commit adds to the outbox for each version.

The worker turns each entry into an audit row.
"""

from collections.abc import Mapping
from typing import Any

import orjson
from msgspec import Struct
from msgspec.json import Decoder

from synckairos.clock.transition import Event, EventType, Transition
from synckairos.session_names import split_session_name
from synckairos.wire.charges_json import ChargeRow, charge_rows, parse_charge_rows
from synckairos.wire.feed_message import EVENTS_SENT, FeedMessage
from synckairos.wire.snapshot import SessionSnapshot, check_stored_document

COMMAND_OF_TIME = "expire"
"""The command in the cause of an overdue transition, which time causes."""


class CommitCause(Struct, frozen=True):
    """The cause of a commit: the actor, the command (a name such as `switch`), the arguments and the command id.

    `fingerprint` is the digest of the request. It distinguishes a repeated command from another command with the same
    command id. A replay needs only `command_id`, `fingerprint` and `expired_participant_id`. These three are None if
    they have no value, and `args` is None if the cause has no request. `role` is the role of the actor on the session,
    None for actors without a credential. `on_behalf_of` is the participant for which the actor acted, None if there is
    none.
    """

    actor: str
    command: str
    args: dict[str, Any] | None = None
    command_id: str | None = None
    fingerprint: str | None = None
    expired_participant_id: str | None = None
    role: str | None = None
    on_behalf_of: str | None = None

    @property
    def is_time(self) -> bool:
        """Return whether time is the cause, and not a caller."""
        return self.command == COMMAND_OF_TIME


class _Event(Struct, frozen=True):
    event_type: EventType
    occurred_at_ms: int
    charges: tuple[ChargeRow, ...] | None = None


_decode_event = Decoder(_Event).decode


class OutboxEntry(Struct, frozen=True):
    """One version in the outbox. `event` is JSON from `render_event`; `document` is the session's JSON.

    `session_name` is the name of the session in its tenant (`session_names.py`). An outbox entry has no
    `SessionSnapshot`, because only the JSON in `event` says whether the version is a deletion, and the tag is not
    stored.
    """

    session_name: str
    epoch: str
    version: int
    event: bytes
    document: bytes

    @property
    def tenant(self) -> str:
        """Return the tenant of the session.

        Raises: ValueError if the name is malformed.
        """
        return split_session_name(self.session_name)[0]

    @property
    def session_id(self) -> str:
        """Return the id of the session, without its tenant.

        Raises: ValueError if the name is malformed.
        """
        return split_session_name(self.session_name)[1]

    def check_event_and_document(self) -> None:
        """Check that `document` is JSON of this session and version, and that `event` has a valid type and instant.

        Raises: ValueError or MsgspecError if one of these conditions is not met.
        """
        check_stored_document(self.session_id, SessionSnapshot(self.epoch, self.version, self.document))
        _decode_event(self.event)

    def to_clock_event(self) -> Event:
        """Return the event of this version. Its `charges` are None if the entry does not say them."""
        fields = orjson.loads(self.event)
        charges = stored_charges(fields)
        return Event(
            EventType(fields["event_type"]),
            fields["occurred_at_ms"],
            fields.get("participant_id"),
            fields.get("group_id"),
            fields.get("time_used_ms"),
            fields.get("time_remaining_ms"),
            None if charges is None else parse_charge_rows(charges),
            tuple(fields.get("participant_ids", ())),
            fields["args"]["restored"]["at_ms"] if fields["event_type"] == EventType.TURN_UNDONE else None,
        )

    def to_feed_message(self) -> FeedMessage:
        """Return the feed message of this version, without a tag and without a change."""
        fields = orjson.loads(self.event)
        event_type, is_by_time = EventType(fields["event_type"]), fields.get("command") == COMMAND_OF_TIME
        return FeedMessage(
            self.session_id,
            SessionSnapshot(self.epoch, self.version, self.document, deleted=fields.get("deleted", False)),
            event_type,
            fields["occurred_at_ms"],
            fields.get("participant_id"),
            charges=parse_charge_rows(stored_charges(fields)) if event_type in EVENTS_SENT or is_by_time else (),
            participant_ids=tuple(fields.get("participant_ids", ())),
            is_by_time=is_by_time,
        )


def stored_charges(fields: Mapping[str, Any]) -> list[ChargeRow] | None:
    """Return the charges of the event of an outbox entry, None if it does not say them. `fields` is the parsed JSON."""
    charges: list[ChargeRow] | None = fields.get(_charges_member(fields["event_type"]))
    return charges


def _charges_member(event_type: str) -> str:
    # An undo also makes earlier charges void, which a drain of an earlier release does not do. Such a drain does not
    # know this name. So it treats the charges as missing, and a worker of this release fills them in later.
    return "charges_after_undo" if event_type == EventType.TURN_UNDONE else "charges"


def render_event(transition: Transition, cause: CommitCause) -> bytes:
    """Render the `event` of an outbox entry as a JSON object.

    JSON members: event_type, occurred_at_ms, participant_id, group_id, time_used_ms, time_remaining_ms, deleted, actor,
    command, args, command_id, fingerprint, expired_participant_id, role, on_behalf_of, charges, participant_ids.
    Members without a value are absent. `charges` is a list of `ChargeRow`, which is empty if the version charges no
    time. It is absent in entries of the previous release, which ignores this member, and in imports. In an undo its
    name is `charges_after_undo`.
    """
    event = transition.event
    fields: dict[str, Any] = {
        "event_type": event.type,
        "occurred_at_ms": event.at_ms,
        "participant_id": event.participant_id,
        "group_id": event.group_id,
        "time_used_ms": event.used_ms,
        "time_remaining_ms": event.remaining_ms,
        "deleted": transition.state.deleted or None,
        "actor": cause.actor,
        "command": cause.command,
        "args": cause.args,
        "command_id": cause.command_id,
        "fingerprint": cause.fingerprint,
        "expired_participant_id": cause.expired_participant_id,
        "role": cause.role,
        "on_behalf_of": cause.on_behalf_of,
        _charges_member(event.type): None if event.charges is None else charge_rows(event.charges),
        "participant_ids": event.participant_ids or None,
    }
    return orjson.dumps({name: value for name, value in fields.items() if value is not None})
