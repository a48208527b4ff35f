"""Principals with a credential, for tests that do not concern the credential itself."""

from synckairos.principal import ALL_SESSIONS, CredentialLife, Kind, Principal, Role, SessionGrant


def make_principal(
    role: Role,
    subject: str = "caller",
    *,
    kind: Kind = "user",
    tenant: str = "default",
    address: str = "",
    participant_id: str | None = None,
    grants: tuple[SessionGrant, ...] = (ALL_SESSIONS,),
    life: CredentialLife | None = None,
) -> Principal:
    """Return a principal that reaches all sessions with its role, unless other grants are given."""
    return Principal(
        kind=kind,
        tenant=tenant,
        subject=subject,
        role=role,
        address=address,
        participant_id=participant_id,
        grants=grants,
        life=life,
        narrowing=None,
        members=None,
        is_operator=False,
    )
