"""JSON of stored credentials in answers, without their secrets."""

from typing import Any

from synckairos.stored_credentials.records import RedeemedLink, StoredCredential
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


def link_json(link: StoredCredential) -> dict[str, Any]:
    """Return the members of `LinkView`. Members without a value are absent."""
    members = {
        "link_id": link.credential_id,
        "session_id": link.session_id,
        "role": link.role,
        "participant_id": link.participant_id,
        "label": link.label,
        "max_uses": link.max_uses,
        "uses": link.uses,
        "created_at": render_instant(link.created_at_ms),
        "created_by": link.created_by,
        "expires_at": None if link.expires_at_ms is None else render_instant(link.expires_at_ms),
        "last_used_at": None if link.last_used_at_ms is None else render_instant(link.last_used_at_ms),
    }
    return {name: value for name, value in members.items() if value is not None}


def redeemed_link_json(found: RedeemedLink, now_ms: int) -> dict[str, Any]:
    """Return the members of `RedeemedLinkView`, with the token. `now_ms` is in ms since the Unix epoch."""
    members = {
        "token": found.token.text,
        "expires_in_ms": max(0, (found.credential.expires_at_ms or now_ms) - now_ms),
        "session_id": found.session_id,
        "role": found.credential.role,
        "participant_id": found.credential.participant_id,
    }
    return {name: value for name, value in members.items() if value is not None}
