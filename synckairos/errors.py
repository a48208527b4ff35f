"""Every refusal and failure this product names, once.

Each error carries a stable `code`, an HTTP `status` hint and its data as attributes; `http/problem_responses.py` turns
them into problem+json and the dialects in `realtime` into socket frames. Nothing here knows HTTP, sockets or Redis.
"""

from typing import Any


class SyncKairosError(Exception):
    """What every named error has in common.

    `code` is stable and public, `status` is only a hint for doors that speak HTTP, `details` is JSON-ready or None.
    `standings` are the rate limits the request counted against, `replayed` marks a refusal that was decided before,
    `document` is the winning state's JSON of a conflict: `details.state` on the wire.
    """

    code: str = "INTERNAL_ERROR"
    status: int = 500

    def __init__(self, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.standings: tuple[Any, ...] = ()
        self.replayed = False
        self.document: bytes | None = None


class Unforeseen(SyncKairosError):
    """What nobody foresaw. Whoever asked is told that much; the cause is in the log."""

    def __init__(self) -> None:
        super().__init__("Something went wrong on our side")


# -- what the caller got wrong ----------------------------------------------------------------------------------------


class ValidationFailed(SyncKairosError):
    """The request's shape or values are wrong; `details` lists every fault: `[{"path", "message"}]`."""

    code = "VALIDATION_ERROR"
    status = 400

    def __init__(self, faults: list[dict[str, str]], message: str = "Request validation failed") -> None:
        super().__init__(message, faults)

    @classmethod
    def at(cls, path: str, message: str) -> "ValidationFailed":
        """Make the error for one fault at one dotted path."""
        return cls([{"path": path, "message": message}])


class MalformedMessage(SyncKairosError):
    """A socket message that isn't what the dialect allows; the connection stays."""

    code = "MALFORMED_MESSAGE"
    status = 400


class Unauthorized(SyncKairosError):
    code = "UNAUTHORIZED"
    status = 401


class Forbidden(SyncKairosError):
    code = "FORBIDDEN"
    status = 403


class NotFound(SyncKairosError):
    """No such route or resource."""

    code = "NOT_FOUND"
    status = 404


class SessionNotFound(NotFound):
    code = "SESSION_NOT_FOUND"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session {session_id} not found")
        self.session_id = session_id


class NotArchived(NotFound):
    """The session is there, but nothing of it is in cold storage; `details` says where making one failed."""

    code = "NOT_ARCHIVED"

    def __init__(self, session_id: str, failed: bool = False) -> None:
        told = "couldn't be archived (yet)" if failed else "isn't archived"
        super().__init__(f"Session {session_id} {told}", {"status": "failed" if failed else "none"})
        self.session_id = session_id


class ArchiveProcessing(SyncKairosError):
    """The session's archive is being made: ask again."""

    code = "ARCHIVE_PROCESSING"
    status = 409
    retry_after_s = 1

    def __init__(self, session_id: str) -> None:
        super().__init__(f"Session {session_id} is being archived; ask again shortly", {"status": "processing"})
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
    """A WebSocket of another version than the RFC's was asked for."""

    code = "UPGRADE_REQUIRED"
    status = 426


class RequestTimeout(SyncKairosError):
    """The request's body didn't come in time."""

    code = "REQUEST_TIMEOUT"
    status = 408


class UnsupportedMediaType(SyncKairosError):
    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415


class RateLimitExceeded(SyncKairosError):
    """Too many requests: `limit` a window, and `reset_s` whole seconds until the window ends."""

    code = "RATE_LIMIT_EXCEEDED"
    status = 429

    def __init__(self, limit: int, reset_s: int) -> None:
        super().__init__(f"Too many requests: {limit} are allowed; try again in {reset_s} s")
        self.limit = limit
        self.reset_s = reset_s
        self.retry_after_s = max(1, reset_s)


class TooManySubscriptions(SyncKairosError):
    """A socket watches as many sessions as it may: `limit`."""

    code = "TOO_MANY_SUBSCRIPTIONS"
    status = 400

    def __init__(self, limit: int) -> None:
        super().__init__(f"A socket watches at most {limit} sessions; unsubscribe from one or open another socket")
        self.limit = limit


# -- what the session's state forbids ---------------------------------------------------------------------------------


class InvalidTransition(SyncKairosError):
    """The command doesn't fit the session's status; the message names that status."""

    code = "INVALID_STATE_TRANSITION"
    status = 400


class ParticipantExpired(SyncKairosError):
    code = "PARTICIPANT_EXPIRED"
    status = 400

    def __init__(self, participant_id: str) -> None:
        super().__init__(f"Participant {participant_id} has run out of time; add time with adjust first")
        self.participant_id = participant_id


class NotActiveParticipant(SyncKairosError):
    """`current_participant_id` isn't the one whose clock runs: the press came too late."""

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
    """`expected_version` isn't the version now; `details` carries both and the state that won."""

    code = "CONFLICT"
    status = 409

    def __init__(self, expected_version: int, actual_version: int) -> None:
        super().__init__(
            f"The session is at version {actual_version}, not {expected_version}; look at its state and decide again",
            {"expected_version": expected_version, "actual_version": actual_version},
        )
        self.expected_version = expected_version
        self.actual_version = actual_version


class PreconditionFailed(SyncKairosError):
    """`If-Match` names another version or epoch than the one now."""

    code = "PRECONDITION_FAILED"
    status = 412


class Refused(SyncKairosError):
    """A refusal that was decided before and is given again: it looks like the error it was."""

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


# -- what webhooks forbid ---------------------------------------------------------------------------------------------


class WebhookDisabled(SyncKairosError):
    """Nothing is sent to this endpoint until somebody enables it."""

    code = "WEBHOOK_DISABLED"
    status = 409

    def __init__(self, webhook_id: str) -> None:
        super().__init__(f"Webhook {webhook_id} is disabled; enable it first")


class TooManyWebhooks(SyncKairosError):
    """There are as many endpoints as there may be: `limit`."""

    code = "TOO_MANY_WEBHOOKS"
    status = 409

    def __init__(self, limit: int) -> None:
        super().__init__(f"There may be {limit} webhooks; delete one, or let a receiver pass messages on")
        self.limit = limit


# -- what is wrong on our side ----------------------------------------------------------------------------------------


class StoreUnavailable(SyncKairosError):
    """Redis (or, for history, Postgres) doesn't answer. Decides nothing: ask again with the same key and learn."""

    code = "STORE_UNAVAILABLE"
    status = 503
    retry_after_s = 1

    def __init__(self, message: str = "The store is not reachable; try again shortly") -> None:
        super().__init__(message)


class BacklogFull(StoreUnavailable):
    """So much waits to be audited that only what time does is taken on; `bound` is which limit: entries, bytes or age.

    Nothing was decided or remembered: once the backlog drains, the same command is taken.
    """

    retry_after_s = 5

    def __init__(self, bound: str) -> None:
        super().__init__(
            f"The audit is too far behind (the outbox has reached its limit of {bound}), so changes are refused until "
            "it catches up; try again later"
        )
        self.bound = bound


class StoreMismatch(SyncKairosError):
    """The store was made with other settings, or isn't safe to write to: the process refuses to start."""

    code = "STORE_MISMATCH"


class PortTaken(SyncKairosError):
    code = "PORT_TAKEN"

    def __init__(self, port: int) -> None:
        super().__init__(f"Port {port} is taken; choose another with --port, or --port 0 for a free one")
        self.port = port
