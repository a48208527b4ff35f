"""Implementation of the commands `synckairos keys …`. Results are lines of text."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from synckairos.admin.control_channel import open_control_channel
from synckairos.admin.jobs import parse_day_or_instant
from synckairos.config import Settings
from synckairos.errors import CredentialNotFound
from synckairos.identity.token_minting import parse_grant
from synckairos.principal import Principal
from synckairos.stored_credentials.credential_json import api_key_json
from synckairos.stored_credentials.new_api_key import new_api_key
from synckairos.stored_credentials.table import CredentialTable
from synckairos.wire.api_keys import CreateApiKey
from synckairos.wire.body_parser import parse_body

ACTOR = "command-line"
"""The actor of the keys that the commands make."""


async def create_key(
    settings: Settings, tenant: str, members: Mapping[str, Any], grants: Sequence[str], expires_at: str | None
) -> str:
    """Make an API key of a tenant, and return its text.

    `members` are members of `CreateApiKey` except `grants` and `expires_at`. Each grant is a text as on the command
    line. `expires_at` is an instant with a time zone or a UTC day, None for no expiry.

    Raises: ValidationFailed, AuthenticationOff, StoreUnavailable, TooManyCredentials.
    """
    given = {**members, "grants": [parse_grant(each) for each in grants]}
    if expires_at is not None:
        given["expires_at"] = parse_day_or_instant(expires_at, "--expires-at")
    body = parse_body(CreateApiKey, given)
    async with open_control_channel(settings) as (channel, pool):
        now_ms = await channel.read_time_ms()
        new = new_api_key(body, Principal.importer(ACTOR, tenant), now_ms)
        _, secret = await CredentialTable(pool).add(new, now_ms)
    assert secret is not None
    return secret.text


async def list_keys(settings: Settings, tenant: str, *, as_json: bool = False) -> list[str]:
    """Return one line of text for each valid key of a tenant, newest first. If `as_json` is True, a line is JSON.

    Raises: AuthenticationOff, StoreUnavailable.
    """
    async with open_control_channel(settings) as (channel, pool):
        found = await CredentialTable(pool).read_all(tenant, "key", await channel.read_time_ms())
    if as_json:
        return [orjson.dumps(api_key_json(each)).decode() for each in found]
    return [_line(api_key_json(each)) for each in found]


async def rotate_key(settings: Settings, tenant: str, key_id: str) -> str:
    """Give a key of a tenant a new secret, and return its new text.

    Raises: AuthenticationOff, StoreUnavailable, CredentialNotFound.
    """
    async with open_control_channel(settings) as (channel, pool):
        now_ms = await channel.read_time_ms()
        secret = await CredentialTable(pool).rotate(tenant, "key", key_id, now_ms, request_id=None)
    assert secret is not None
    return secret.text


async def revoke_key(settings: Settings, tenant: str, key_id: str) -> None:
    """Revoke a key of a tenant and all credentials below it. Their sockets end.

    Raises: AuthenticationOff, StoreUnavailable, TooManyRevocations. CredentialNotFound if there was never such a key.
    """
    async with open_control_channel(settings) as (channel, pool):
        now_ms = await channel.read_time_ms()
        ended = await CredentialTable(pool).end(tenant, "key", key_id, now_ms)
        await channel.revoke_credentials(Principal.importer(ACTOR, tenant), ended)
    if not ended:
        raise CredentialNotFound("key")


def _line(members: Mapping[str, Any]) -> str:
    parts = [members["key_id"], members["role"], f"made {members['created_at']} by {members['created_by']}"]
    parts.append(f"last used {members['last_used_at']}" if "last_used_at" in members else "never used")
    if "expires_at" in members:
        parts.append(f"expires {members['expires_at']}")
    if "label" in members:
        parts.append(members["label"])
    return "  ".join(parts)
