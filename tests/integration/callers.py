"""Callers with a kind, subject and role that they name in a header. They stand for authentication."""

from typing import cast

from starlette.types import Scope

from synckairos.http.client_address import CallerResolver
from synckairos.principal import DEFAULT_TENANT, Kind, Principal, Role, SessionGrant
from tests.principals import make_principal


def as_caller(
    subject: str,
    role: Role = "admin",
    kind: Kind = "user",
    *,
    reaches: str = "*",
    participant_id: str = "-",
    tenant: str = DEFAULT_TENANT,
) -> dict[str, str]:
    """Return the headers of a caller of a tenant.

    `reaches` is the id of the session that its grant names, `label:<key>=<value>` for the sessions with this label, `*`
    for all sessions, `-` for none. `participant_id` is `-`
    for a caller that is no participant.
    """
    return {"x-caller": f"{kind} {role} {reaches} {participant_id} {subject}", "x-caller-tenant": tenant}


def as_operator() -> dict[str, str]:
    """Return the headers of an operator."""
    return {"x-caller": "operator viewer - - op"}


class NamedCallers(CallerResolver):
    """Identity that believes the header of `as_caller` and `as_operator`. A caller without the header is anonymous."""

    def principal_for(self, scope: Scope) -> Principal:
        headers = dict(scope["headers"])
        header = headers.get(b"x-caller")
        if header is None:
            return super().principal_for(scope)
        kind, role, reaches, participant_id, subject = header.decode().split(" ", 4)
        if kind == "operator":
            return Principal.operator(subject, "10.0.0.1")
        if role == "participant" and participant_id == "-":
            participant_id = subject.lower()
        if reaches.startswith("label:"):
            key, _, value = reaches.removeprefix("label:").partition("=")
            grant = SessionGrant(
                session_ids=frozenset(), labels=frozenset({(key, value)}), all_sessions=False, role=None
            )
        else:
            grant = SessionGrant(
                session_ids=frozenset({reaches} - {"*"}), labels=frozenset(), all_sessions=reaches == "*", role=None
            )
        return make_principal(
            cast(Role, role),
            subject,
            kind=cast(Kind, kind),
            tenant=headers.get(b"x-caller-tenant", DEFAULT_TENANT.encode()).decode(),
            address="10.0.0.1",
            participant_id=None if participant_id == "-" else participant_id,
            grants=() if reaches == "-" else (grant,),
        )
