"""What clients of a run saw, and what the stores have at its end. The checker judges these values."""

from dataclasses import dataclass, field
from typing import Any

Position = tuple[str, int]
"""An epoch and a version of a session."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful answer to a switch or a read. The instants are in seconds of one monotonic clock."""

    client: str
    session_id: str
    command_id: str
    sent_s: float
    answered_s: float
    position: Position
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """A state that a watcher received. `connection` counts the connections of this watcher."""

    watcher: str
    connection: int
    session_id: str
    position: Position
    document: dict[str, Any]


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A version in Postgres. `occurred_ms` is the instant of its event, in ms since the Unix epoch."""

    session_id: str
    position: Position
    command_id: str | None
    event_type: str
    occurred_ms: int
    document: dict[str, Any]


@dataclass(slots=True)
class History:
    """One run. `stored` has the position of each session in Redis at the end, and `deadlines_ms` the countdowns.

    `retries` has the answers to commands that a client repeated after their answers. `sent` has the session of each
    command that a client sent, also without an answer. `findings` are the findings of `verify-audit`.
    """

    answers: list[Answer] = field(default_factory=list)
    retries: list[Answer] = field(default_factory=list)
    frames: list[Frame] = field(default_factory=list)
    audit: list[AuditRow] = field(default_factory=list)
    stored: dict[str, Position] = field(default_factory=dict)
    deadlines_ms: dict[str, int] = field(default_factory=dict)
    sent: dict[str, str] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
