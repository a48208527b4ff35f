"""Implementation of the commands `synckairos operator-keys …`. Results are lines of text."""

from synckairos.admin.control_channel import open_control_channel
from synckairos.config import Settings
from synckairos.errors import NotFound
from synckairos.stored_credentials.table import CredentialTable
from synckairos.tenants.operator_keys import OperatorKeys
from synckairos.wire.instants import render_instant

_ACTOR = "command-line"


async def make_operator_key(settings: Settings, label: str, ttl_s: int | None) -> str:
    """Return the text of a new key, which no other command prints. `ttl_s` None: the key does not expire.

    Raises: AuthenticationOff, StoreUnavailable, TooManyCredentials.
    """
    async with open_control_channel(settings) as (channel, pool):
        now_ms = await channel.read_time_ms()
        return await OperatorKeys(CredentialTable(pool)).make(label, ttl_s, now_ms, _ACTOR)


async def list_operator_keys(settings: Settings) -> list[str]:
    """Return one line of text for each valid key, newest first. Raises: AuthenticationOff, StoreUnavailable."""
    async with open_control_channel(settings) as (channel, pool):
        found = await OperatorKeys(CredentialTable(pool)).list(await channel.read_time_ms())
    lines = []
    for key in found:
        parts = [key.credential_id, f"created {render_instant(key.created_at_ms)}"]
        if key.expires_at_ms is not None:
            parts.append(f"expires {render_instant(key.expires_at_ms)}")
        lines.append("  ".join([*parts, key.label or ""]).rstrip())
    return lines


async def revoke_operator_key(settings: Settings, key_id: str) -> None:
    """Revoke a key. All instances refuse it at once. Raises: NotFound, AuthenticationOff, StoreUnavailable."""
    async with open_control_channel(settings) as (channel, pool):
        if not await OperatorKeys(CredentialTable(pool)).revoke(key_id, await channel.read_time_ms()):
            raise NotFound(f"There is no operator key {key_id}")
