"""The stored credential of a request for an API key, over REST or from the command line."""

from synckairos.errors import ValidationFailed
from synckairos.principal import Principal
from synckairos.stored_credentials.records import NewCredential
from synckairos.wire.api_keys import CreateApiKey
from synckairos.wire.grants import grant_claims
from synckairos.wire.instants import parse_instant_ms


def new_api_key(body: CreateApiKey, creator: Principal, now_ms: int) -> NewCredential:
    """Return the API key that `body` describes, for the tenant of `creator`.

    `now_ms` is the time of Redis in ms since the Unix epoch.

    Raises: ValidationFailed if the expiry is not in the future.
    """
    expires_at_ms = None if body.expires_at is None else parse_instant_ms(body.expires_at)
    if expires_at_ms is not None and expires_at_ms <= now_ms:
        raise ValidationFailed.at_path("expires_at", "should be in the future")
    return NewCredential(
        tenant=creator.tenant,
        kind="key",
        principal_kind="key",
        subject=None,
        label=body.label,
        role=body.role,
        grants=grant_claims(body.grants),
        participant_id=body.participant_id,
        parent_id=None,
        expires_at_ms=expires_at_ms,
        created_by=creator.actor,
    )
