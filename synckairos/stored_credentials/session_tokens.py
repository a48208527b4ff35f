"""Session tokens for the bearers of API keys, and the durations of all session tokens."""

from synckairos.errors import Forbidden
from synckairos.principal import Principal
from synckairos.stored_credentials.records import NewCredential, StoredCredential

LINK_IDLE_S = 43_200
"""Seconds after its last use at which the session token of a link expires."""

SIGN_IN_IDLE_S = 3_600
"""Seconds after its last use at which the session token of an API key or of a sign-in expires."""

SIGN_IN_LIFE_S = 43_200
"""Seconds after which the session token of an API key or of a sign-in expires in any case."""


def require_exchangeable(principal: Principal) -> None:
    """Check that the credential of a caller is an API key, not a session token or a token of an issuer.

    Raises: Forbidden.
    """
    if principal.kind != "key" or principal.life is None or principal.life.token_id is not None:
        raise Forbidden("Only an API key can be exchanged for a session token")


def new_session_token(key: StoredCredential, principal: Principal, now_ms: int) -> NewCredential:
    """Return a session token with the rights of an API key. `principal` is the bearer of the key.

    `now_ms` is the time of Redis in ms since the Unix epoch.
    """
    ends_at_ms = now_ms + SIGN_IN_LIFE_S * 1000
    if key.expires_at_ms is not None:
        ends_at_ms = min(ends_at_ms, key.expires_at_ms)
    return NewCredential(
        tenant=key.tenant,
        kind="session",
        principal_kind="key",
        subject=key.credential_id,
        label=None,
        role=key.role,
        grants=key.grant_claims,
        participant_id=key.participant_id,
        parent_id=key.credential_id,
        expires_at_ms=min(ends_at_ms, now_ms + SIGN_IN_IDLE_S * 1000),
        created_by=principal.actor,
        idle_s=SIGN_IN_IDLE_S,
        ends_at_ms=ends_at_ms,
        issued_at_ms=key.created_at_ms,
    )
