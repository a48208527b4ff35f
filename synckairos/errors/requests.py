"""Refusals of requests and messages: invalid, without permission, unknown resource, or over a limit."""

from synckairos.errors.base import SyncKairosError


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
    """The caller does not have the right for the request. The message names the missing right."""

    code = "FORBIDDEN"
    status = 403


class AuthenticationOff(Forbidden):
    """The operation concerns credentials, and authentication is off."""

    def __init__(self) -> None:
        super().__init__("Authentication is off. Set SYNCKAIROS_AUTH=required to use credentials")


class TenantUnknown(Forbidden):
    """The tenant that the credential names does not exist."""

    code = "TENANT_UNKNOWN"

    def __init__(self, tenant: str, reason: str = "") -> None:
        super().__init__(f"Tenant {tenant} does not exist{reason and f': {reason}'}")


class TenantSuspended(Forbidden):
    """An operator has suspended the tenant that the credential names, or its data are being deleted."""

    code = "TENANT_SUSPENDED"

    def __init__(self, tenant: str) -> None:
        super().__init__(f"Tenant {tenant} is suspended")


class NotFound(SyncKairosError):
    """The route or resource does not exist."""

    code = "NOT_FOUND"
    status = 404


class SessionNotFound(NotFound):
    """The session does not exist, or the caller cannot reach it. Both cases have the same answer."""

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


class PlanItemNotFound(SyncKairosError):
    """The session has no plan item with this id, or no plan."""

    code = "PLAN_ITEM_NOT_FOUND"
    status = 404

    def __init__(self, item_id: str) -> None:
        super().__init__(f"The plan of this session has no item {item_id!r}")


class ParticipantNotFound(NotFound):
    """The session has no participant with this id."""

    code = "PARTICIPANT_NOT_FOUND"

    def __init__(self, participant_id: str) -> None:
        super().__init__(f"Participant {participant_id} is not in this session")
        self.participant_id = participant_id


class MethodNotAllowed(SyncKairosError):
    """The path exists, but not for this HTTP method."""

    code = "METHOD_NOT_ALLOWED"
    status = 405


class PayloadTooLarge(SyncKairosError):
    """The body or message has more bytes than allowed."""

    code = "PAYLOAD_TOO_LARGE"
    status = 413


class HeadersTooLarge(SyncKairosError):
    """The headers of the request are too many or too large."""

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
    """The content type or encoding of the body is not supported."""

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


class TooManyConnections(SyncKairosError):
    """The instance or the client already has the maximum number of connections or live tails."""

    code = "TOO_MANY_CONNECTIONS"
    status = 503
    retry_after_s = 5


class InstanceDraining(TooManyConnections):
    """The instance drains, so it accepts no further connection. Load balancers soon use other instances."""

    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("This instance stops; try again")
