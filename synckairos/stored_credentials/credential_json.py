"""JSON of stored credentials in answers, without their secrets."""

from typing import Any

from synckairos.stored_credentials.table import StoredCredential
from synckairos.wire.instants import render_instant


def api_key_json(key: StoredCredential) -> dict[str, Any]:
    """Return the members of `ApiKeyView`. Members without a value are absent."""
    members = {
        "key_id": key.credential_id,
        "role": key.role,
        "label": key.label,
        "grants": key.grant_claims,
        "participant_id": key.participant_id,
        "created_at": render_instant(key.created_at_ms),
        "created_by": key.created_by,
        "expires_at": None if key.expires_at_ms is None else render_instant(key.expires_at_ms),
        "last_used_at": None if key.last_used_at_ms is None else render_instant(key.last_used_at_ms),
    }
    return {name: value for name, value in members.items() if value is not None}
