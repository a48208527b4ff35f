"""Keys of one issuer's key set (JWKS), refreshed in the background and when a token names an unknown key."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

from synckairos.backoff import Backoff
from synckairos.config.value_types import JwksSource
from synckairos.identity.jwks_fetch import JwksFetchFailed, fetch_jwks
from synckairos.identity.retired_keys import RetiredKeys
from synckairos.identity.verification_key import VerificationKey, parse_jwk
from synckairos.telemetry import log
from synckairos.telemetry.metrics import ISSUER_KEYS_FETCHED
from synckairos.telemetry.outages import LogThrottle
from synckairos.urls.redact_url import redact_url

REFRESH_S = 300.0
"""Seconds between two fetches of a key set."""

LONGEST_RETRY_S = 30.0
"""Seconds: maximum delay before the next attempt after a failed fetch."""

UNKNOWN_KEY_REFRESH_S = 30.0
"""Seconds between two fetches because of tokens that name an unknown key."""

CONFIRM_S = 30.0
"""Seconds after which a key that is gone from the set is retired, if it is still gone.

Issuers with several servers can answer with an older set for some seconds.
"""

MAX_AGE_S = 86_400.0
"""Seconds for which the last fetched set serves while all later fetches fail."""

logger = log.get_logger(__name__)


class JwksKeys:
    """The keys of one key set. `keys` is empty before the first fetch."""

    def __init__(
        self,
        source: JwksSource,
        retired: RetiredKeys,
        *,
        fetch: Callable[[str], Awaitable[list[dict[str, Any]]]] = fetch_jwks,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create an empty key set of `source`.

        - `retired`: gets the names of keys that are gone from the set.
        - `fetch`: returns the keys at a URL.
        - `clock`: returns monotonic seconds.
        """
        self.keys: tuple[VerificationKey, ...] = ()
        self.has_failed = False
        """Whether the last fetch failed, so that the issuer may have newer keys."""
        self._source = source
        self._retired = retired
        self._tenants = None if source.tenants is None else frozenset(source.tenants)
        self._fetch = fetch
        self._clock = clock
        self._by_content: dict[str, VerificationKey] = {}
        self._gone_at_s: dict[str, float] = {}
        """Instant of the fetch that found a key gone, by the name of the key. Keys that are retired are not here."""
        self._fetched_at_s: float | None = None
        self._unknown_key_at_s: float | None = None
        self._running: asyncio.Task[bool] | None = None
        self._quiet = LogThrottle()
        self._fetched_at = ISSUER_KEYS_FETCHED.labels(urlsplit(source.url).hostname or "")
        self._fetched_at.set_to_current_time()

    @property
    def is_loaded(self) -> bool:
        """Return whether the last fetched key set is at most 24 hours old.

        If it is older, all of its keys are retired here.
        """
        if self._fetched_at_s is None:
            return False
        if self._clock() - self._fetched_at_s < MAX_AGE_S:
            return True
        self._replace({})
        self._fetched_at_s = None
        return False

    async def run(self) -> None:
        """Fetch the key set now and every five minutes, until cancelled. After a failure, retry with a back-off.

        If a key is gone, fetch the set again after `CONFIRM_S` seconds.
        """
        backoff = Backoff(longest_s=LONGEST_RETRY_S)
        while True:
            if await self.refresh():
                backoff = Backoff(longest_s=LONGEST_RETRY_S)
                await asyncio.sleep(CONFIRM_S if self._gone_at_s else REFRESH_S)
            else:
                await asyncio.sleep(backoff.next_s())
            _ = self.is_loaded  # retires keys that became too old

    async def refresh(self) -> bool:
        """Fetch the key set, or wait for the fetch that runs. Return whether the fetch succeeded."""
        if self._running is None:
            self._running = asyncio.create_task(self._fetch_and_replace())
        # A caller that is cancelled must not cancel the fetch, because others wait for it.
        return await asyncio.shield(self._running)

    async def refresh_for_unknown_key(self) -> bool:
        """Fetch the key set because a token names an unknown key, at most once in 30 seconds.

        Return whether a fetch succeeded. Return False without a fetch if the last such fetch is too recent.
        """
        if self._running is None:
            now_s = self._clock()
            if self._unknown_key_at_s is not None and now_s - self._unknown_key_at_s < UNKNOWN_KEY_REFRESH_S:
                return False
            self._unknown_key_at_s = now_s
        return await self.refresh()

    async def _fetch_and_replace(self) -> bool:
        try:
            found = await self._fetch(self._source.url)
        except JwksFetchFailed as failure:
            self.has_failed = True
            if (more_before := self._quiet.allow_next_line()) is not None:
                logger.warning(
                    "key set not fetched",
                    url=redact_url(self._source.url),
                    cause=failure.message,
                    serves_older=self.is_loaded,
                    more_before=more_before,
                )
            return False
        finally:
            self._running = None
        keys: dict[str, VerificationKey] = {}
        for jwk in found:
            content = repr(sorted(jwk.items()))
            try:
                key = self._by_content.get(content) or parse_jwk(
                    jwk, self._source.issuer, self._tenants, self._source.url
                )
            except ValueError as fault:
                logger.warning("key refused", url=redact_url(self._source.url), kid=jwk.get("kid"), cause=str(fault))
                continue
            if key is not None:
                keys[content] = key
        self._find_gone(keys.values())
        self._replace(keys)
        self._fetched_at_s = self._clock()
        self._fetched_at.set_to_current_time()
        self.has_failed = False
        return True

    def _find_gone(self, fetched: Iterable[VerificationKey]) -> None:
        """Retire the keys that are gone from the set for `CONFIRM_S` seconds, and restore keys that are in it again."""
        now_s = self._clock()
        present = {key.name for key in fetched if key.name is not None}
        for name in present:
            self._gone_at_s.pop(name, None)
            self._retired.restore(name)
        for key in self.keys:
            if key.name is not None and key.name not in present:
                self._gone_at_s.setdefault(key.name, now_s)
        for name, gone_at_s in tuple(self._gone_at_s.items()):
            if now_s - gone_at_s >= CONFIRM_S:
                del self._gone_at_s[name]
                self._retired.retire(name)

    def _replace(self, keys: dict[str, VerificationKey]) -> None:
        """Replace all keys. Old keys that are not in `keys` are retired, so tokens that they verified are refused."""
        for content, key in self._by_content.items():
            if content not in keys:
                key.is_retired = True
        self._by_content = keys
        self.keys = tuple(keys.values())
