"""Work of the commands `tokens …`, `auth explain` and `config show`: tokens, their rights, and the settings in use."""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from pydantic import SecretStr

from synckairos.admin.control_channel import open_control_channel
from synckairos.config import Settings, env_variables_of, is_set
from synckairos.config.environment_variables import env_variable_text
from synckairos.errors import StoreUnavailable, SyncKairosError, Unauthorized, ValidationFailed
from synckairos.frozen_replace import replace
from synckairos.history.reader import open_history_pool
from synckairos.identity.secret_text import is_stored_credential, parse_secret_text
from synckairos.identity.token_header import read_header
from synckairos.identity.token_minting import mint_token, parse_grant
from synckairos.identity.token_verifier import UNKNOWN_SIGNER, TokenVerifier
from synckairos.members.member_cache import can_have_members
from synckairos.members.subject_members import SubjectMembers
from synckairos.members.table import MemberTable
from synckairos.principal import LABEL_PREFIX, Principal, SessionGrant, highest_role
from synckairos.revocations.revocation_set import revocable_subject
from synckairos.service.access_rules import ACCESS_RULES
from synckairos.service.authorization import authorize_without_session, find_role_by_labels, require_session_role
from synckairos.service.label_rights import require_creation_rights
from synckairos.stored_credentials.table import CredentialTable
from synckairos.stored_credentials.verifier import REFUSED, principal_of
from synckairos.urls.redact_url import redact_url

REDACTED = "***"

_CREDENTIALS = {
    ("key", False): "API key",
    ("key", True): "session token of an API key",
    ("link", False): "link, which is redeemed for a session token",
    ("link", True): "session token of a link",
}
"""Names of stored credentials, by the kind of the principal and whether it has a token id."""

PARTICIPANT_COMMANDS = ("switch", "done", "finish", "pause", "resume")
"""Commands that a caller with the role `participant` can execute only for the participant of its token."""


