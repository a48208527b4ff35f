"""The status table: the commands that each status allows, and the statuses to which each command leads.

A command that the table omits for a status is refused in that status. `docs/reference/status.md` is rendered from this
table.
"""

import re

from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Amend,
    Announce,
    Cancel,
    Command,
    Complete,
    Delete,
    Done,
    Expire,
    Finish,
    Pause,
    RemoveParticipant,
    Reopen,
    Resume,
    Screen,
    SetPlan,
    Start,
    Switch,
    Undo,
    UpdateMetadata,
    UpdateParticipant,
    UpdateSession,
)
from synckairos.clock.model import FINAL, Status, SyncMode

NextStatuses = dict[type[Command], frozenset[Status]]
"""For one status: each allowed command with the set of statuses that the command can lead to."""


def _to(*statuses: Status) -> frozenset[Status]:
    return frozenset(statuses)


def _allowed_always(status: Status) -> NextStatuses:
    """Return the commands that are allowed in every status of a session that is not deleted.

    The statuses to which the commands lead are those for a session in `status`.
    """
    return {
        UpdateMetadata: _to(status),
        UpdateParticipant: _to(status),
        UpdateSession: _to(status),
        Announce: _to(status),
        Screen: _to(status),
        Delete: _to(status if status in FINAL else Status.CANCELLED),
    }


def _allowed_before_end(status: Status) -> NextStatuses:
    """Return the commands that are allowed in every status that is not final.

    The statuses to which the commands lead are those for a session in `status`.
    """
    return _allowed_always(status) | {
        Complete: _to(Status.COMPLETED),
        Cancel: _to(Status.CANCELLED),
        Adjust: _to(status),
        AddParticipant: _to(status),
        RemoveParticipant: _to(status),
        SetPlan: _to(status),
    }


def _allowed_after_end(status: Status) -> NextStatuses:
    """Return the commands that are allowed in the final status `status`, without `Reopen`."""
    return _allowed_always(status) | {Amend: _to(status)}


STATUS_TABLE: dict[Status, NextStatuses] = {
    Status.PENDING: _allowed_before_end(Status.PENDING) | {Start: _to(Status.RUNNING), Expire: _to(Status.RUNNING)},
    Status.RUNNING: _allowed_before_end(Status.RUNNING)
    | {
        Switch: _to(Status.RUNNING, Status.PAUSED, Status.COMPLETED),
        Done: _to(Status.RUNNING),
        Undo: _to(Status.RUNNING),
        Pause: _to(Status.PAUSED),
        Expire: _to(Status.RUNNING, Status.PAUSED, Status.EXPIRED, Status.COMPLETED, Status.CANCELLED),
    },
    Status.PAUSED: _allowed_before_end(Status.PAUSED)
    | {
        Switch: _to(Status.PAUSED, Status.RUNNING, Status.COMPLETED),
        Undo: _to(Status.PAUSED, Status.RUNNING),
        Pause: _to(Status.PAUSED),
        Resume: _to(Status.PAUSED, Status.RUNNING),
        Expire: _to(Status.PAUSED, Status.RUNNING, Status.EXPIRED),
    },
    Status.EXPIRED: _allowed_after_end(Status.EXPIRED) | {Reopen: _to(Status.PAUSED)},
    Status.COMPLETED: _allowed_after_end(Status.COMPLETED) | {Reopen: _to(Status.PAUSED)},
    Status.CANCELLED: _allowed_after_end(Status.CANCELLED),
}
"""For each status: each allowed command with the set of statuses that the command can lead to.

`Expire` stands for overdue transitions: starts, warnings, timeouts and ends of pauses. In a paused session `switch` is
allowed only at zero, in a hold, or with `switch_while_paused` (`turns.switch`). A switch leads to a paused session by a
hold. Time ends a paused session only if the session has an end. A turn that ends because all participants are done
also counts as `Expire`. The end of the last item of a plan by time leads to a completed session.
"""


INDIVIDUAL_STATUS_TABLE: dict[Status, NextStatuses] = {
    Status.PENDING: STATUS_TABLE[Status.PENDING],
    Status.RUNNING: _allowed_before_end(Status.RUNNING)
    | {
        Start: _to(Status.RUNNING),
        Pause: _to(Status.RUNNING, Status.PAUSED),
        Resume: _to(Status.RUNNING),
        Finish: _to(Status.RUNNING, Status.PAUSED, Status.COMPLETED),
        RemoveParticipant: _to(Status.RUNNING, Status.PAUSED),
        Reopen: _to(Status.RUNNING),
        Expire: _to(Status.RUNNING, Status.PAUSED, Status.EXPIRED, Status.COMPLETED),
    },
    Status.PAUSED: _allowed_before_end(Status.PAUSED)
    | {
        Start: _to(Status.RUNNING),
        Pause: _to(Status.PAUSED),
        Resume: _to(Status.PAUSED, Status.RUNNING),
        Finish: _to(Status.PAUSED, Status.COMPLETED),
        Reopen: _to(Status.PAUSED),
        Expire: _to(Status.PAUSED, Status.RUNNING, Status.EXPIRED, Status.COMPLETED),
    },
    Status.EXPIRED: STATUS_TABLE[Status.EXPIRED],
    Status.COMPLETED: STATUS_TABLE[Status.COMPLETED],
    Status.CANCELLED: STATUS_TABLE[Status.CANCELLED],
}
"""The status table of `individual`. The session runs while a clock runs, and is paused while no clock runs.

The end of the last clock ends the session. After the participant with the last open clock has left, the end of the
session counts as `Expire`.
"""


def status_table_for(mode: SyncMode) -> dict[Status, NextStatuses]:
    """Return the status table of a mode."""
    return INDIVIDUAL_STATUS_TABLE if mode is SyncMode.INDIVIDUAL else STATUS_TABLE


def command_name(command: type[Command]) -> str:
    """Return the name of a command, such as `add_participant`.

    The name of `Expire`, which no caller sends, is `time`.
    """
    if command is Expire:
        return "time"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", command.__name__).lower()
