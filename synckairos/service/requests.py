"""Requests to the session service and answers from it. REST, sockets and the timekeeper use the same types."""

import hashlib
from typing import Any

import orjson
from msgspec import Struct

from synckairos.clock.commands import Command, Create, VersionPrecondition
from synckairos.clock.lag_compensation import LagReceipt
from synckairos.clock.model import Session
from synckairos.errors import SyncKairosError, ValidationFailed
from synckairos.principal import Principal, Role
from synckairos.session_names import session_name
from synckairos.store.rate_meter import RateMeter
from synckairos.store.stored_session import StoredSession
from synckairos.wire.command_bodies.shared_members import CommandBody
from synckairos.wire.outbox_entry import CommitCause
from synckairos.wire.session_parser import parse_session
from synckairos.wire.snapshot import SessionSnapshot

FORMER_ROUTES = {
    "add_participant": ("POST", "/participants"),
    "remove_participant": ("DELETE", "/participants"),
    "update_participant": ("PATCH", "/participants"),
    "update_metadata": ("PATCH", ""),
    "update_session": ("PATCH", ""),
    "set_plan": ("PUT", "/plan"),
    "delete": ("DELETE", ""),
}
"""HTTP method and end of the path that `first_edition_fingerprint` uses for a verb. The default is `POST /<verb>`."""


VERBS_WITH_VERSION = frozenset({"set_plan"})
"""Commands that need `expected_version` or `If-Match`, because they would else overwrite changes of other callers."""


MEMBERS_BESIDE_ARGS = {"expected_version", "expected_turn", "on_behalf_of"}
"""Members of a body that are conditions. The audit does not store them, because a replay does not need them."""


def command_fingerprint(verb: str, session_id: str, given: Any) -> str:
    """Return the digest of a command: its verb, its session id, and the arguments `given` by the caller as JSON values.

    This is the form of the next release. This release accepts this form but does not write it yet. Instances of the
    previous release can use the same store during an upgrade, and they accept only `first_edition_fingerprint`.
    """
    return _digest(f"{verb} {session_id}", given)


def first_edition_fingerprint(verb: str, session_id: str, given: Any) -> str:
    """Return the digest of a command in the form of the first edition.

    The digest includes the method and path of the command's REST route. This form is written, so that instances of the
    previous release also replay a command that is retried there.
    """
    method, end = FORMER_ROUTES.get(verb, ("POST", f"/{verb}"))
    return rest_fingerprint(method, f"/v1/sessions/{session_id}{end}", given)


def rest_fingerprint(method: str, path: str, given: Any) -> str:
    """Return the digest of a REST request that is not a command on a session.

    `given` has the JSON values of the request's body.
    """
    return _digest(f"{method} {path}", given)