def create_token(
    settings: Settings,
    subject: str,
    role: str | None,
    participant_id: str | None,
    grants: Sequence[str],
    ttl_s: int,
    token_id: str | None,
    group: str | None,
    tenant: str | None = None,
) -> str:
    """Return a new token as text, signed with `jwt_secret`.

    The parameters are those of `mint_token`. Each grant is a text as on the command line.

    Raises: BadSettings if there is no secret or a value is invalid. Unauthorized if the new token would be refused.
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
        tenant=tenant,
    )
    return token


async def verify_token(settings: Settings, token: str) -> Principal:
    """Return the principal of a token, an API key, a session token or a link. A link is not used.

    Tokens of issuers are checked by the clock of this machine, and their revocations and tenants are not looked up. The
    other credentials are read from Postgres.

    Raises: BadSettings, Unauthorized, KeysUnavailable. AuthenticationOff and StoreUnavailable for stored credentials.
    """
    if is_stored_credential(token):
        return await _read_stored_principal(settings, token)
    verifier = TokenVerifier.from_settings(settings)
    await verifier.fetch_key_sets()
    return await verifier.verify(token, _now_ms())


async def _read_stored_principal(settings: Settings, text: str) -> Principal:
    """Return the principal of a stored credential. For a link, it is the principal of the next bearer."""
    secret = parse_secret_text(text)
    if secret is None:
        raise Unauthorized(REFUSED)
    async with open_control_channel(settings) as (channel, pool):
        found = await CredentialTable(pool).read_valid([secret.credential_id], await channel.read_time_ms())
    valid = found.get(secret.credential_id)
    if valid is None:
        raise Unauthorized(REFUSED)
    credential, is_link = valid.credential, valid.credential.kind in ("link", "login")
    if (secret.redemption_digest if is_link else secret.digest) not in valid.digests:
        raise Unauthorized(REFUSED)
    if credential.max_uses is not None and credential.uses >= credential.max_uses:
        raise Unauthorized(f"The link was used {credential.uses} times, which is its maximum")
    if credential.kind == "operator":
        return Principal.operator(credential.credential_id, "")
    return principal_of(credential)


def describe_refusal(token: str, refusal: SyncKairosError) -> str:
    """Return the text of the refusal of a token by `verify_token`, with a hint if the key can be a signing key.

    Signing keys are in the database, which `verify_token` does not read.
    """
    if refusal.message == UNKNOWN_SIGNER and read_header(token).algorithm != "HS256":
        return f"{refusal.message}. Signing keys of /v1/signing-keys are not looked up: ask the server with GET /v1/me"
    return refusal.message


def describe_principal(principal: Principal) -> list[str]:
    """Return lines of text that show who the bearer of a token is, and which sessions the bearer can reach."""
    life = principal.life
    if life is None:
        return [f"{'credential':<12} key of an operator", f"{'subject':<12} {principal.subject}"]
    rows = {
        "credential": _CREDENTIALS.get((principal.kind, life.token_id is not None)),
        "subject": principal.subject,
        "tenant": principal.tenant,
        "role": principal.role,
        "participant": principal.participant_id,
        "expires": None if life.expires_at_ms is None else _render_instant(life.expires_at_ms),
        "issued": None if life.issued_at_ms is None else _render_instant(life.issued_at_ms),
        "jti": life.token_id,
        "group": life.group,
    }
    lines = [f"{name:<12} {value}" for name, value in rows.items() if value is not None]
    if principal.role == "admin":
        return [*lines, f"{'sessions':<12} all sessions of the tenant, because the role is admin"]
    if not principal.grants:
        return [*lines, f"{'sessions':<12} none by grants. Member rows are not looked up"]
    return [*lines, *(f"{'sessions':<12} {_render_grant(each, principal)}" for each in principal.grants)]


def with_members(settings: Settings, principal: Principal) -> Principal:
    """Return a principal with the member rows of its subject, which are read from Postgres when they are needed.

    If Postgres does not answer, decisions that need the rows raise StoreUnavailable.
    """
    if not can_have_members(principal):
        return principal

    async def load(members: SubjectMembers) -> None:
        async with open_history_pool(settings) as pool:
            with suppress(StoreUnavailable):
                sets = await MemberTable(pool).read_sets(members.tenant, [members.subject])
                members.set_rows(sets.by_subject[members.subject])

    return replace(principal, members=SubjectMembers(principal.tenant, revocable_subject(principal), load))


async def explain_access(
    principal: Principal, session_id: str, verb: str, labels: Mapping[str, str]
) -> tuple[bool, list[str]]:
    """Return the result of `_explain`. If the member rows are needed and unknown, a line says that only grants count.

    Raises: ValidationFailed if there is no rule for `verb`.
    """
    try:
        return await _explain(principal, session_id, verb, labels)
    except StoreUnavailable:
        is_allowed, lines = await _explain(replace(principal, members=None), session_id, verb, labels)
        unknown = f"{'members':<12} unknown, because Postgres does not answer. Only the grants count here"
        return is_allowed, [*lines[:-1], unknown, lines[-1]]


async def _explain(
    principal: Principal, session_id: str, verb: str, labels: Mapping[str, str]
) -> tuple[bool, list[str]]:
    """Return whether a principal is allowed to use a verb on a session, and lines of text that show the access rule.

    `principal` comes from `with_members`. `labels` are the labels of the session by key. The state of the session is
    not read, so the session can still refuse a command of a participant.

    Raises: ValidationFailed if there is no rule for `verb`. StoreUnavailable if the member rows are needed and unknown.
    """
    rule = ACCESS_RULES.get(verb)
    if rule is None:
        raise ValidationFailed.at_path("--command", f"should be one of {', '.join(sorted(ACCESS_RULES))}")
    lines = [f"{'token':<12} accepted: {principal.subject} with the role {principal.role}"]
    needed = {
        "session": f"{rule.least} on the session",
        "participant": "the participant itself, or admin",
        "tenant": f"the role {rule.least}",
        "none": {"credential": "any token", "operator": "a key of an operator"}.get(rule.least, "nothing"),
    }[rule.scope]
    lines.append(f"{'rule':<12} {verb} requires {needed}")
    try:
        if rule.scope == "session":
            if (members := principal.missing_members(session_id, labels.items())) is not None:
                await members.load()
            role = find_role_by_labels(principal, session_id, labels)
            lines.append(f"{'session':<12} {_find_decisive_right(principal, session_id, labels)} gives the role {role}")
            require_session_role(role, verb)
            if role == "participant" and verb in PARTICIPANT_COMMANDS:
                lines.append(f"{'condition':<12} the caller takes part in the session, and acts only for itself")
        else:
            authorize_without_session(principal, verb, principal.participant_id)
            if verb == "create":
                await require_creation_rights(principal, labels)
    except StoreUnavailable:
        raise
    except SyncKairosError as refusal:
        return False, [*lines, f"{'result':<12} refused with {refusal.status} {refusal.code}: {refusal.message}"]
    return True, [*lines, f"{'result':<12} allowed"]


def _find_decisive_right(principal: Principal, session_id: str, labels: Mapping[str, str]) -> str:
    """Return the text of the grant or member row that decides the role of a principal on a session."""
    if principal.role == "admin":
        return "the role admin"
    role = principal.role_on(session_id, labels.items())
    for grant in principal.grants:
        if replace(principal, grants=(grant,)).granted_role_on(session_id, labels.items()) == role:
            return f"the grant {_render_grant(grant, principal)!r}"
    assert principal.members is not None
    rows = principal.members.rows or {}
    named = [session_id, *(f"{LABEL_PREFIX}{key}={value}" for key, value in labels.items())]
    decisive = highest_role(rows.get(each) for each in named)
    resource = next(each for each in named if rows.get(each) == decisive)
    return f"the member row {resource!r} with the role {decisive}"


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
