"""The life of a session as one table: what each status allows, and where it leads. A missing entry is the refusal.

`docs/reference/status.md` is rendered from this table.
"""

import re

from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Cancel,
    Command,
    Complete,
    Delete,
    Expire,
    Pause,
    RemoveParticipant,
    Resume,
    Start,
    Switch,
    UpdateMetadata,
)
from synckairos.clock.model import FINAL, Status

NextStatuses = dict[type[Command], frozenset[Status]]


def _to(*statuses: Status) -> frozenset[Status]:
    return frozenset(statuses)


def _always(status: Status) -> NextStatuses:
    """Return what every session allows that isn't deleted, whatever its status."""
    return {UpdateMetadata: _to(status), Delete: _to(status if status in FINAL else Status.CANCELLED)}


def _while_open(status: Status) -> NextStatuses:
    """Return what every session allows that isn't final."""
    return _always(status) | {
        Complete: _to(Status.COMPLETED),
        Cancel: _to(Status.CANCELLED),
        Adjust: _to(status),
        AddParticipant: _to(status),
        RemoveParticipant: _to(status),
    }


STATUS_TABLE: dict[Status, NextStatuses] = {
    Status.PENDING: _while_open(Status.PENDING) | {Start: _to(Status.RUNNING)},
    Status.RUNNING: _while_open(Status.RUNNING)
    | {
        Switch: _to(Status.RUNNING, Status.COMPLETED),
        Pause: _to(Status.PAUSED),
        Expire: _to(Status.RUNNING, Status.PAUSED, Status.EXPIRED),
    },
    Status.PAUSED: _while_open(Status.PAUSED)
    | {
        Switch: _to(Status.PAUSED, Status.RUNNING, Status.COMPLETED),
        Pause: _to(Status.PAUSED),
        Resume: _to(Status.PAUSED, Status.RUNNING),
        Expire: _to(Status.PAUSED, Status.RUNNING),
    },
} | {final: _always(final) for final in FINAL}
"""To which statuses a command can lead from each. `Expire` stands for time itself: warnings, timeouts, lifted pauses.

`switch` on a paused session needs the pause at zero besides, see `turns.switch`.
"""


def command_name(command: type[Command]) -> str:
    """Return a command's name in words: `add_participant`; `time` for what nobody asks."""
    if command is Expire:
        return "time"
    if command is Pause:
        return "pause"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", command.__name__).lower()
