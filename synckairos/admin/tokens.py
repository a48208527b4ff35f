"""Work of the commands `tokens …` and `config show`: new tokens, the rights of a token, and the settings in use."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import SecretStr

from synckairos.config import Settings, env_variables_of, is_set
from synckairos.config.settings import env_variable_text
from synckairos.identity.token_minting import mint_token, parse_grant
from synckairos.identity.token_verifier import TokenVerifier
from synckairos.principal import Principal, SessionGrant
from synckairos.urls.redact_url import redact_url

REDACTED = "***"


def create_token(
    settings: Settings,
    subject: str,
    role: str | None,
    participant_id: str | None,
    grants: Sequence[str],
    ttl_s: int,
    token_id: str | None,
    group: str | None,
) -> str:
    """Return a new token. The parameters are those of `mint_token`; each grant is a text of the command line.

    Raises: BadSettings, Unauthorized.
    """
    token, _ = mint_token(
        settings,
        _now_ms(),
        subject=subject,
        role=role,
        participant_id=participant_id,
        grants=[parse_grant(each) for each in grants],
        ttl_s=ttl_s,
        token_id=token_id,
        group=group,
    )
    return token


async def verify_token(settings: Settings, token: str) -> Principal:
    """Return the principal of a token, by the clock of this machine. Revocations are not looked up.

    Raises: BadSettings, Unauthorized, TenantUnknown, KeysUnavailable.
    """
    verifier = TokenVerifier.from_settings(settings)
    await verifier.fetch_key_sets()
    return await verifier.verify(token, _now_ms())


def describe_principal(principal: Principal) -> list[str]:
    """Return the lines that show who the bearer of a token is, and which sessions the bearer can reach."""
    life = principal.life
    assert life is not None
    rows = {
        "subject": principal.subject,
        "tenant": principal.tenant,
        "role": principal.role,
        "participant": principal.participant_id,
        "expires": _render_instant(life.expires_at_ms),
        "issued": None if life.issued_at_ms is None else _render_instant(life.issued_at_ms),
        "jti": life.token_id,
        "group": life.group,
    }
    lines = [f"{name:<12} {value}" for name, value in rows.items() if value is not None]
    if principal.role == "admin":
        return [*lines, f"{'sessions':<12} all sessions of the tenant, because the role is admin"]
    if not principal.grants:
        return [*lines, f"{'sessions':<12} none, because the token has no grants"]
    return [*lines, *(f"{'sessions':<12} {_render_grant(each, principal)}" for each in principal.grants)]


def show_settings(settings: Settings) -> list[str]:
    """Return one line for each setting in the form of a variable. Secrets and the passwords of URLs are redacted."""
    lines = []
    for field in Settings.model_fields:
        value = getattr(settings, field)
        if value is None:
            text = ""
        elif isinstance(value, SecretStr) or field == "alarm_webhook_url":
            text = REDACTED
        else:
            text = redact_url(env_variable_text(settings.model_dump()[field]))
        line = f"{env_variables_of(field)[-1]}={text}"
        lines.append(line if is_set(settings, field) else f"{line}  # default")
    return lines


def _render_grant(grant: SessionGrant, principal: Principal) -> str:
    role = grant.role or principal.role
    sessions = [
        *(["*"] if grant.all_sessions else []),
        *sorted(grant.session_ids),
        *(f"label:{key}={value}" for key, value in sorted(grant.labels)),
    ]
    return f"{', '.join(sessions)} as {role}"


def _render_instant(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
