"""Requests to the session service and their answers: the same types for REST, sockets and the timekeeper."""

import hashlib
from typing import Any

import orjson
from msgspec import Struct

from synckairos.clock.commands import Command, Create, Precondition
from synckairos.clock.lag_compensation import LagReceipt
from synckairos.clock.model import Session
from synckairos.principal import Principal
from synckairos.store.rate_limits import RateMeter
from synckairos.store.stored_session import StoredSession
from synckairos.wire.outbox_entry import Cause
from synckairos.wire.request_bodies import CommandBody
from synckairos.wire.session_json import parse_session
from synckairos.wire.session_version import Snapshot

FORMER_ROUTES = {
    "add_participant": ("POST", "/participants"),
    "remove_participant": ("DELETE", "/participants"),
    "update_metadata": ("PATCH", ""),
    "delete": ("DELETE", ""),
}
"""Method and end of the path that `former_fingerprint` digests for a verb; all others are `POST /<verb>`."""


def command_fingerprint(verb: str, session_id: str, given: Any) -> str:
    """Digest a command: its verb, its session and the arguments `given` as JSON values by the caller.

    This is the form of the next release. It is accepted already and not written yet: instances of the previous
    release, which may serve on the same store during an upgrade, know only `former_fingerprint`.
    """
    return _digest(f"{verb} {session_id}", given)


def former_fingerprint(verb: str, session_id: str, given: Any) -> str:
    """Digest a command as the first edition did, by the method and path of its REST route.

    This form is written, so that a retry that reaches an instance of the previous release is a replay there too.
    """
    method, end = FORMER_ROUTES.get(verb, ("POST", f"/{verb}"))
    return rest_fingerprint(method, f"/v1/sessions/{session_id}{end}", given)


def rest_fingerprint(method: str, path: str, given: Any) -> str:
    """Digest a REST request that is no command on a session; `given` are the JSON values of its body."""
    return _digest(f"{method} {path}", given)


def _digest(operation: str, given: Any) -> str:
    text = operation.encode() + b"\n" + orjson.dumps(given, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=16).hexdigest()


class CommandRequest(Struct, frozen=True):
    """One command on a session, the same for REST, sockets and the timekeeper.

    `verb` is its REST name. `args` are its arguments as JSON values, for the audit, with the values that the server
    adds. `given` are the arguments as the caller sent them; `fingerprint` digests them. A `command_id` that was used
    with another fingerprint is refused. `meter` counts the request against its rate limits.
    """

    principal: Principal
    session_id: str
    command: Command
    verb: str
    args: dict[str, Any] | None = None
    precondition: Precondition | None = None
    command_id: str | None = None
    fingerprint: str = ""
    given: Any = None
    meter: RateMeter | None = None

    @classmethod
    def for_command(
        cls,
        principal: Principal,
        session_id: str,
        verb: str,
        body: CommandBody,
        given: Any,
        *,
        etags: tuple[tuple[int, str], ...] = (),
        command_id: str | None = None,
        meter: RateMeter | None = None,
    ) -> "CommandRequest":
        """Build the request of a parsed command; `given` are the JSON values that `body` was parsed from.

        `etags` are the versions and epochs of `If-Match`; without any, only the body's `expected_version` counts.
        """
        args = body.model_dump(exclude_unset=True, exclude={"expected_version"}) if body.model_fields_set else None
        version = body.expected_version
        return cls(
            principal=principal,
            session_id=session_id,
            command=body.to_command(),
            verb=verb,
            args=args or None,
            precondition=Precondition(version, etags) if etags or version is not None else None,
            command_id=command_id,
            fingerprint=former_fingerprint(verb, session_id, given) if command_id is not None else "",
            given=given,
            meter=meter,
        )

    @property
    def cause(self) -> Cause:
        """Return the cause of the command's own transition."""
        return Cause(self.principal.actor, self.verb, self.args)

    def matches(self, fingerprint: str) -> bool:
        """Return whether a stored fingerprint is this request's, in the form that is written or in the next one."""
        return fingerprint == self.fingerprint or fingerprint == command_fingerprint(
            self.verb, self.session_id, self.given
        )


class CreateRequest(Struct, frozen=True):
    """A session to create. `session_id` None lets the service choose a UUIDv7."""

    principal: Principal
    spec: Create
    session_id: str | None = None
    args: dict[str, Any] | None = None
    command_id: str | None = None
    fingerprint: str = ""
    meter: RateMeter | None = None

    @property
    def cause(self) -> Cause:
        """Return the cause of the creation."""
        fingerprint = self.fingerprint if self.command_id is not None else None
        return Cause(self.principal.actor, "create", self.args, self.command_id, fingerprint)

    def matches(self, fingerprint: str) -> bool:
        """Tell whether a stored fingerprint is this request's."""
        return fingerprint == self.fingerprint


class Answer(Struct, frozen=True):
    """The session after a command or read, and Redis TIME (`now_ms`) at the decision.

    `audited_version` is the newest version that Postgres was known to have. `expired_participant_id` names the
    participant whose time ran out before the command. `parsed` is the state, if it is parsed already.
    """

    snapshot: Snapshot
    now_ms: int
    audited_version: int | None = None
    expired_participant_id: str | None = None
    replayed: bool = False
    parsed: Session | None = None

    @classmethod
    def from_stored(
        cls,
        stored: StoredSession,
        now_ms: int,
        parsed: Session | None = None,
        expired_participant_id: str | None = None,
    ) -> "Answer":
        """Build the answer from a stored session."""
        return cls(
            stored.snapshot,
            now_ms,
            audited_version=stored.audited_version,
            expired_participant_id=expired_participant_id,
            parsed=parsed,
        )

    @property
    def session(self) -> Session:
        """Return the session's state; parse it if it is not parsed yet."""
        return self.parsed or parse_session(self.snapshot.document)

    @property
    def lag_receipt(self) -> LagReceipt | None:
        """Return how a switch charged the turn that it ended; None after an expiry or without lag compensation."""
        return self.session.lag_receipt if self.expired_participant_id is None else None
