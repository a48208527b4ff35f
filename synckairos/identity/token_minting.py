"""Creation of tokens with the secret of the settings, for the command line and for `synckairos dev --auth`."""

from collections.abc import Mapping, Sequence
from typing import Any

import jwt

from synckairos.config import BadSettings, Settings, env_variables_of
from synckairos.errors import ValidationFailed
from synckairos.identity.token_claims import ClaimRules, principal_from_claims
from synckairos.identity.verification_key import parse_secret
from synckairos.principal import Principal

GRANT_ROLES = ("viewer", "participant", "controller")
"""Roles that a grant can give."""


def parse_grant(text: str) -> dict[str, Any]:
    """Return the claim for a grant on the command line, which has the form `SESSIONS` or `SESSIONS@ROLE`.

    `SESSIONS` is a session id, `label:<key>=<value>` or `*`. The value of a label can contain `@`.
    """
    sessions, at, role = text.rpartition("@")
    if at and role in GRANT_ROLES:
        return {"sessions": [sessions], "role": role}
    return {"sessions": [text]}


def mint_token(
    settings: Settings,
    now_ms: int,
    *,
    subject: str,
    role: str | None = None,
    participant_id: str | None = None,
    grants: Sequence[Mapping[str, Any]] = (),
    ttl_s: int,
    token_id: str | None = None,
    group: str | None = None,
    tenant: str | None = None,
) -> tuple[str, Principal]:
    """Return a token that the settings accept, signed with `jwt_secret`, and its principal.

    `now_ms` is the instant of issue in ms since the Unix epoch. The token expires `ttl_s` seconds later. The names of
    the claims are the names in the settings. `tenant` None leaves the tenant to the settings of the server.

    Raises: BadSettings if there is no secret. Unauthorized if the settings do not accept the claims.
    """
    if settings.jwt_secret is None:
        raise BadSettings(f"{env_variables_of('jwt_secret')[-1]}: is needed to sign tokens, and is not set")
    secret = settings.jwt_secret.get_secret_value()
    try:
        key = parse_secret(secret)
    except ValueError as fault:
        raise BadSettings(f"{env_variables_of('jwt_secret')[-1]}: {fault}") from None
    if len(settings.jwt_issuers) > 1:
        raise ValidationFailed.at_path("iss", "several issuers are accepted, so a token of one of them is needed")
    rules = ClaimRules.from_settings(settings)
    now_s = now_ms // 1000
    claims = {
        "iss": next(iter(settings.jwt_issuers), None),
        "sub": subject,
        "aud": settings.jwt_audience,
        "iat": now_s,
        "exp": now_s + ttl_s,
        "jti": token_id,
        rules.claim_role: role,
        rules.claim_participant_id: participant_id,
        rules.claim_grants: list(grants) or None,
        rules.claim_group: group,
        rules.claim_tenant: tenant,
    }
    claims = {name: value for name, value in claims.items() if value is not None}
    principal = principal_from_claims(claims, key, rules, now_ms)
    return jwt.encode(claims, secret, algorithm="HS256"), principal
