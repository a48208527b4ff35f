"""Tickets in Redis: single-use credentials for the URL of a WebSocket, stored under the SHA-256 of their text."""

import hashlib
import secrets

import msgspec
from msgspec import Struct

from synckairos.frozen_replace import replace
from synckairos.principal import Principal
from synckairos.store.keys import Keys
from synckairos.store.redis_errors import translated_errors
from synckairos.store.shared_connection import RedisPipe, parse_time_ms
from synckairos.telemetry.invalid_data import PARSE_ERRORS, report_invalid_data

TICKET_BYTES = 24
"""Number of random bytes in a ticket: 192 bits."""

MAX_TICKET_CHARACTERS = 100
"""Maximum number of characters that are looked up as a ticket."""


class Ticket(Struct, frozen=True, kw_only=True):
    """The content of a ticket: the principal of the socket, and the origin to which the ticket is bound.

    The principal has the life of the credential behind the ticket, and the narrowing of the ticket. A ticket that was
    read from Redis has no member rows; `Authenticator.complete` adds them. `origin` is None
    for a ticket without a bound.
    """

    principal: Principal
    origin: str | None


class TicketStore:
    """The tickets of all instances. All methods raise StoreUnavailable if Redis does not answer."""

    def __init__(self, pipe: RedisPipe, keys: Keys) -> None:
        self._pipe = pipe
        self._keys = keys

    async def make(self, ticket: Ticket, ttl_s: int, *, for_earlier_release: Principal) -> str:
        """Store a ticket for `ttl_s` seconds and return its text. One round trip.

        Instances of the earlier release know no narrowing. They use the principal `for_earlier_release`, whose role and
        grants must be inside the narrowing.
        """
        text = secrets.token_urlsafe(TICKET_BYTES)
        stored = {
            "principal": replace(for_earlier_release, members=None),
            "origin": ticket.origin,
            "narrowed_principal": replace(ticket.principal, members=None),
        }
        with translated_errors():
            await self._pipe.call("SET", self._key(text), msgspec.json.encode(stored), "EX", ttl_s)
        return text

    async def now_ms(self) -> int:
        """Return the time of Redis in ms since the Unix epoch. One round trip."""
        with translated_errors():
            return parse_time_ms(await self._pipe.call("TIME"))

    async def find(self, text: str) -> Ticket | None:
        """Return a ticket, None if there is none. The ticket stays in Redis, so that it can still be used.

        Invalid data counts as no ticket. One round trip.
        """
        if not text or len(text) > MAX_TICKET_CHARACTERS:
            return None
        key = self._key(text)
        with translated_errors():
            (found,) = await self._pipe.call_many_independent([("GET", key)])
        if found is None:
            return None
        try:
            return _parse_ticket(found)
        except PARSE_ERRORS as error:
            report_invalid_data(key, error)
            return None

    async def take(self, text: str) -> bool:
        """Remove a ticket that `find` returned. Return True only for the first of several callers. One round trip."""
        with translated_errors():
            return await self._pipe.call("GETDEL", self._key(text)) is not None

    def _key(self, text: str) -> str:
        return self._keys.ticket(hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest())


def _parse_ticket(text: bytes) -> Ticket:
    """Return a ticket of this release, or of earlier releases, which know fewer members of a principal."""
    stored = msgspec.json.decode(text)
    principal = stored.get("narrowed_principal") or {"narrowing": None, **stored["principal"]}
    principal = {"is_operator": False, "members": None, **principal}
    if principal["life"] is not None:
        principal["life"] = {"verified_by": None, **principal["life"]}
    return msgspec.convert({"principal": principal, "origin": stored["origin"]}, Ticket)
