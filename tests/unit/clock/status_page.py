"""Render `docs/reference/status.md` from the status table.

python -m tests.unit.clock.status_page > docs/reference/status.md
"""

from synckairos.clock.commands import Command, Expire
from synckairos.clock.model import FINAL, Status
from synckairos.clock.status_table import STATUS_TABLE, command_name

OPEN = [status for status in Status if status not in FINAL]
ENDED = [status for status in Status if status in FINAL]


def status_page() -> str:
    """Return the page: the status table as a Mermaid diagram and as a Markdown table."""
    commands = dict.fromkeys(command for leads in STATUS_TABLE.values() for command in leads)
    rows = [
        f"| `{command_name(command)}` | {' | '.join(_cell(STATUS_TABLE[status].get(command)) for status in OPEN)} "
        f"| {_ended_cell(command)} |"
        for command in sorted(commands, key=lambda command: (command is Expire, command_name(command)))
    ]
    return "\n".join(
        [
            "# Status: the life of a session",
            "",
            "A [session](../glossary.md) has one status. [Commands](../glossary.md) and time change it.",
            "A new session is `pending`. The statuses `expired`, `completed` and `cancelled` are final. Only `reopen`",
            "leaves them.",
            "",
            "In the diagram and in the table, `time` stands for overdue transitions: starts at `starts_at`, warnings,",
            "timeouts and pauses that end at their `max_ms`. No caller causes them.",
            "",
            "```mermaid",
            "stateDiagram-v2",
            "    [*] --> pending: create",
            *_arrows(),
            *(f"    {status} --> [*]" for status in ENDED),
            "```",
            "",
            f"| | {' | '.join(f'`{status}`' for status in OPEN)} | {', '.join(f'`{status}`' for status in ENDED)} |",
            f"|---|{'---|' * (len(OPEN) + 1)}",
            *rows,
            "",
            "A cell names the statuses that the command can lead to. A command with – in its cell is refused with",
            "[`INVALID_STATE_TRANSITION`](errors.md). `stays` means that the status does not change.",
            "",
            "- `switch` on a paused session is allowed only in the [pause at zero](timeouts.md#at-zero).",
            "- `switch` on an expired session changes nothing, and is not refused if it [came too",
            "  late](timeouts.md#a-switch-that-comes-too-late).",
            "- In [`individual`](individual.md#status) the status follows from the clocks: `start`, `finish` and",
            "  `reopen` are also allowed in a session that runs or is paused. `switch`, `done` and `undo` are refused.",
            "- `time` ends a paused session only if the session has [`ends_at`](timeouts.md#start-and-end).",
            "- `start` sets `session_started_at`. A final status sets `session_completed_at`, and `reopen` removes it.",
            "- `delete` removes the session for callers. Its [audit trail](../operate/audit.md) stays.",
            "- The [event catalogue](events.md) lists the event of each transition.",
            "",
            "A test keeps this page equal to the status table in the code.",
            "",
        ]
    )


def _cell(afters: frozenset[Status] | None) -> str:
    return ", ".join(status for status in Status if status in afters) if afters else "–"


def _ended_cell(command: type[Command]) -> str:
    """Return the cell of the final statuses: `stays`, or the next statuses with the statuses that allow the command."""
    leads = {status: STATUS_TABLE[status][command] for status in ENDED if command in STATUS_TABLE[status]}
    if not leads:
        return "–"
    if all(afters == {status} for status, afters in leads.items()):
        return "stays"
    others = ", ".join(each for each in ENDED if each not in leads)
    return f"{_cell(frozenset().union(*leads.values()))} (not from {others})"


def _arrows() -> list[str]:
    arrows: dict[tuple[Status, Status], list[str]] = {}
    for before in Status:
        for command, afters in STATUS_TABLE[before].items():
            for after in Status:
                if after in afters and after is not before:
                    arrows.setdefault((before, after), []).append(command_name(command))
    return [f"    {before} --> {after}: {', '.join(sorted(names))}" for (before, after), names in arrows.items()]


if __name__ == "__main__":
    print(status_page(), end="")
