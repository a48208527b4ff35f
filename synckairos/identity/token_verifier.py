"""Verification of tokens with the keys of the settings, of key sets, and with signing keys of tenants."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from jwt.exceptions import PyJWTError
from pydantic import SecretStr

from synckairos.config import BadSettings, Settings, env_variables_of
from synckairos.errors import KeysUnavailable, Unauthorized
from synckairos.identity.jwks_keys import JwksKeys
from synckairos.identity.retired_keys import RetiredKeys
from synckairos.identity.token_claims import (
    ClaimRules,
    parse_claims,
    principal_from_claims,
    read_unverified_tenant,
)
from synckairos.identity.token_header import JWS, TokenHeader, read_header
from synckairos.identity.verification_key import VerificationKey, parse_public_key, parse_secret
from synckairos.identity.verified_tokens import VerifiedTokens
from synckairos.principal import Principal

UNKNOWN_SIGNER = "The signature of the token is not from an accepted key"
"""Text of the refusal of a token that no known key has signed."""


class TenantKeys(Protocol):
    """The signing keys of all tenants that this instance knows. Each of them has a key id and one tenant."""

    @property
    def keys(self) -> Sequence[VerificationKey]:
        """Return the keys."""

    @property
    def is_complete(self) -> bool:
        """Return whether `keys` has all keys that exist, as far as this instance knows."""

    async def catch_up(self) -> bool:
        """Read keys that are missing. Return whether `keys` is complete now."""


class TokenVerifier:
    """Verifies tokens. The principals of verified tokens are kept in a cache."""

    def __init__(
        self,
        secrets: Sequence[VerificationKey],
        public_keys: Sequence[VerificationKey],
        key_sets: Sequence[JwksKeys],
        rules: ClaimRules,
    ) -> None:
        """Create a verifier with these keys.

        `secrets` are the current and the previous secret of HS256; they count as one key.
        """
        self._secrets = tuple(secrets)
        self._public_keys = tuple(public_keys)
        self._key_sets = tuple(key_sets)
        self._rules = rules
        self._tenant_keys: TenantKeys | None = None
        self._verified = VerifiedTokens()

    @classmethod
    def from_settings(cls, settings: Settings, retired_keys: RetiredKeys | None = None) -> "TokenVerifier":
        """Build a verifier.

        `retired_keys` gets the keys that issuers removed from their sets. None: these keys are not reported.

        Raises: BadSettings if a key is invalid, or if the settings have no key.
        """
        retired_keys = retired_keys or RetiredKeys(max_credential_life_s=settings.jwt_max_ttl)
        secrets = _parse_fields(settings, ("jwt_secret", "jwt_secret_previous"), parse_secret)
        public_keys = _parse_fields(settings, ("jwt_public_key",), parse_public_key)
        key_sets = [JwksKeys(each, retired_keys) for each in settings.jwks]
        if settings.jwt_secret is None and not public_keys and not key_sets:
            raise BadSettings(
                f"{env_variables_of('auth')[0]}: required needs a key that verifies tokens: set "
                f"{env_variables_of('jwt_secret')[-1]}, {env_variables_of('jwt_public_key')[0]} or "
                f"{env_variables_of('jwks')[0]}"
            )
        return cls(secrets, public_keys, key_sets, ClaimRules.from_settings(settings))

    def use_tenant_keys(self, keys: TenantKeys) -> None:
        """Accept tokens of these signing keys too, from now on."""
        self._tenant_keys = keys

    def has_key_id(self, key_id: str) -> bool:
        """Return whether a key of a key set has this id. Keys of the settings have no id.

        Raises: KeysUnavailable if a key set was not fetched yet.
        """
        if not all(each.is_loaded for each in self._key_sets):
            raise KeysUnavailable
        return any(key.key_id == key_id for each in self._key_sets for key in each.keys)

    @property
    def cached_token_count(self) -> int:
        """Return the number of tokens in the cache."""
        return len(self._verified)

    def find_cached(self, token: str, now_ms: int) -> Principal | None:
        """Return the principal of a token that was verified before. Return None if the token must be verified.

        `now_ms` is the time of Redis in ms since the Unix epoch. Tokens that have expired at this instant are not
        found.
        """
        return self._verified.find(token, now_ms)

    async def verify(self, token: str, now_ms: int) -> Principal:
        """Verify a token and return its principal. The address of the principal is empty.

        `now_ms` is the time of Redis in ms since the Unix epoch. The method waits only if it must fetch keys.

        Raises:
            Unauthorized: The token is not accepted.
            KeysUnavailable: The keys of an issuer were not fetched yet, so the token cannot be decided on.
        """
        if (cached := self.find_cached(token, now_ms)) is not None:
            return cached
        header = read_header(token)
        found = self._check_signature(token, self._candidates(header, token))
        if found is None and self._may_lack_tenant_keys(header) and await self._catch_up():
            found = self._check_signature(token, self._candidates(header, token))
        for _ in range(2):  # a fetch that ran already may have begun before the key was published
            if found is None and await self._refresh_for(header):
                found = self._check_signature(token, self._candidates(header, token))
        if found is None:
            if self._may_lack_keys(header) or self._may_be_new(header):
                raise KeysUnavailable
            raise Unauthorized(UNKNOWN_SIGNER)
        key, payload = found
        principal = principal_from_claims(parse_claims(payload), key, self._rules, now_ms)
        # Within the leeway after `exp` a token is accepted but not cached.
        life = principal.life
        if life is not None and life.expires_at_ms is not None and life.expires_at_ms > now_ms:
            self._verified.add(token, key, principal)
        return principal

    async def fetch_key_sets(self) -> None:
        """Fetch all key sets one time. A failure is only logged. A token that needs a missing key then fails later."""
        await asyncio.gather(*(each.refresh() for each in self._key_sets))

    async def run_background_loop(self) -> None:
        """Fetch the keys of all key sets regularly, until cancelled. Return immediately if there are no key sets."""
        async with asyncio.TaskGroup() as tasks:
            for each in self._key_sets:
                tasks.create_task(each.run())

    # -- keys ---------------------------------------------------------------------------------------------------------

    def _candidates(self, header: TokenHeader, token: str) -> list[VerificationKey]:
        """Return the keys that can have signed a token, by the algorithm and the key id in its header.

        With a key id, return the keys of key sets with this id. If there are none, return the keys of the settings,
        which have no id. Also return the signing keys of tenants with this id: a tenant that chooses the id of another
        key cannot exclude the other key. Without a key id, return the key if exactly one key of the token's tenant has
        the algorithm, otherwise no key. So the keys of one tenant never exclude the tokens of another tenant. The
        current and the previous secret count as one key.
        """
        of_tenants = [
            key
            for key in (() if self._tenant_keys is None else self._tenant_keys.keys)
            if key.algorithm == header.algorithm and header.key_id in (None, key.key_id)
        ]
        fetched = [
            key
            for each in self._key_sets
            if each.is_loaded
            for key in each.keys
            if key.algorithm == header.algorithm and header.key_id in (None, key.key_id)
        ]
        own = [key for key in (*self._secrets, *self._public_keys) if key.algorithm == header.algorithm]
        if header.key_id is not None:
            return [*(fetched or own), *of_tenants]
        if self._may_lack_keys(header):
            return []
        if of_tenants or any(key.tenants is not None for key in fetched):
            claimed = read_unverified_tenant(token, self._rules)
            tenant = self._rules.tenant if claimed is None else claimed
            of_tenants = [key for key in of_tenants if _may_name(key, tenant)]
            if claimed is not None:  # without the claim, each key of the settings decides about the tenant
                fetched = [key for key in fetched if _may_name(key, tenant)]
        is_secret = bool(own) and header.algorithm == "HS256"
        is_only_key = len(fetched) + len(of_tenants) + (1 if is_secret else len(own)) == 1
        return [*fetched, *own, *of_tenants] if is_only_key else []

    def _may_lack_keys(self, header: TokenHeader) -> bool:
        """Return whether keys that this instance does not have yet could be keys of the token."""
        if self._may_lack_tenant_keys(header):
            return True
        # Key sets have no secrets of HS256.
        return header.algorithm != "HS256" and not all(each.is_loaded for each in self._key_sets)

    def _may_lack_tenant_keys(self, header: TokenHeader) -> bool:
        """Return whether signing keys of tenants are missing that could be keys of the token. None is for HS256."""
        return header.algorithm != "HS256" and self._tenant_keys is not None and not self._tenant_keys.is_complete

    async def _catch_up(self) -> bool:
        return self._tenant_keys is not None and await self._tenant_keys.catch_up()

    def _may_be_new(self, header: TokenHeader) -> bool:
        """Return whether the token names a key id that no key set has, and a key set could not be fetched again."""
        return self._is_unknown(header) and any(each.has_failed for each in self._key_sets)

    def _is_unknown(self, header: TokenHeader) -> bool:
        """Return whether the token names a key id that no key set has. False for HS256: key sets have no secrets."""
        if header.algorithm == "HS256" or header.key_id is None:
            return False
        return not any(key.key_id == header.key_id for each in self._key_sets for key in each.keys)

    async def _refresh_for(self, header: TokenHeader) -> bool:
        """Fetch key sets if none of them has the key id of the token. Return whether a fetch succeeded."""
        return self._is_unknown(header) and any(
            await asyncio.gather(*(each.refresh_for_unknown_key() for each in self._key_sets))
        )

    def _check_signature(self, token: str, keys: Iterable[VerificationKey]) -> tuple[VerificationKey, bytes] | None:
        """Return the key that signed the token and the payload, None if none of `keys` did."""
        for key in keys:
            try:
                return key, JWS.decode(token, key.material, algorithms=[key.algorithm])
            except PyJWTError:
                continue
        return None


def _may_name(key: VerificationKey, tenant: str) -> bool:
    return key.tenants is None or tenant in key.tenants


def _parse_fields(
    settings: Settings, fields: Sequence[str], parse: Callable[[str], VerificationKey]
) -> list[VerificationKey]:
    """Parse the fields that are set. Raises: BadSettings with the name of the variable."""
    keys = []
    for field in fields:
        value = getattr(settings, field)
        if value is None:
            continue
        try:
            keys.append(parse(value.get_secret_value() if isinstance(value, SecretStr) else value))
        except ValueError as fault:
            raise BadSettings(f"{env_variables_of(field)[-1]}: {fault}") from None
    return keys
