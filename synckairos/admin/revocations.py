"""Implementation of the commands `synckairos revocations …`. Results are lines of text."""

from collections.abc import Mapping
from typing import Any

import orjson

from synckairos.admin.control_channel import open_control_channel
from synckairos.admin.jobs import parse_day_or_instant
from synckairos.config import Settings
from synckairos.principal import Principal
from synckairos.stored_credentials.revoked_credentials import end_revoked_credentials
from synckairos.stored_credentials.table import CredentialTable
from synckairos.wire.body_parser import parse_body
from synckairos.wire.control_entry import Revocation
from synckairos.wire.revocations import CreateRevocation, Disconnect, revocation_json

ACTOR = "revocations"
"""The actor of the revocations that the commands make."""


async def create_revocation(
    settings: Settings, tenant: str, fields: Mapping[str, Any], issued_before: str | None
) -> list[str]:
    """Revoke credentials of a tenant on all instances. Return one line of text that describes the revocation.

    `fields` are members of `CreateRevocation` except `issued_before`. `issued_before` is an instant with a time zone or
    a UTC day, or None for the default of `CreateRevocation`.

    Raises: ValidationFailed, AuthenticationOff, StoreUnavailable, TooManyRevocations.
    """
    members = dict(fields)
    if issued_before is not None:
        members["issued_before"] = parse_day_or_instant(issued_before, "--issued-before")
    body = parse_body(CreateRevocation, members)
    async with open_control_channel(settings) as (channel, pool):
        made = await channel.revoke_as_requested(Principal.importer(ACTOR, tenant), body)
        await end_revoked_credentials(CredentialTable(pool), channel, made)
    return [_line(made)]


async def list_revocations(settings: Settings, tenant: str, *, as_json: bool = False) -> list[str]:
    """Return one line of text for each revocation of a tenant that has an effect, newest first.

    If `as_json` is True, a line is JSON.

    Raises: AuthenticationOff, StoreUnavailable.
    """
    async with open_control_channel(settings) as (channel, _):
        await channel.load()
        found = channel.list_revocations(tenant)
    return [orjson.dumps(revocation_json(each)).decode() if as_json else _line(each) for each in found]


async def disconnect(settings: Settings, tenant: str, subject: str) -> None:
    """Close all sockets and streams of a subject of a tenant on all instances.

    Raises: the errors of `create_revocation`.
    """
    body = parse_body(Disconnect, {"subject": subject})
    async with open_control_channel(settings) as (channel, _):
        await channel.disconnect(Principal.importer(ACTOR, tenant), body.subject)


def _line(revocation: Revocation) -> str:
    members = revocation_json(revocation)
    selector = next(name for name in ("jti", "subject", "grp", "credential", "all") if name in members)
    value = "all credentials" if selector == "all" else f"{selector} {members[selector]}"
    return f"{members['revocation_id']}  {value}  effective {members['effective_at']}  by {members['revoked_by']}"
