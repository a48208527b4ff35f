"""What a door asks of the service, and what it gets: the same shapes for REST, sockets and deadlines."""

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson

from synckairos.clock.commands import Command, Create, Precondition
from synckairos.clock.lag_compensation import LagReceipt
from synckairos.clock.model import Session
from synckairos.fast_dataclass import fast_dataclass
from synckairos.principal import Principal
from synckairos.store.rate_limits import RateMeter
from synckairos.store.snapshot import Stored
from synckairos.wire.outbox_entry import Cause
from synckairos.wire.session_json import parse_session


def request_fingerprint(method: str, path: str, asked: Any) -> str:
    """Digest what was asked, as REST asks it: `asked` is the body's JSON values. What one command id stands for."""
    text = f"{method} {path}\n".encode() + orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=16).hexdigest()


@fast_dataclass
@dataclass(frozen=True, slots=True)
class CommandRequest:
    """One command, whichever door it came through.

    `verb` is its REST name and `args` its arguments as JSON, for the audit trail, with what the server adds to them.
    `fingerprint` digests what was asked alone: the same `command_id` with another one is refused.
    """

    principal: Principal
    session_id: str
    command: Command
    verb: str
    args: dict[str, Any] | None = None
    precondition: Precondition | None = None
    command_id: str | None = None
    fingerprint: str = ""
    meter: RateMeter | None = None

    @property
    def cause(self) -> Cause:
        return Cause(self.principal.actor, self.verb, self.args)


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """A session to make; `session_id` None lets us choose (UUIDv7)."""

    principal: Principal
    spec: Create
    session_id: str | None = None
    args: dict[str, Any] | None = None
    command_id: str | None = None
    fingerprint: str = ""
    meter: RateMeter | None = None

    @property
    def cause(self) -> Cause:
        fingerprint = self.fingerprint if self.command_id is not None else None
        return Cause(self.principal.actor, "create", self.args, self.command_id, fingerprint)


@fast_dataclass
@dataclass(frozen=True, slots=True)
class Answer:
    """The session after a command or read: `document` is its JSON, `now_ms` Redis TIME at the decision.

    `audited_version` is what Postgres was known to have, `expired_participant_id` whose time ran out meanwhile, `tag`
    the document's name in the store, where it came from there.
    """

    document: bytes
    epoch: str
    version: int
    now_ms: int
    audited_version: int | None = None
    expired_participant_id: str | None = None
    replayed: bool = False
    parsed: Session | None = None
    tag: str = ""

    @classmethod
    def of(
        cls,
        stored: Stored,
        now_ms: int,
        parsed: Session | None = None,
        expired_participant_id: str | None = None,
    ) -> "Answer":
        """Return the answer that a session gives as it is stored."""
        return cls(
            stored.document,
            stored.epoch,
            stored.version,
            now_ms,
            audited_version=stored.audited_version,
            expired_participant_id=expired_participant_id,
            parsed=parsed,
            tag=stored.tag,
        )

    @property
    def session(self) -> Session:
        """Return the session's state, parsed where it wasn't at hand."""
        return self.parsed or parse_session(self.document)

    @property
    def lag_receipt(self) -> LagReceipt | None:
        """Return how the turn that a switch ended was charged; None where it met an expiry, or lag isn't spared."""
        return self.session.lag_receipt if self.expired_participant_id is None else None
