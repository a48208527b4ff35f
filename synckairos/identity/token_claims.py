"""Claims of a token: the checks of RFC 7519 and of this product, and the principal that results.

All checks use one instant, the time of Redis as the instance knows it. The signature was checked before.
"""

import math
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from typing import Any, get_args

import orjson
from msgspec import Struct

from synckairos.config.settings import Settings
from synckairos.config.value_types import TENANT_NAME
from synckairos.errors import Unauthorized
from synckairos.identity.verification_key import VerificationKey
from synckairos.principal import CredentialLife, Principal, Role, SessionGrant
from synckairos.wire.grants import LABEL_PATTERN, MAX_GRANTS, UUID_PATTERN

LEEWAY_MS = 30_000
"""Milliseconds by which the clocks of an issuer and of Redis are allowed to differ."""

MAX_SUBJECT_LENGTH = 128
"""Maximum characters of `sub`, `jti` and the group."""

MAX_INSTANT_S = 253_402_300_799
"""Seconds: the latest instant in a token, the end of the year 9999."""

DEFAULT_ROLE: Role = "controller"
"""Role of a token that names no role."""

RESERVED_SUBJECTS = ("timekeeper", "anonymous")
RESERVED_PREFIXES = ("key:", "link:")
"""Subjects of principals that are not users. A token cannot name them."""

_ROLES: tuple[Role, ...] = get_args(Role)
_VISIBLE = re.compile(rf"[!-~]{{1,{MAX_SUBJECT_LENGTH}}}")
_UUID = re.compile(UUID_PATTERN)
_TENANT = re.compile(TENANT_NAME)
_LABEL = re.compile(LABEL_PATTERN)


class ClaimRules(Struct, frozen=True, kw_only=True):
    """The rules of the settings for claims. Each field `claim_…` is the name of a claim.

    If `issuers` is empty, tokens of every issuer are accepted.
    """

    audience: str
    issuers: frozenset[str]
    max_ttl_ms: int
    tenant: str
    claim_tenant: str
    claim_role: str
    claim_grants: str
    claim_participant_id: str
    claim_group: str

    @classmethod
    def from_settings(cls, settings: Settings) -> "ClaimRules":
        """Return the rules that the settings define."""
        return cls(
            audience=settings.jwt_audience,
            issuers=frozenset(settings.jwt_issuers),
            max_ttl_ms=settings.jwt_max_ttl * 1000,
            tenant=settings.jwt_tenant,
            claim_tenant=settings.jwt_claim_tenant,
            claim_role=settings.jwt_claim_role,
            claim_grants=settings.jwt_claim_grants,
            claim_participant_id=settings.jwt_claim_participant_id,
            claim_group=settings.jwt_claim_grp,
        )


def parse_claims(payload: bytes) -> dict[str, Any]:
    """Return the claims of a verified payload. Raises: Unauthorized if the payload is not a JSON object."""
    try:
        claims = orjson.loads(payload)
    except ValueError:
        claims = None
    if not isinstance(claims, dict):
        raise Unauthorized("The claims of the token are not a JSON object")
    return claims


def read_unverified_tenant(token: str, rules: ClaimRules) -> str | None:
    """Return the tenant that a token claims before its signature is checked, None if it claims none.

    Use the result only to choose the keys that check the signature.

    Raises: Unauthorized if the payload is not a JSON object, or if the tenant is not a text.
    """
    payload = token.split(".")[1]
    try:
        decoded = urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    except ValueError:
        decoded = b""
    tenant = parse_claims(decoded).get(rules.claim_tenant)
    if tenant is not None and not isinstance(tenant, str):
        raise Unauthorized("The tenant of the token is not a valid name")
    return tenant


def principal_from_claims(claims: Mapping[str, Any], key: VerificationKey, rules: ClaimRules, now_ms: int) -> Principal:
    """Return the principal of a token that `key` has signed. Its address is empty.

    `now_ms` is the time of Redis in ms since the Unix epoch.

    It is not checked whether the tenant exists.

    Raises: Unauthorized if a claim is missing, invalid or not accepted.
    """
    life = _life(claims, key, rules, now_ms)
    _check_audience_and_issuer(claims, key, rules)
    subject = _subject(claims)
    role = _role(claims, rules.claim_role)
    participant_id = _participant_id(claims, rules.claim_participant_id, subject)
    grants = parse_grants(claims.get(rules.claim_grants, []))
    return Principal(
        kind="user",
        tenant=_tenant(claims, key, rules),
        subject=subject,
        role=role,
        address="",
        participant_id=participant_id,
        grants=grants,
        life=life,
        narrowing=None,
        members=None,
        is_operator=False,
    )