def _digest(operation: str, given: Any) -> str:
    text = operation.encode() + b"\n" + orjson.dumps(given, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(text, digest_size=16).hexdigest()


class CommandRequest(Struct, frozen=True):
    """One command on a session, in the same form for REST, sockets and the timekeeper.

    `verb` is the REST name of the command. `args` are the arguments as JSON values for the audit, including values that
    the server adds. `given` are the arguments as the caller sent them, and `fingerprint` is their digest. If
    `command_id` was used before with another fingerprint, the command is refused. `meter` counts the request against
    its rate limits. If `meter` is None, the request has no rate limit. `on_behalf_of` is the participant for which the
    caller acts, None if it acts for itself. `role` is the role of the caller on the session, for the audit. It is None
    for callers without a credential.
    """

    principal: Principal
    session_id: str
    command: Command
    verb: str
    args: dict[str, Any] | None = None
    precondition: VersionPrecondition | None = None
    command_id: str | None = None
    fingerprint: str = ""
    given: Any = None
    meter: RateMeter | None = None
    on_behalf_of: str | None = None
    role: Role | None = None

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
        """Build the request of a parsed command. `given` must have the JSON values from which `body` was parsed.

        `etags` are the pairs of version and epoch from `If-Match`. The precondition consists of `etags` and of
        `expected_version` and `expected_turn` of the body. If all are missing, the command has no precondition.

        Raises: ValidationFailed if a command that needs an expected version has none.
        """
        precondition = body.to_precondition(etags)
        if verb in VERBS_WITH_VERSION and body.expected_version is None and not etags:
            raise ValidationFailed.at_path("expected_version", f"required, because {verb} replaces the whole list")
        args = body.model_dump(exclude_unset=True, exclude=MEMBERS_BESIDE_ARGS) if body.model_fields_set else None
        return cls(
            principal=principal,
            session_id=session_id,
            command=body.to_command(),
            verb=verb,
            args=args or None,
            precondition=precondition,
            command_id=command_id,
            fingerprint=first_edition_fingerprint(verb, session_id, given) if command_id is not None else "",
            given=given,
            meter=meter,
            on_behalf_of=body.on_behalf_of,
        )

    @property
    def session_name(self) -> str:
        """Return the name of the session in the tenant of the caller."""
        return session_name(self.principal.tenant, self.session_id)

    @property
    def record_name(self) -> str | None:
        """Return the name of the idempotency record, which is the command id in the scope of the caller.

        Return None if the request has no command id.
        """
        return None if self.command_id is None else self.principal.qualify_command_id(self.command_id)

    @property
    def cause(self) -> CommitCause:
        """Return the cause of the command's own transition, for the audit."""
        return CommitCause(self.principal.actor, self.verb, self.args, role=self.role, on_behalf_of=self.on_behalf_of)

    def matches_fingerprint(self, fingerprint: str) -> bool:
        """Return whether a stored fingerprint belongs to this request.

        Both forms match: the form of `first_edition_fingerprint` and the form of `command_fingerprint`.
        """
        return fingerprint == self.fingerprint or fingerprint == command_fingerprint(
            self.verb, self.session_id, self.given
        )


class CreateRequest(Struct, frozen=True):
    """A request to create a session with the settings `spec`. If `session_id` is None, the service generates a UUIDv7.

    `args` are the JSON values of the request for the audit. `command_id` is the Idempotency-Key, and `fingerprint` the
    digest of the request. `meter` counts the request against its rate limits; None for no rate limit.
    """

    principal: Principal
    spec: Create
    session_id: str | None = None
    args: dict[str, Any] | None = None
    command_id: str | None = None
    fingerprint: str = ""
    meter: RateMeter | None = None

    @property
    def record_name(self) -> str | None:
        """Return the name of the idempotency record, which is the command id in the scope of the caller.

        Return None if the request has no command id.
        """
        return None if self.command_id is None else self.principal.qualify_command_id(self.command_id)

    @property
    def cause(self) -> CommitCause:
        """Return the cause of the creation, for the audit."""
        fingerprint = self.fingerprint if self.command_id is not None else None
        role = None if self.principal.kind == "anonymous" else self.principal.role
        return CommitCause(self.principal.actor, "create", self.args, self.record_name, fingerprint, role=role)

    def matches_fingerprint(self, fingerprint: str) -> bool:
        """Return whether a stored fingerprint is the fingerprint of this request."""
        return fingerprint == self.fingerprint


class StoppedSession(Struct, frozen=True):
    """A session that an exclusive start completed: its version, or the refusal of the completion."""

    session_id: str
    version: int = 0
    refusal: SyncKairosError | None = None


class SessionResult(Struct, frozen=True):
    """The session after a command or at a read, and the time of Redis (`now_ms`) at the decision.

    `audited_version` is the newest version that Postgres is sure to have, None if unknown. `expired_participant_id` is
    the participant whose time ran out before a switch, if the switch therefore changed nothing. Otherwise it is None.
    `stopped` has the sessions that an exclusive start completed. It is None for all other commands.
    `replayed` is True if the answer is from an idempotency record. `parsed` is the parsed state of the session, None if
    the state is not parsed yet.
    """

    snapshot: SessionSnapshot
    now_ms: int
    audited_version: int | None = None
    expired_participant_id: str | None = None
    replayed: bool = False
    parsed: Session | None = None
    stopped: tuple[StoppedSession, ...] | None = None

    @classmethod
    def from_stored_session(
        cls,
        stored: StoredSession,
        now_ms: int,
        parsed: Session | None = None,
        expired_participant_id: str | None = None,
    ) -> "SessionResult":
        """Build the result from a stored session.

        `now_ms` is the time of Redis. See the fields for the other parameters.
        """
        return cls(
            stored.snapshot,
            now_ms,
            audited_version=stored.audited_version,
            expired_participant_id=expired_participant_id,
            parsed=parsed,
        )

    @property
    def session(self) -> Session:
        """Return the state of the session. If `parsed` is None, each access parses the document."""
        return self.parsed or parse_session(self.snapshot.document)

    @property
    def lag_receipt(self) -> LagReceipt | None:
        """Return the charge of the turn that a switch ended, None after an expiry or without lag compensation."""
        return self.session.lag_receipt if self.expired_participant_id is None else None
