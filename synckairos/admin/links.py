"""Implementation of the commands `synckairos links …` and `synckairos console`. Results are lines of text."""

from collections.abc import Mapping
from io import StringIO
from typing import Any

import orjson
import segno

from synckairos.admin.control_channel import open_control_channel
from synckairos.admin.jobs import parse_day_or_instant
from synckairos.config import Settings
from synckairos.errors import CredentialNotFound
from synckairos.principal import Principal
from synckairos.stored_credentials.credential_json import link_json
from synckairos.stored_credentials.new_link import link_url, new_link, new_sign_in_link, sign_in_url
from synckairos.stored_credentials.records import NewCredential
from synckairos.stored_credentials.table import CredentialTable
from synckairos.wire.body_parser import parse_body
from synckairos.wire.links import CreateLink

ACTOR = "command-line"
"""The actor of the links that the commands make."""


async def create_link(
    settings: Settings, tenant: str, server_url: str, fields: Mapping[str, Any], expires_at: str | None
) -> str:
    """Make a link to a session of a tenant, and return its URL. The session is not looked up.

    `server_url` is the URL of the server without a slash at its end. `fields` are fields of `CreateLink` except
    `expires_at`, which is an instant with a time zone or a UTC day, None for the default.

    Raises: ValidationFailed, AuthenticationOff, StoreUnavailable, TooManyCredentials.
    """
    given = dict(fields)
    if expires_at is not None:
        given["expires_at"] = parse_day_or_instant(expires_at, "--expires-at")
    body = parse_body(CreateLink, given)
    async with open_control_channel(settings) as (channel, pool):
        now_ms = await channel.read_time_ms()
        secret = await _add(CredentialTable(pool), new_link(body, Principal.importer(ACTOR, tenant), now_ms), now_ms)
    return link_url(server_url, body.session_id, body.role, secret)


async def create_sign_in_link(settings: Settings, tenant: str, server_url: str) -> str:
    """Make a link for one sign-in as an administrator of a tenant, and return its URL.

    `server_url` is as in `create_link`. Raises: AuthenticationOff, StoreUnavailable, TooManyCredentials.
    """
    async with open_control_channel(settings) as (channel, pool):
        now_ms = await channel.read_time_ms()
        new = new_sign_in_link(Principal.importer(ACTOR, tenant), now_ms)
        return sign_in_url(server_url, await _add(CredentialTable(pool), new, now_ms))


async def list_links(settings: Settings, tenant: str, session_id: str | None, *, as_json: bool = False) -> list[str]:
    """Return one line of text for each valid link of a tenant, newest first. If `as_json` is True, a line is JSON.

    `session_id` None: the links to all sessions. Raises: AuthenticationOff, StoreUnavailable.
    """
    async with open_control_channel(settings) as (channel, pool):
        found = await CredentialTable(pool).read_all(tenant, "link", await channel.read_time_ms())
    rows = [link_json(each) for each in found if session_id is None or each.session_id == session_id]
    return [orjson.dumps(each).decode() if as_json else _line(each) for each in rows]


async def revoke_link(settings: Settings, tenant: str, link_id: str) -> None:
    """Revoke a link of a tenant, its session tokens, and the links that it made. Their sockets end.

    Raises: AuthenticationOff, StoreUnavailable, TooManyRevocations. CredentialNotFound if there was never such a link.
    """
    async with open_control_channel(settings) as (channel, pool):
        ended = await CredentialTable(pool).end(tenant, "link", link_id, await channel.read_time_ms())
        await channel.revoke_credentials(Principal.importer(ACTOR, tenant), ended)
    if not ended:
        raise CredentialNotFound("link")


def render_qr_code(url: str) -> str:
    """Return the QR code of a URL as lines of block characters for a terminal."""
    text = StringIO()
    segno.make_qr(url, error="m", boost_error=False).terminal(text, compact=True)
    return text.getvalue().rstrip("\n")


async def _add(table: CredentialTable, new: NewCredential, now_ms: int) -> str:
    _, secret = await table.add(new, now_ms)
    assert secret is not None
    return secret.text


def _line(fields: Mapping[str, Any]) -> str:
    parts = [fields["link_id"], fields["session_id"], fields["role"]]
    parts.append(f"used {fields['uses']} of {fields['max_uses']} times")
    parts.append(f"expires {fields['expires_at']}")
    if "label" in fields:
        parts.append(fields["label"])
    return "  ".join(parts)