def _life(claims: Mapping[str, Any], key: VerificationKey, rules: ClaimRules, now_ms: int) -> CredentialLife:
    expires_at_ms = _instant_ms(claims, "exp")
    if expires_at_ms is None:
        raise Unauthorized("The token has no exp")
    if expires_at_ms + LEEWAY_MS <= now_ms:
        raise Unauthorized("The token has expired")
    if expires_at_ms > now_ms + rules.max_ttl_ms + LEEWAY_MS:
        raise Unauthorized(f"The exp of the token is more than {rules.max_ttl_ms // 1000:,} s ahead")
    not_before_ms, issued_at_ms = _instant_ms(claims, "nbf"), _instant_ms(claims, "iat")
    if not_before_ms is not None and not_before_ms > now_ms + LEEWAY_MS:
        raise Unauthorized("The token is not valid yet (nbf)")
    if issued_at_ms is not None and issued_at_ms > now_ms + LEEWAY_MS:
        raise Unauthorized("The token was issued in the future (iat)")
    return CredentialLife(
        expires_at_ms=expires_at_ms,
        issued_at_ms=issued_at_ms,
        token_id=_optional_text(claims, "jti"),
        group=_optional_text(claims, rules.claim_group),
        verified_by=key.name,
    )


def _instant_ms(claims: Mapping[str, Any], name: str) -> int | None:
    """Return an instant in ms, rounded down. In the token it is a number of seconds, possibly with a fraction."""
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise Unauthorized(f"The {name} of the token is not a number of seconds")
    if not 0 <= value <= MAX_INSTANT_S:
        raise Unauthorized(f"The {name} of the token is out of range")
    return math.floor(value * 1000)


def _check_audience_and_issuer(claims: Mapping[str, Any], key: VerificationKey, rules: ClaimRules) -> None:
    audience = claims.get("aud")
    if rules.audience not in (audience if isinstance(audience, list) else [audience]):
        raise Unauthorized("The token is for another audience (aud)")
    issuer = claims.get("iss")
    if issuer is not None and not isinstance(issuer, str):
        raise Unauthorized("The iss of the token is not a text")
    if (rules.issuers and issuer not in rules.issuers) or (key.issuer is not None and issuer != key.issuer):
        raise Unauthorized("The issuer of the token (iss) is not accepted")


def _subject(claims: Mapping[str, Any]) -> str:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not _VISIBLE.fullmatch(subject):
        raise Unauthorized(f"The sub of the token is not 1 to {MAX_SUBJECT_LENGTH} visible ASCII characters")
    if subject in RESERVED_SUBJECTS or subject.startswith(RESERVED_PREFIXES):
        raise Unauthorized("The sub of the token is reserved")
    return subject


def _optional_text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not _VISIBLE.fullmatch(value):
        raise Unauthorized(f"The {name} of the token is not 1 to {MAX_SUBJECT_LENGTH} visible ASCII characters")
    return value


def _role(claims: Mapping[str, Any], name: str) -> Role:
    value = claims.get(name, DEFAULT_ROLE)
    for role in _ROLES:
        if value == role:
            return role
    raise Unauthorized(f"The role of the token is none of {', '.join(_ROLES)}")


def _participant_id(claims: Mapping[str, Any], name: str, subject: str) -> str | None:
    """Return the participant id of the token, else the subject if the subject is a UUID, else None.

    `name` is the name of the claim with the participant id. The result is a lower-case UUID.
    """
    value = claims.get(name)
    if value is None:
        return subject.lower() if _UUID.fullmatch(subject) else None
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise Unauthorized("The participant id of the token is not a UUID")
    return value.lower()


def _tenant(claims: Mapping[str, Any], key: VerificationKey, rules: ClaimRules) -> str:
    """Return the tenant that the token claims.

    If the token has no such claim, return the tenant of the key if the key has exactly one tenant. Otherwise return the
    default tenant of the settings.
    """
    only = next(iter(key.tenants)) if key.tenants is not None and len(key.tenants) == 1 else rules.tenant
    tenant = claims.get(rules.claim_tenant, only)
    if not isinstance(tenant, str) or not _TENANT.fullmatch(tenant):
        raise Unauthorized("The tenant of the token is not a valid name")
    if key.tenants is not None and tenant not in key.tenants:
        raise Unauthorized("The key of the token may not name this tenant")
    return tenant


def parse_grants(value: object) -> tuple[SessionGrant, ...]:
    """Return the grants of the claim `grants`, which is a list of objects. Raises: Unauthorized if it is invalid."""
    if not isinstance(value, list):
        raise Unauthorized("The grants of the token are not a list")
    if len(value) > MAX_GRANTS:
        raise Unauthorized(f"The token has more than {MAX_GRANTS} grants")
    return tuple(_grant(each) for each in value)


def _grant(value: object) -> SessionGrant:
    if not isinstance(value, dict) or not value.keys() <= {"sessions", "role"}:
        raise Unauthorized('A grant of the token is not an object of "sessions" and "role"')
    sessions, role = value.get("sessions"), value.get("role")
    if "role" in value and role not in ("viewer", "participant", "controller"):
        raise Unauthorized("The role of a grant is none of viewer, participant, controller")
    if not isinstance(sessions, list) or not sessions:
        raise Unauthorized("The sessions of a grant are not a list of texts")
    session_ids, labels, all_sessions = set(), set(), False
    for each in sessions:
        if each == "*":
            all_sessions = True
        elif isinstance(each, str) and _UUID.fullmatch(each):
            session_ids.add(each.lower())
        elif isinstance(each, str) and (label := _LABEL.fullmatch(each)):
            labels.add((label[1], label[2]))
        else:
            raise Unauthorized('A session of a grant is not a UUID, "label:<key>=<value>" or "*"')
    return SessionGrant(
        session_ids=frozenset(session_ids), labels=frozenset(labels), all_sessions=all_sessions, role=role
    )
