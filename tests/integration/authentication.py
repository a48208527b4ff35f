"""Authenticators for tests, with the secret of `tests.tokens` or with keys of the settings."""

import time
from typing import Any

from synckairos.config import Settings
from synckairos.http.client_address import CallerResolver
from synckairos.identity.authenticator import Authenticator
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.limits.client_work_budgets import ClientWorkLimits
from tests.tokens import SECRET, claims_at, sign_with_secret


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def authentication_settings(settings: Settings) -> Settings:
    """Return settings with authentication on. If they have no secret, they get the secret of `tests.tokens`."""
    return Settings(**{"jwt_secret": SECRET, **settings.model_dump(exclude_unset=True), "auth": "required"})


def make_authenticator(settings: Settings, verifier: TokenVerifier | None = None, **options: Any) -> Authenticator:
    """Return an authenticator by the clock of this machine. By default its verifier is that of the settings."""
    callers = CallerResolver(settings.trusted_proxies)
    return Authenticator(
        verifier or TokenVerifier.from_settings(authentication_settings(settings)),
        now_ms=now_ms,
        address_for=callers.address_for,
        is_secure=callers.is_secure,
        work=ClientWorkLimits(),
        **options,
    )


def make_token(**changes: Any) -> str:
    """Return a token for alice that is valid now. `changes` are claims; a claim that is None is left out."""
    return sign_with_secret(claims_at(now_ms(), **changes))


def bearer(token: str) -> dict[str, str]:
    """Return the header of a request with this token."""
    return {"authorization": f"Bearer {token}"}
