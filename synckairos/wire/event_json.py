"""Events of the audit as JSON. All responses, exports and webhooks use the same JSON members."""

from typing import Any, Protocol

import orjson

from synckairos.clock.transition import Charge
from synckairos.wire.charges_json import charges_json
from synckairos.wire.instants import render_instant

_FIRST_COLUMNS = (
    "epoch", "version", "event_type", "participant_id", "group_id", "actor", "occurred_at", "time_used_ms",
    "time_remaining_ms",
)  # fmt: skip
_LAST_COLUMNS = ("role", "on_behalf_of", "charges", "command_id", "participant_ids")

ACTOR_MEMBERS = frozenset(("actor", "role", "on_behalf_of", "command_id"))
"""Members of an event that say who caused the event, with which role, for which participant and by which command."""


def event_columns(snapshots: bool) -> tuple[str, ...]:
    """Return the names of the columns of events as CSV, in order. If `snapshots` is True, they include `state`.

    Columns that are newer than `state` come after it, so that the position of a column never changes.
    """
    return (*_FIRST_COLUMNS, *(("state",) if snapshots else ()), *_LAST_COLUMNS)


class RenderableEvent(Protocol):
    """The attributes of an event that rendering reads. `occurred_at_ms` is in ms since the Unix epoch.

    `document` is the session's JSON after the event, None if it was not read. `charges` is empty if the event charges
    no time, or if its charges are not known. `participant_ids` is empty unless the event names several participants.
    Each other optional attribute is None if the event has no such value. It does not depend on whether the document was
    read.
    """

    @property
    def epoch(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def event_type(self) -> str: ...
    @property
    def occurred_at_ms(self) -> int: ...
    @property
    def participant_id(self) -> str | None: ...
    @property
    def group_id(self) -> str | None: ...
    @property
    def actor(self) -> str | None: ...
    @property
    def time_used_ms(self) -> int | None: ...
    @property
    def time_remaining_ms(self) -> int | None: ...
    @property
    def document(self) -> bytes | None: ...
    @property
    def role(self) -> str | None: ...
    @property
    def on_behalf_of(self) -> str | None: ...
    @property
    def charges(self) -> tuple[Charge, ...]: ...
    @property
    def record_name(self) -> str | None: ...
    @property
    def participant_ids(self) -> tuple[str, ...]: ...


def event_json(event: RenderableEvent, *, shows_actor: bool) -> dict[str, Any]:
    """Return an event as JSON values, without the members that are None.

    If `shows_actor` is True, the result contains the members of `ACTOR_MEMBERS`. The rule `read_actors` decides this by
    the role of the reader. The JSON member `state` contains the bytes of `event.document` unchanged.
    """
    members: dict[str, Any] = {
        "epoch": event.epoch,
        "version": event.version,
        "event_type": event.event_type,
        "participant_id": event.participant_id,
        "group_id": event.group_id,
        "actor": event.actor,
        "occurred_at": render_instant(event.occurred_at_ms),
        "time_used_ms": event.time_used_ms,
        "time_remaining_ms": event.time_remaining_ms,
        "role": event.role,
        "on_behalf_of": event.on_behalf_of,
        "charges": charges_json(event.charges) or None,
        # No scope and no command id has a space. See `Principal.qualify_command_id`.
        "command_id": None if event.record_name is None else event.record_name.rpartition(" ")[2],
        "participant_ids": event.participant_ids or None,
        "state": None if event.document is None else orjson.Fragment(event.document),
    }
    return {
        name: value
        for name, value in members.items()
        if value is not None and (shows_actor or name not in ACTOR_MEMBERS)
    }
