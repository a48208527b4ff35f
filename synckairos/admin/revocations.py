"""Implementation of the commands `synckairos revocations …`. Results are lines of text."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import orjson

from synckairos.admin.jobs import parse_day_or_instant
from synckairos.config import Settings
from synckairos.errors import AuthenticationOff
from synckairos.history.reader import open_history_pool
from synckairos.principal import Principal
from synckairos.revocations.channel import ControlChannel
from synckairos.revocations.table import RevocationTable
from synckairos.store.connect import make_redis_client
from synckairos.store.control_store import ControlStore
from synckairos.store.keys import Keys
from synckairos.store.pubsub_connection import PubSubConnection
from synckairos.store.shared_connection import RedisPipe
from synckairos.wire.body_parser import parse_body
from synckairos.wire.control_entry import Revocation
from synckairos.wire.revocations import CreateRevocation, Disconnect, revocation_json

PRINCIPAL = Principal.importer("revocations")
"""The principal of the commands. The actor of their revocations is `revocations`."""


async def create_revocation(settings: Settings, fields: Mapping[str, Any], issued_before: str | None) -> list[str]:
    """Revoke credentials on all instances. Return one line of text that describes the revocation.

    `fields` are members of `CreateRevocation` except `issued_before`. `issued_before` is an instant with a time zone or
    a UTC day, or None for the default of `CreateRevocation`.

    Raises: ValidationFailed, AuthenticationOff, StoreUnavailable, TooManyRevocations.
    """
    members = dict(fields)
    if issued_before is not None:
        members["issued_before"] = parse_day_or_instant(issued_before, "--issued-before")
    body = parse_body(CreateRevocation, members)
    async with _open_channel(settings) as channel:
        made = await channel.revoke_as_requested(PRINCIPAL, body)
    return [_line(made)]


async def list_revocations(settings: Settings, *, as_json: bool = False) -> list[str]:
    """Return one line of text for each revocation that has an effect, newest first.

    If `as_json` is True, a line is JSON.

    Raises: AuthenticationOff, StoreUnavailable.
    """
    async with _open_channel(settings) as channel:
        await channel.load()
        found = channel.list_revocations(PRINCIPAL.tenant)
    return [orjson.dumps(revocation_json(each)).decode() if as_json else _line(each) for each in found]


async def disconnect(settings: Settings, subject: str) -> None:
    """Close all sockets and streams of a subject on all instances. Raises: the errors of `create_revocation`."""
    body = parse_body(Disconnect, {"subject": subject})
    async with _open_channel(settings) as channel:
        await channel.disconnect(PRINCIPAL, body.subject)


def _line(revocation: Revocation) -> str:
    members = revocation_json(revocation)
    selector = next(name for name in ("jti", "subject", "grp", "credential", "all") if name in members)
    value = "all credentials" if selector == "all" else f"{selector} {members[selector]}"
    return f"{members['revocation_id']}  {value}  effective {members['effective_at']}  by {members['revoked_by']}"


@asynccontextmanager
async def _open_channel(settings: Settings) -> AsyncIterator[ControlChannel]:
    if settings.auth == "none":
        raise AuthenticationOff
    async with AsyncExitStack() as stack:
        pipe = await stack.enter_async_context(RedisPipe(settings.redis_url, settings.redis_timeout_s))
        redis = await stack.enter_async_context(make_redis_client(settings.redis_url, settings.redis_timeout_s))
        pool = await stack.enter_async_context(open_history_pool(settings))
        keys = Keys(settings.key_prefix)
        store = ControlStore(pipe, keys)
        now_ms = await store.now_ms()
        # The subscriber is not started: a command needs no messages of other instances.
        subscriber = PubSubConnection(redis, pipe, keys.prefix, lambda *_: None, lambda *_: None)
        yield ControlChannel(
            store, RevocationTable(pool), subscriber, lambda: now_ms, max_credential_life_s=settings.jwt_max_ttl
        )
