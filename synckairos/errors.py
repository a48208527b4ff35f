"""Named errors: each refusal and each failure of the product, defined once.

Each error has a stable `code`, an HTTP `status` and its data as attributes. `http/problem_responses.py` renders errors
as problem details, and the dialects in `realtime` render errors as socket frames. This module does not depend on HTTP,
sockets or Redis.
"""

from typing import Any


class SyncKairosError(Exception):
    """Base class of all named errors.

    `code` is stable and public. `status` is the HTTP status in REST. `details` is a value that can be rendered as JSON,
    None if there are no details. `replayed` is True for a refusal from an idempotency record. `document` is the JSON of
    the version on which the refusal was decided, None if there is none.
    """

    code: str = "INTERNAL_ERROR"
    status: int = 500

    def __init__(self, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.replayed = False
        self.document: bytes | None = None


class InternalError(SyncKairosError):
    """An unexpected error. The caller receives only the fixed text of this class; the cause is logged."""

    def __init__(self) -> None:
        super().__init__("Something went wrong on our side")


# -- errors of the request --------------------------------------------------------------------------------------------


class ValidationFailed(SyncKairosError):
    """The request has an invalid shape or an invalid value. `details` lists every fault: `[{"path", "message"}]`."""

    code = "VALIDATION_ERROR"
    status = 400

    def __init__(self, faults: list[dict[str, str]], message: str = "Request validation failed") -> None:
        super().__init__(message, faults)

    @classmethod
    def at_path(cls, path: str, message: str) -> "ValidationFailed":
        """Return the error for one fault. `path` names the invalid part of the request.

        The part is a JSON member (with dots between the levels), a query parameter or a header. If `path` is empty, the
        part is the whole request.
        """
        return cls([{"path": path, "message": message}])


class MalformedMessage(SyncKairosError):
    """A socket message that is not valid in its dialect. The connection stays open."""

    code = "MALFORMED_MESSAGE"
    status = 400


class Unauthorized(SyncKairosError):
    """The request has no credential or no valid one. `challenge` is the value of the header `WWW-Authenticate`."""

    code = "UNAUTHORIZED"
    status = 401

    def __init__(self, message: str, *, has_credential: bool = True) -> None:
        super().__init__(message)
        # RFC 6750: a challenge names an error only if the request has a credential.
        self.challenge = 'Bearer realm="synckairos"' + (', error="invalid_token"' if has_credential else "")


class InsecureTransport(SyncKairosError):
    """A token came over plain HTTP from another machine, so other machines can have read it. The token is refused."""

    code = "INSECURE_TRANSPORT"
    status = 400

    def __init__(self) -> None:
        super().__init__(
            "A token must not travel over plain HTTP from another machine. Use HTTPS. If a proxy ends TLS, add it to "
            "SYNCKAIROS_TRUSTED_PROXIES and let it send X-Forwarded-Proto. SYNCKAIROS_INSECURE allows plain HTTP"
        )


class Forbidden(SyncKairosError):
    code = "FORBIDDEN"
    status = 403


class AuthenticationOff(Forbidden):
    """The operation concerns credentials, and authentication is off."""

    def __init__(self) -> None:
        super().__init__("Authentication is off. Set SYNCKAIROS_AUTH=required to use credentials")


class TenantUnknown(Forbidden):
    code = "TENANT_UNKNOWN"

    def __init__(self, tenant: str) -> None:
        super().__init__(f"Tenant {tenant} does not exist")


class NotFound(SyncKairosError):
    """The route or resource does not exist."""

    code = "NOT_FOUND"
    status = 404


class SessionNotFound(NotFound):
    code = "SESSION_NOT_FOUND"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session {session_id} not found")
        self.session_id = session_id


class SessionNotImported(SessionNotFound):
    """The session was unfinished in v2's audit when v2 ended, and it was not imported from v2's Redis."""

    def __init__(self, session_id: str) -> None:
        super().__init__(session_id)
        self.message = (
            f"Session {session_id} was left unfinished in SyncKairos v2 and was not imported from v2's Redis. Its"
            " history is readable: see its events, or add ?at=<ms>"
        )


class NotArchived(NotFound):
    """The session exists but has no archive. `details.status` is `failed` if archiving failed, else `none`."""

    code = "NOT_ARCHIVED"

    def __init__(self, session_id: str, failed: bool = False) -> None:
        state = "could not be archived (yet)" if failed else "is not archived"
        super().__init__(f"Session {session_id} {state}", {"status": "failed" if failed else "none"})
        self.session_id = session_id


class ArchiveInProgress(SyncKairosError):
    """The session is being archived. The caller can retry the request."""

    code = "ARCHIVE_PROCESSING"
    status = 409
    retry_after_s = 1

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session {session_id} is being archived; try again shortly", {"status": "processing"})
        self.session_id = session_id


class ParticipantNotFound(NotFound):
    code = "PARTICIPANT_NOT_FOUND"

    def __init__(self, participant_id: str) -> None:
        super().__init__(f"Participant {participant_id} is not in this session")
        self.participant_id = participant_id


class MethodNotAllowed(SyncKairosError):
    code = "METHOD_NOT_ALLOWED"
    status = 405


class PayloadTooLarge(SyncKairosError):
    code = "PAYLOAD_TOO_LARGE"
    status = 413


class HeadersTooLarge(SyncKairosError):
    code = "HEADERS_TOO_LARGE"
    status = 431


class UpgradeRequired(SyncKairosError):
    """A request for the WebSocket without an upgrade, or with a WebSocket version other than 13 (RFC 6455)."""

    code = "UPGRADE_REQUIRED"
    status = 426


class RequestTimeout(SyncKairosError):
    """The request body did not arrive in time."""

    code = "REQUEST_TIMEOUT"
    status = 408


class UnsupportedMediaType(SyncKairosError):
    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415


class RateLimitExceeded(SyncKairosError):
    """A rate limit is used up. `limit` is the description of the rate limit.

    `setting` is the name of the setting that changes the rate limit. The next request is allowed after `retry_after_ms`
    milliseconds.
    """

    code = "RATE_LIMIT_EXCEEDED"
    status = 429

    def __init__(self, limit: str, setting: str, retry_after_ms: int) -> None:
        retry_after_s = max(1, -(-retry_after_ms // 1000))
        super().__init__(
            f"Too many requests for the {limit}; try again in {retry_after_s} s",
            {"setting": setting, "retry_after_ms": retry_after_ms},
        )
        self.retry_after_s = retry_after_s


class TooManySubscriptions(SyncKairosError):
    """A socket already watches `limit` sessions, the maximum. The new subscription was refused."""

    code = "TOO_MANY_SUBSCRIPTIONS"
    status = 400

    def __init__(self, limit: int) -> None:
        super().__init__(f"A socket watches at most {limit} sessions; unsubscribe from one or open another socket")
        self.limit = limit


# -- refusals because of the session's state --------------------------------------------------------------------------


class InvalidTransition(SyncKairosError):
    """The status of the session does not allow the command. The message names the status."""

    code = "INVALID_STATE_TRANSITION"
    status = 400


class ParticipantExpired(SyncKairosError):
    code = "PARTICIPANT_EXPIRED"
    status = 400

    def __init__(self, participant_id: str) -> None:
        super().__init__(f"Participant {participant_id} has run out of time; add time with adjust first")
        self.participant_id = participant_id


class NotActiveParticipant(SyncKairosError):
    """The participant `current_participant_id` does not have the turn. Usually the command came too late."""

    code = "NOT_ACTIVE_PARTICIPANT"
    status = 409

    def __init__(self, participant_id: str, active_participant_id: str | None) -> None:
        super().__init__(
            f"Participant {participant_id} is not active",
            {"active_participant_id": active_participant_id},
        )


class ParticipantExists(SyncKairosError):
    code = "PARTICIPANT_EXISTS"
    status = 409

    def __init__(self, participant_id: str) -> None:
        super().__init__(f"Participant {participant_id} is already in this session")


class SessionExists(SyncKairosError):
    code = "SESSION_EXISTS"
    status = 409

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session {session_id} already exists")


class VersionConflict(SyncKairosError):
    """The session does not have the version `expected_version`. `details` has the expected and the actual version."""

    code = "CONFLICT"
    status = 409

    def __init__(self, expected_version: int, actual_version: int) -> None:
        super().__init__(
            f"The session is at version {actual_version}, not {expected_version}; read its state and decide again",
            {"expected_version": expected_version, "actual_version": actual_version},
        )
        self.expected_version = expected_version
        self.actual_version = actual_version


class TurnOver(SyncKairosError):
    """The session does not have the turn number `expected_turn`. Usually the command came too late."""

    code = "TURN_OVER"
    status = 409

    def __init__(self, expected_turn: int, turn_number: int) -> None:
        super().__init__(
            f"The session is in turn {turn_number}, not {expected_turn}",
            {"expected_turn": expected_turn, "turn_number": turn_number},
        )


class PreconditionFailed(SyncKairosError):
    """`If-Match` does not name the current version and epoch of the session."""

    code = "PRECONDITION_FAILED"
    status = 412


class ReplayedRefusal(SyncKairosError):
    """The replay of a refusal. It has the code, status, text and details of the original error."""

    def __init__(self, code: str, status: int, message: str, details: Any) -> None:
        super().__init__(message, details)
        self.code = code
        self.status = status
        self.replayed = True


class IdempotencyKeyReused(SyncKairosError):
    code = "IDEMPOTENCY_KEY_REUSED"
    status = 422

    def __init__(self) -> None:
        super().__init__("This Idempotency-Key was used for another request; take a fresh key for each")


# -- refusals of webhook requests -------------------------------------------------------------------------------------


class WebhookDisabled(SyncKairosError):
    """The webhook endpoint is disabled. It receives no messages until an operator enables it."""

    code = "WEBHOOK_DISABLED"
    status = 409

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"Webhook {webhook_id} is disabled; enable it first")


class TooManyConnections(SyncKairosError):
    """The instance or the client already has the maximum number of connections or live tails."""

    code = "TOO_MANY_CONNECTIONS"
    status = 503
    retry_after_s = 5


class TooManyWebhooks(SyncKairosError):
    """There are already `limit` webhook endpoints, the maximum. The new webhook endpoint was refused."""

    code = "TOO_MANY_WEBHOOKS"
    status = 409

    def __init__(self, limit: int) -> None:
        super().__init__(f"At most {limit} webhook endpoints are allowed; delete one first")
        self.limit = limit


# -- refusals of administrative requests ------------------------------------------------------------------------------


class TooManyRevocations(SyncKairosError):
    """The store already has the maximum number of revocations that still have an effect."""

    code = "TOO_MANY_REVOCATIONS"
    status = 409

    def __init__(self) -> None:
        super().__init__("The maximum number of revocations is reached. Revoke by grp, subject or all instead of jti")


# -- failures of the server or its stores -----------------------------------------------------------------------------


class StoreUnavailable(SyncKairosError):
    """Redis does not answer, or Postgres does not answer a request that needs Postgres.

    After this error the outcome of a command is unknown. Retry the command with the same Idempotency-Key. `setting` is
    the variable with the URL of the store, None if the store was reached. `remedy` is the action for an operator if the
    store was not reached. `address` is the URL of the store without secrets, None if `setting` has the URL.
    """

    code = "STORE_UNAVAILABLE"
    status = 503
    retry_after_s = 1
    remedy = "start the store, or correct the setting (`synckairos doctor` checks both)"

    def __init__(
        self,
        message: str = "The store is not reachable; try again shortly",
        *,
        setting: str | None = None,
        address: str | None = None,
    ) -> None:
        super().__init__(message)
        self.setting = setting
        self.address = address


class KeysUnavailable(SyncKairosError):
    """An issuer's keys were not fetched yet, or the last fetch is more than 24 hours ago.

    Tokens that need these keys can be neither accepted nor refused. The caller can retry the request.
    """

    code = "KEYS_UNAVAILABLE"
    status = 503
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("The keys that verify tokens cannot be fetched at the moment; try again shortly")


class StoreRefused(StoreUnavailable):
    """The store answers but refuses the operation: the user lacks a privilege, or the database accepts no writes.

    The message of the error is the message of the store.
    """

    remedy = "connect as a user with this privilege to a database that accepts writes"


class InvalidStoredData(StoreUnavailable):
    """The stored data that a request needs is invalid. The log names the key. Requests for other data are not affected.

    A retry succeeds only after the operator has repaired or removed the data.
    """

    retry_after_s = 30

    def __init__(self) -> None:
        super().__init__("The stored data of this request is invalid; the operator must repair it")


class OutboxFull(StoreUnavailable):
    """The commit was refused because the outbox is full. `bound` names the limit: entries, bytes or age.

    Overdue transitions are still committed. The command was not decided, and no idempotency record was saved. The same
    command can succeed after a drain of the outbox.
    """

    retry_after_s = 5

    def __init__(self, bound: str) -> None:
        super().__init__(
            f"The audit is too far behind (the outbox has reached its limit of {bound}), so changes are refused until "
            "it catches up; try again later"
        )
        self.bound = bound


class StoreMisconfigured(SyncKairosError):
    """The store was created with other settings, or it is unsafe to write to. The process refuses to start."""

    code = "STORE_MISMATCH"


class PortTaken(SyncKairosError):
    code = "PORT_TAKEN"

    def __init__(self, port: int) -> None:
        super().__init__(f"Port {port} is taken; choose another with --port, or --port 0 for a free one")
        self.port = port
