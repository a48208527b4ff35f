"""The life of a session as one table: what each status allows, and where it leads. A missing entry is the refusal.

`docs/status.md` is drawn from this table (`python -m synckairos.clock.statuses > docs/status.md`).
"""

import re
import sys
from collections.abc import Iterable

from synckairos.clock.commands import (
    AddParticipant,
    Adjust,
    Cancel,
    Command,
    Complete,
    Delete,
    Expire,
    PauseFor,
    RemoveParticipant,
    Resume,
    Start,
    Switch,
    UpdateMetadata,
)
from synckairos.clock.model import FINAL, Status

Leads = dict[type[Command], frozenset[Status]]


def _to(*statuses: Status) -> frozenset[Status]:
    return frozenset(statuses)


def _always(status: Status) -> Leads:
    """Return what every session allows that isn't deleted, whatever its status."""
    return {UpdateMetadata: _to(status), Delete: _to(status if status in FINAL else Status.CANCELLED)}


def _while_open(status: Status) -> Leads:
    """Return what every session allows that isn't final."""
    return _always(status) | {
        Complete: _to(Status.COMPLETED),
        Cancel: _to(Status.CANCELLED),
        Adjust: _to(status),
        AddParticipant: _to(status),
        RemoveParticipant: _to(status),
    }


TABLE: dict[Status, Leads] = {
    Status.PENDING: _while_open(Status.PENDING) | {Start: _to(Status.RUNNING)},
    Status.RUNNING: _while_open(Status.RUNNING)
    | {
        Switch: _to(Status.RUNNING, Status.COMPLETED),
        PauseFor: _to(Status.PAUSED),
        Expire: _to(Status.RUNNING, Status.PAUSED, Status.EXPIRED),
    },
    Status.PAUSED: _while_open(Status.PAUSED)
    | {
        Switch: _to(Status.PAUSED, Status.RUNNING, Status.COMPLETED),
        PauseFor: _to(Status.PAUSED),
        Resume: _to(Status.PAUSED, Status.RUNNING),
        Expire: _to(Status.PAUSED, Status.RUNNING),
    },
} | {final: _always(final) for final in FINAL}
"""To which statuses a command can lead from each. `Expire` stands for time itself: warnings, timeouts, lifted pauses.

`switch` on a paused session needs the pause at zero besides, see `turns.switch`.
"""


# -- the table as a page ----------------------------------------------------------------------------------------------


def status_page() -> str:
    """Return `docs/status.md`: the table as a Mermaid diagram, and in words."""
    arrows: dict[tuple[Status, Status], list[str]] = {}
    for before, leads in TABLE.items():
        for command, afters in leads.items():
            for after in Status:
                if after in afters and (before, after) != (after, before):
                    arrows.setdefault((before, after), []).append(name_of(command))
    diagram = [f"    {before} --> {after}: {', '.join(names)}" for (before, after), names in arrows.items()]
    finals = [status for status in Status if status in FINAL]
    rows = [
        f"| `{before}` | `{name_of(command)}` | {_code(after for after in Status if after in afters)} |"
        for before, leads in TABLE.items()
        if before not in FINAL
        for command, afters in leads.items()
    ]
    return "\n".join(
        [
            "# The life of a session",
            "",
            "Drawn from the table in `synckairos/clock/statuses.py`; a test fails where this page is stale.",
            "`time` is what happens by itself: warnings, timeouts, pauses that lift.",
            "",
            "```mermaid",
            "stateDiagram-v2",
            "    [*] --> pending: create",
            *diagram,
            *(f"    {final} --> [*]" for final in finals),
            "```",
            "",
            "| from | by | to |",
            "|---|---|---|",
            *rows,
            f"| {_code(finals)} | {_code(name_of(command) for command in TABLE[Status.COMPLETED])} | itself |",
            "",
            "`switch` while paused is allowed only in the pause at zero (`on_timeout: pause`). What isn't in the table",
            "is refused with `INVALID_STATE_TRANSITION`.",
            "",
        ]
    )


def name_of(command: type[Command]) -> str:
    """Return a command's name in words: `add_participant`; `time` for what nobody asks."""
    if command is Expire:
        return "time"
    if command is PauseFor:
        return "pause"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", command.__name__).lower()


def _code(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


if __name__ == "__main__":
    sys.stdout.write(status_page())
